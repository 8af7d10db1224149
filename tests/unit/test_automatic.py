"""The search for everything, against the plain way of doing it: every mask in full, one after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from masklet import AutomaticMaskGenerator, ImagePredictor, load_model, open_media
from masklet.errors import CancelledError, InputError
from masklet.masks.boxes import mask_to_box
from masklet.models.sam2 import SAM2, upsample
from masklet.models.specs import get_spec
from masklet.predictors.automatic import FoundMask
from masklet.predictors.crops import crop_boxes, cut_off, point_grid
from masklet.predictors.windows import Upsampler

SIDE = 6
THRESHOLDS: dict[str, Any] = {"points_per_side": SIDE, "pred_iou_thresh": 0.25, "stability_score_thresh": 0.2}


@pytest.fixture(scope="module")
def model() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def photo(bunny_clip: Path) -> np.ndarray:
    """A frame of the demo clip, 401x225: smaller and of odd sides."""
    with open_media(bunny_clip) as clip:
        return cv2.resize(clip.read(45).image_hwc, (401, 225), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def found(model: SAM2, photo: np.ndarray) -> list[FoundMask]:
    """What is found in it, best first."""
    return AutomaticMaskGenerator(model, **THRESHOLDS).generate(photo)


def box_iou(some_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    some, others = (np.array(boxes, np.float64, ndmin=2) for boxes in (some_xyxy, others_xyxy))
    for boxes in (some, others):
        boxes[:, 2:] -= boxes[:, :2]
    return coco.iou(some, others, [0] * len(others))


# --- where it looks --------------------------------------------------------------------------------------------------


def test_the_grid() -> None:
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert point_grid(32).shape == (1024, 2)


def test_the_crops_of_a_known_picture() -> None:
    # 163 = int(512 / 1500 * 480) pixels of overlap: two crops of 402 make 641, two of 322 make 481.
    assert crop_boxes(640, 480, 1, 512 / 1500) == [
        (0, (0, 0, 640, 480)),
        (1, (0, 0, 402, 322)),
        (1, (0, 159, 402, 480)),
        (1, (239, 0, 640, 322)),
        (1, (239, 159, 640, 480)),
    ]


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 3), st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_crops_cover_the_picture(width: int, height: int, layers: int, ratio: float) -> None:
    found = crop_boxes(width, height, layers, ratio)
    for layer in range(layers + 1):
        boxes = [box for number, box in found if number == layer]
        assert len(boxes) <= 4**layer
        covered_x, covered_y = np.zeros(width, bool), np.zeros(height, bool)
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            covered_x[x1:x2], covered_y[y1:y2] = True, True
        assert covered_x.all()
        assert covered_y.all()
        assert len(boxes) == len({b[0::2] for b in boxes}) * len({b[1::2] for b in boxes})


def test_masks_that_a_crop_cuts_off() -> None:
    crop = (100, 0, 300, 200)  # of 400x200: its left and right sides are inside the picture
    boxes = np.array(
        [(150, 50, 200, 100), (115, 50, 200, 100), (121, 50, 200, 100), (150, 0, 250, 200), (200, 50, 290, 90)]
    )
    assert cut_off(boxes, crop, 400, 200).tolist() == [False, True, False, False, True]
    assert not cut_off(np.array([(0, 0, 400, 200)]), (0, 0, 400, 200), 400, 200).any()


# --- masks in windows ------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 90), st.integers(1, 90), st.sampled_from([4, 16, 64]), st.integers(0, 2**32 - 1), st.floats(-2, 2.5)
)
@settings(max_examples=80, deadline=None)
def test_windows_hold_what_the_full_size_holds(height: int, width: int, side: int, seed: int, level: float) -> None:
    noise = np.random.default_rng(seed).standard_normal((side, side))
    low_res = torch.from_numpy(cv2.GaussianBlur(noise, (3, 3), 0).astype(np.float32) * 2)
    full = upsample(low_res[None, None], height, width)[0, 0]
    window = Upsampler((side, side), height, width).above(low_res, level)
    outside = torch.ones_like(full, dtype=torch.bool)
    if window is not None:
        h, w = window.logits_hw.shape
        part = np.s_[window.top : window.top + h, window.left : window.left + w]
        assert torch.allclose(window.logits_hw, full[part], atol=1e-4)
        outside[part] = False
    assert not (full[outside] > level + 1e-4).any()


def test_a_window_is_small() -> None:
    low_res = torch.full((64, 64), -5.0)
    low_res[10:14, 40:42] = 5
    window = Upsampler((64, 64), 720, 1280).above(low_res, 0.0)
    assert window is not None
    rows, columns = window.logits_hw.shape
    assert rows <= (4 + 2) * 720 / 64
    assert columns <= (2 + 2) * 1280 / 64
    assert Upsampler((64, 64), 720, 1280).above(low_res, 5.0) is None


# --- the search ------------------------------------------------------------------------------------------------------


def plain_search(predictor: ImagePredictor, image_hwc: np.ndarray, grid: np.ndarray) -> list[dict[str, Any]]:
    """The published procedure without any shortcut."""
    height, width = image_hwc.shape[:2]
    predictor.set_image(image_hwc)
    found = []
    for x, y in grid * (width, height):
        answer = predictor.predict(points=[(x, y)], multimask=True, closer=False)
        for iou, logits in zip(answer.predicted_iou_n, answer.logits_nhw, strict=True):
            possible = (logits > -1).sum()
            stability = (logits > 1).sum() / possible if possible else 0
            box = mask_to_box(logits > 0)
            if iou > THRESHOLDS["pred_iou_thresh"] and stability >= THRESHOLDS["stability_score_thresh"]:
                found.append({"iou": iou, "stability": stability, "box": box, "mask": logits > 0, "point": (x, y)})
    found.sort(key=lambda guess: -guess["iou"])
    kept: list[dict[str, Any]] = []
    for guess in found:
        if all(box_iou(guess["box"], other["box"])[0, 0] <= 0.7 for other in kept):
            kept.append(guess)
    return kept


def test_against_the_plain_way(model: SAM2, photo: np.ndarray) -> None:
    predictor = ImagePredictor(model)
    expected = plain_search(predictor, photo, point_grid(SIDE))
    assert len(expected) > 3
    found = AutomaticMaskGenerator(predictor, points_per_batch=10, **THRESHOLDS).generate(photo)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.predicted_iou == pytest.approx(theirs["iou"], abs=1e-4)
        assert ours.stability_score == pytest.approx(theirs["stability"], abs=0.01)
        assert ours.point_xy == pytest.approx(theirs["point"])
        differing = (ours.mask ^ theirs["mask"]).sum()
        assert differing <= 0.002 * theirs["mask"].sum() + 2
        assert np.abs(ours.box_xyxy - theirs["box"]).max() <= 1
        assert ours.crop_xyxy == (0, 0, 401, 225)


def test_records_say_what_their_masks_are(found: list[FoundMask]) -> None:
    boxes = np.stack([mask.box_xyxy for mask in found])
    overlaps = box_iou(boxes, boxes) - np.eye(len(found))
    assert overlaps.max() <= 0.7
    assert [mask.predicted_iou for mask in found] == sorted((mask.predicted_iou for mask in found), reverse=True)
    for mask in found:
        assert mask.mask.shape == (225, 401)
        assert mask.area == mask.mask.sum() > 0
        assert np.array_equal(mask.box_xyxy, mask_to_box(mask.mask))
        assert 0.25 < mask.predicted_iou <= 1
        assert 0.2 <= mask.stability_score <= 1
        entry = json.loads(json.dumps(mask.to_dict()))
        packed = {"size": entry["segmentation"]["size"], "counts": entry["segmentation"]["counts"].encode()}
        assert np.array_equal(coco.decode(packed), mask.mask)
        assert coco.toBbox(packed).tolist() == entry["bbox"]
        assert entry["area"] == coco.area(packed)
        assert entry["crop_box"] == [0, 0, 401, 225]
        assert set(entry) == {
            "segmentation",
            "area",
            "bbox",
            "predicted_iou",
            "point_coords",
            "stability_score",
            "crop_box",
        }


def test_crops_find_smaller_things(model: SAM2, photo: np.ndarray) -> None:
    search = AutomaticMaskGenerator(model, crop_n_layers=1, crop_n_points_downscale_factor=2, **THRESHOLDS)
    assert [len(grid) for grid in search.point_grids] == [36, 9]
    found = search.generate(photo)
    crops = [box for _, box in crop_boxes(401, 225, 1, 512 / 1500)]
    used = {mask.crop_xyxy for mask in found}
    assert used <= set(crops)
    assert len(used) > 1
    for mask in found:
        x1, y1, x2, y2 = mask.crop_xyxy
        rows, columns = np.nonzero(mask.mask)
        assert columns.min() >= x1
        assert columns.max() < x2
        assert rows.min() >= y1
        assert rows.max() < y2
        assert x1 <= mask.point_xy[0] <= x2
        assert y1 <= mask.point_xy[1] <= y2
        if mask.crop_xyxy != crops[0]:
            assert not cut_off(mask.box_xyxy[None], mask.crop_xyxy, 401, 225)[0]
    boxes = np.stack([mask.box_xyxy for mask in found])
    assert (box_iou(boxes, boxes) - np.eye(len(found))).max() <= 0.7


def test_small_regions_go(model: SAM2, photo: np.ndarray, found: list[FoundMask]) -> None:
    smallest = 150

    def regions(mask: np.ndarray) -> list[int]:
        pieces = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
        return sorted(pieces.tolist())

    assert any(regions(mask.mask)[:-1] and regions(mask.mask)[0] < smallest for mask in found)
    tidy = AutomaticMaskGenerator(model, min_mask_region_area=smallest, **THRESHOLDS).generate(photo)
    assert 0 < len(tidy) <= len(found)
    for mask in tidy:
        assert all(area >= smallest for area in regions(mask.mask)[:-1])
        holes = np.pad(~mask.mask, 1, constant_values=True)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(holes.astype(np.uint8), connectivity=4)
        outside = labels[0, 0]
        areas = [stats[i, cv2.CC_STAT_AREA] for i in range(1, len(stats)) if i != outside]
        assert all(area >= smallest for area in areas)
        assert mask.area == mask.mask.sum()
        assert np.array_equal(mask.box_xyxy, mask_to_box(mask.mask))


def test_refining_and_single_masks(model: SAM2, photo: np.ndarray, found: list[FoundMask]) -> None:
    refined = AutomaticMaskGenerator(model, use_m2m=True, **THRESHOLDS).generate(photo)
    single = AutomaticMaskGenerator(model, multimask_output=False, **THRESHOLDS).generate(photo)
    assert refined
    assert [mask.predicted_iou for mask in refined] != [mask.predicted_iou for mask in found]
    predictor = ImagePredictor(model).set_image(photo)
    assert single
    for mask in single:
        answer = predictor.predict(points=[mask.point_xy], multimask=False, closer=False)
        assert mask.predicted_iou == pytest.approx(answer.predicted_iou, abs=1e-4)
        assert (answer.mask ^ mask.mask).sum() <= 0.002 * mask.area + 2
    # A refined mask is the answer to its point with one of the point's own masks fed back.
    first = predictor.predict(points=[refined[0].point_xy], multimask=True, closer=False)
    again = [
        predictor.predict(points=[refined[0].point_xy], mask=mask, multimask=False, closer=False) for mask in first
    ]
    assert min(abs(answer.predicted_iou - refined[0].predicted_iou) for answer in again) < 1e-4


def test_own_grids(model: SAM2, photo: np.ndarray) -> None:
    grid = np.array([[0.3, 0.6], [0.45, 0.5]])
    more: dict[str, Any] = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    found = AutomaticMaskGenerator(model, point_grids=[grid], **more).generate(photo)
    assert {mask.point_xy for mask in found} <= {(x * 401, y * 225) for x, y in grid.tolist()}
    assert found


def test_progress_and_cancelling(model: SAM2, photo: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    search = AutomaticMaskGenerator(model, points_per_batch=4, crop_n_layers=1, **{**THRESHOLDS, "points_per_side": 3})
    search.generate(photo, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {5 * 3**2}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == 5 * 3**2

    def stop(done: int, total: int) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        search.generate(photo, progress=stop)
    assert search.predictor.sizes == []


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64)])
def test_small_pictures(model: SAM2, photo: np.ndarray, size: tuple[int, int]) -> None:
    width, height = size
    more: dict[str, Any] = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    found = AutomaticMaskGenerator(model, crop_n_layers=1, **more).generate(photo[:height, :width])
    assert all(mask.mask.shape == (height, width) and mask.area == mask.mask.sum() for mask in found)


def test_thresholds_are_those_of_the_network(model: SAM2, photo: np.ndarray) -> None:
    with torch.device("meta"):
        released = SAM2(get_spec("sam2.1-tiny"))
    published = AutomaticMaskGenerator(released)
    assert (published.pred_iou_thresh, published.stability_score_thresh) == (0.8, 0.95)
    own = AutomaticMaskGenerator(released, pred_iou_thresh=0.5, stability_score_thresh=0.7)
    assert (own.pred_iou_thresh, own.stability_score_thresh) == (0.5, 0.7)
    search = AutomaticMaskGenerator(model, points_per_side=8)
    assert search.pred_iou_thresh < 0.8
    assert search.generate(photo)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("points_per_side", 0),
        ("points_per_side", 2.5),
        ("points_per_batch", 0),
        ("crop_n_layers", -1),
        ("crop_n_points_downscale_factor", 0),
        ("crop_overlap_ratio", 1.0),
        ("pred_iou_thresh", 1.1),
        ("stability_score_thresh", float("nan")),
        ("box_nms_thresh", -0.1),
        ("crop_nms_thresh", 2),
        ("point_grids", []),
        ("point_grids", [[[0.5, 1.5]]]),
        ("point_grids", [[0.5, 0.5]]),
    ],
)
def test_settings_that_cannot_be_used(model: SAM2, setting: str, value: Any) -> None:
    with pytest.raises(InputError, match=setting.rstrip("s").replace("_", ".")):
        AutomaticMaskGenerator(model, **{setting: value})


def test_a_predictor_has_its_own_settings(model: SAM2) -> None:
    with pytest.raises(InputError, match="ImagePredictor"):
        AutomaticMaskGenerator(ImagePredictor(model), resolution=512)
