"""Overlays, cut-outs and palettes, against Pillow and by their numbers."""

from __future__ import annotations

import io
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from masklet.errors import InputError
from masklet.masks import labels, palette, render

RNG = np.random.default_rng(4)
IMAGE = RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)


def disc(height: int = 90, width: int = 120, x: float = 60, y: float = 45, radius: float = 20) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns - x, rows - y) < radius


def soft() -> np.ndarray:
    return cv2.GaussianBlur(disc().astype(np.uint8) * 255, (0, 0), 4)


def test_first_dozen_stays_apart_for_everyone() -> None:
    # Machado, Oliveira and Fernandes 2009, severity 1: protan, deutan, tritan; rows give linear RGB.
    sights = [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
    dozen = np.array([palette.color(i) for i in range(1, 13)]) / 255
    linear = np.where(dozen <= 0.04045, dozen / 12.92, ((dozen + 0.055) / 1.055) ** 2.4)
    for sight in sights:
        seen = np.clip(linear @ np.array(sight).T, 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
        nearest = min(np.linalg.norm(a - b) for a, b in combinations(lab, 2))
        assert nearest > 8  # CIE76; about 2.3 is just noticeable


def test_palette_is_one_for_ids_and_files() -> None:
    assert len(set(palette.COLORS)) == len(palette.COLORS) == 254
    assert palette.color(1) == palette.COLORS[0] == palette.color(255)
    assert palette.hex_color(palette.color(1)) == "#0090ff"
    assert (0, 0, 0) not in palette.COLORS
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = palette.davis_palette_bytes()
    assert len(table) == 768
    picture = Image.fromarray(index, "P")
    picture.putpalette(table)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    again = Image.open(buffer)
    assert np.array_equal(np.asarray(again), index)
    assert np.asarray(again.convert("RGB")).tobytes() == table
    # The first entries of the table that DAVIS annotations carry.
    assert list(palette.davis_palette_bytes()[:18]) == [
        0,
        0,
        0,
        128,
        0,
        0,
        0,
        128,
        0,
        128,
        128,
        0,
        0,
        0,
        128,
        128,
        0,
        128,
    ]
    assert palette.text_color((255, 255, 255)) == (0, 0, 0)
    assert palette.text_color((0, 0, 0)) == (255, 255, 255)


def test_overlay_tints_inside_and_nothing_outside() -> None:
    mask, before = disc(), IMAGE.copy()
    seen = render.overlay(IMAGE, {3: mask}, alpha=0.25, outline=False)
    assert np.array_equal(IMAGE, before)
    assert np.array_equal(seen[~mask], IMAGE[~mask])
    expected = IMAGE[mask] * 0.75 + np.array(palette.color(3)) * 0.25
    assert np.abs(seen[mask] - expected).max() <= 0.51
    assert np.array_equal(render.overlay(IMAGE, {3: mask}, alpha=0, outline=False), IMAGE)
    own = render.overlay(IMAGE, {3: mask}, colors={3: (1, 2, 3)}, alpha=1, outline=False)
    assert (own[mask] == (1, 2, 3)).all()


def test_overlay_order_outline_and_names() -> None:
    grey = np.full((360, 480, 3), 90, np.uint8)
    lower, upper = disc(360, 480, 200, 180, 80), disc(360, 480, 260, 180, 80)
    seen = render.overlay(grey, {1: lower, 2: upper}, alpha=1, outline=False)
    assert (seen[upper] == palette.color(2)).all()
    assert (seen[lower & ~upper] == palette.color(1)).all()
    lined = render.overlay(grey, {1: lower}, alpha=0)
    changed = (lined != grey).any(-1)
    edge = cv2.dilate(lower.astype(np.uint8), np.ones((5, 5))) - cv2.erode(lower.astype(np.uint8), np.ones((5, 5)))
    assert changed.any()
    assert not changed[edge == 0].any()
    assert changed[(lower.astype(np.uint8) - cv2.erode(lower.astype(np.uint8), np.ones((3, 3)))) > 0].mean() > 0.95
    named = render.overlay(grey, {1: lower, 2: upper}, names={1: "Häschen", 2: ""})
    plain = render.overlay(grey, {1: lower, 2: upper})
    rows, columns = np.nonzero((named != plain).any(-1))
    assert rows.size
    assert rows.max() < 105  # above the object, whose top is in row 100
    assert 120 < columns.min() < columns.max() < 280


@pytest.mark.parametrize("name", ["bunny", "кролик", "兔子", "أرنب", "🐇", "a\nb\tc", "x" * 300])
@pytest.mark.parametrize(("height", "width"), [(240, 320), (7, 5), (1, 1)])
def test_names_in_any_script_on_any_frame(name: str, height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    seen = render.overlay(image, {1: np.ones((height, width), bool)}, names={1: name})
    assert seen.shape == image.shape
    tag = labels.label(name, 20, (0, 0, 0), (255, 255, 255))
    assert tag.shape[2] == 4
    assert tag[..., 3].max() > 200
    assert tag[..., :3].min() < 60  # there is ink on it


def test_different_names_look_different_and_empty_masks_have_none() -> None:
    tags = {labels.label(name, 18, (0, 0, 0), (200, 200, 200)).tobytes() for name in ("bunny", "bunnz", "кролик")}
    assert len(tags) == 3
    assert np.array_equal(render.overlay(IMAGE, {1: np.zeros((90, 120), bool)}, names={1: "gone"}), IMAGE)


@given(hnp.arrays(np.uint8, (5, 6, 3)), hnp.arrays(np.uint8, (5, 6, 3)), hnp.arrays(np.uint8, (5, 6)))
def test_composite_is_exact(front: np.ndarray, back: np.ndarray, alpha: np.ndarray) -> None:
    share = alpha[..., None].astype(float) / 255
    exact = front * share + back * (1 - share)
    found = render.composite(front, back, alpha)
    assert np.abs(found - exact).max() <= 0.5 + 1e-9
    assert np.array_equal(found[alpha == 255], front[alpha == 255])
    assert np.array_equal(found[alpha == 0], back[alpha == 0])
    cut = render.cutout(front, alpha, premultiplied=True)
    assert np.abs(cut[..., :3] - front * share).max() <= 0.5 + 1e-9
    assert np.array_equal(cut[..., 3], alpha)


def test_cutout_forms() -> None:
    alpha = soft()
    straight = render.cutout(IMAGE, alpha)
    assert straight.shape == (90, 120, 4)
    assert np.array_equal(straight[..., :3], IMAGE)
    assert np.array_equal(straight[..., 3], alpha)
    cleared = render.cutout(IMAGE, alpha, clear_outside=True)
    assert (cleared[alpha == 0] == 0).all()
    assert np.array_equal(cleared[alpha > 0], straight[alpha > 0])
    # Pillow puts the straight cut-out over a colour as `screen` does.
    base = Image.new("RGBA", (120, 90), (10, 200, 30, 255))
    base.alpha_composite(Image.fromarray(straight))
    ours = render.screen(IMAGE, alpha, (10, 200, 30))
    assert np.abs(np.asarray(base.convert("RGB")).astype(int) - ours).max() <= 1
    for form in (alpha / 255.0, (alpha / 255.0).astype(np.float32), alpha.astype(np.uint16) * 257):
        assert np.array_equal(render.matte(form), alpha)
    assert set(np.unique(render.matte(disc()))) == {0, 255}
    assert render.matte(alpha, channels=3).shape == (90, 120, 3)


def test_backgrounds() -> None:
    mask = disc()
    for picture in (
        render.blur_background(IMAGE, mask, 9),
        render.replace_background(IMAGE, mask, np.zeros((13, 7, 3), np.uint8)),
        render.grey_out(IMAGE, mask),
    ):
        assert np.array_equal(picture[mask], IMAGE[mask])
        assert not np.array_equal(picture[~mask], IMAGE[~mask])
    assert (render.replace_background(IMAGE, mask, np.zeros((13, 7, 3), np.uint8))[~mask] == 0).all()
    grey = render.grey_out(IMAGE, mask)[~mask]
    assert (grey[:, 0] == grey[:, 1]).all()
    assert np.array_equal(render.blur_background(IMAGE, mask, 0), IMAGE)


def test_the_object_does_not_glow_into_its_blurred_surroundings() -> None:
    picture = np.full((120, 160, 3), 40, np.uint8)
    mask = disc(120, 160, 80, 60, 25)
    picture[mask] = 250
    around = render.blur_background(picture, mask, 10)[~mask]
    assert around.max() <= 50  # of 250


def test_cover_fills_the_frame() -> None:
    for height, width in ((50, 200), (200, 50), (1, 1), (97, 131)):
        covered = render.cover(IMAGE, height, width)
        assert covered.shape == (height, width, 3)
    assert np.array_equal(render.cover(IMAGE, 90, 120), IMAGE)
    board = render.checkerboard(9, 11, 3, light=200, dark=100)
    assert board[0, 0, 0] == board[3, 3, 0] == 200
    assert board[0, 3, 0] == board[8, 0, 0] - 100 == 100


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_small_frame(height: int, width: int, data: st.DataObject) -> None:
    image = data.draw(hnp.arrays(np.uint8, (height, width, 3)))
    mask = data.draw(hnp.arrays(np.bool_, (height, width)))
    for picture in (
        render.overlay(image, {1: mask, 2: ~mask}, names={1: "a"}),
        render.blur_background(image, mask),
    ):
        assert picture.shape == image.shape
        assert picture.dtype == np.uint8


def test_wrong_input() -> None:
    mask = disc()
    for wrong in (IMAGE[..., 0], IMAGE.astype(np.float32), IMAGE[..., :2], IMAGE[:0]):
        with pytest.raises(InputError):
            render.overlay(wrong, {1: mask})
    with pytest.raises(InputError):
        render.overlay(IMAGE, {1: mask[:-1]})
    with pytest.raises(InputError):
        render.overlay(IMAGE, {1: mask}, alpha=2)
    with pytest.raises(InputError):
        render.screen(IMAGE, mask, (0, 0, 300))
    with pytest.raises(InputError):
        render.cutout(IMAGE, np.full((90, 120), np.nan))
    with pytest.raises(InputError):
        render.cutout(IMAGE, mask.astype(np.int64))
    with pytest.raises(InputError):
        render.checkerboard(0, 5)
