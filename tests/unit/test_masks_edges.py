"""The network behind edge refinement, in numpy, against PyTorch; tiles against the whole; scale and place."""

from __future__ import annotations

from importlib import resources

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from masklet.masks import edges
from masklet.masks.distance import signed_distance


def stored() -> dict[str, torch.Tensor]:
    with resources.files("masklet.masks").joinpath("edges.npz").open("rb") as file, np.load(file) as arrays:
        return {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays if name != "about"}


def by_torch(given_4hw: np.ndarray) -> np.ndarray:
    """The same network with PyTorch's convolutions, without padding at the end of each layer."""
    weights = stored()
    hidden = functional.pixel_unshuffle(torch.from_numpy(given_4hw)[None], 2)
    hidden = functional.relu(functional.conv2d(hidden, weights["weight0"], weights["bias0"]))
    for k, d in enumerate(edges.DILATIONS, 1):
        same = hidden[:, :, d:-d, d:-d]
        hidden = functional.relu(
            functional.conv2d(hidden, weights[f"weight{k}"], weights[f"bias{k}"], dilation=d) + same
        )
    last = len(edges.DILATIONS) + 1
    hidden = functional.conv2d(hidden, weights[f"weight{last}"], weights[f"bias{last}"])
    return functional.pixel_shuffle(hidden, 2)[0, 0].numpy()


def scene(seed: int, height: int, width: int, cut: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 11)
    mask = field > np.quantile(field, cut)
    front, back = (cv2.GaussianBlur(rng.normal(128 + k, 60, (height, width, 3)), (0, 0), 2) for k in (40, -40))
    return mask, np.clip(np.where(mask[..., None], front, back), 0, 255).astype(np.uint8)


def test_numpy_convolutions_are_those_of_torch() -> None:
    given = np.random.default_rng(0).uniform(-2, 2, (4, 3, 112, 128)).astype(np.float32)
    found = edges._network(given)
    assert found.shape == (3, 112 - 2 * edges._HALO, 128 - 2 * edges._HALO)
    for k in range(3):
        assert np.allclose(found[k], by_torch(np.ascontiguousarray(given[:, k])), atol=2e-4)


def test_tiles_leave_no_seams() -> None:
    mask, image = scene(1, 170, 230)
    radius = 4.0
    found = edges._decide(mask, image, radius, 1.0)
    depth = np.clip(signed_distance(mask) / (2 * radius), -1, 1)
    halo, bottom, right = edges._HALO, edges._HALO + 170 % 2, edges._HALO + 230 % 2
    around = cv2.copyMakeBorder(image, halo, bottom, halo, right, cv2.BORDER_REPLICATE).astype(np.float32)
    deep = cv2.copyMakeBorder(depth, halo, bottom, halo, right, cv2.BORDER_REPLICATE)
    given = np.concatenate(((around.transpose(2, 0, 1) / 255 - 0.5) * 4, deep[None])).astype(np.float32)
    whole = by_torch(given)[:170, :230] + 4 * depth
    band = np.abs(depth) < 1
    assert np.allclose(found[band], np.clip(whole, -6, 6)[band], atol=2e-3)
    assert (np.abs(found[~band]) == 6).all()


@pytest.mark.parametrize("radius", [1.0, 3.0, 9.0, 30.0])
def test_only_the_band_may_change(radius: float) -> None:
    mask, image = scene(2, 150, 210)
    noise = np.random.default_rng(5).integers(0, 255, image.shape, dtype=np.uint8)
    soft = edges.follow_picture(mask, noise, radius)
    assert soft.dtype == np.float32
    assert soft.min() >= 0
    assert soft.max() <= 1
    # Twice the radius at the first look, and a pixel of the coarsest copy for the rounding of its size.
    far = np.abs(signed_distance(mask)) > 2 * radius * 1.9 + 2 ** max(0, round(np.log2(radius / 5))) + 2
    assert np.array_equal(soft[far] > 0.5, mask[far])
    assert np.array_equal(edges.follow_picture(mask, image, radius, strength=0.0), mask.astype(np.float32))


def test_an_object_is_refined_alike_wherever_it_is_in_the_frame() -> None:
    mask, image = scene(3, 128, 128, cut=0.7)
    mask[:20] = mask[-20:] = mask[:, :20] = mask[:, -20:] = False
    large_mask, large_image = np.zeros((400, 500), bool), np.zeros((400, 500, 3), np.uint8)
    large_image[:] = cv2.resize(image, (500, 400))
    found = []
    for y, x in ((64, 128), (192, 256)):
        picture, there = large_image.copy(), large_mask.copy()
        picture[y - 50 : y + 178, x - 50 : x + 178] = cv2.copyMakeBorder(image, 50, 50, 50, 50, cv2.BORDER_REPLICATE)
        there[y : y + 128, x : x + 128] = mask
        found.append(edges.follow_picture(there, picture, 4.0)[y : y + 128, x : x + 128])
    assert np.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 3), (5, 300), (65, 63)])
def test_frames_of_any_size(height: int, width: int) -> None:
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    for mask in (rng.random((height, width)) > 0.5, np.zeros((height, width), bool), np.ones((height, width), bool)):
        for radius in (0.7, 6.0, 50.0):
            soft = edges.follow_picture(mask, image, radius)
            assert soft.shape == mask.shape
            assert np.isfinite(soft).all()
            if mask.all() or not mask.any():
                assert np.array_equal(soft > 0.5, mask)
