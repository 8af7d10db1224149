"""Settings, finishing and smoothing in time, on shapes whose right answer is known."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.errors import InputError
from masklet.masks import edges, temporal
from masklet.masks.finish import ClipFinisher, finish, finish_frame
from masklet.masks.settings import PLAIN, MaskSettings

any_settings = st.builds(
    MaskSettings,
    border=st.integers(0, 3),
    fill_holes=st.sampled_from([0.0, 4.0, 1e6]),
    remove_specks=st.sampled_from([0.0, 4.0, 1e6]),
    keep_largest=st.booleans(),
    refine=st.sampled_from([0.0, 0.5, 1.0]),
    refine_radius=st.sampled_from([None, 0.5, 3.0, 20.0]),
    grow=st.floats(-3, 3),
    feather=st.sampled_from([0.0, 1.0, 3.5]),
    smooth_frames=st.integers(0, 2),
    exclusive=st.booleans(),
)


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(columns + 0.5 - x, rows + 0.5 - y) < radius


def coarse(mask: np.ndarray, cells: int) -> np.ndarray:
    """What a network of that many cells a side would say at best."""
    share = cv2.resize(mask.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.log(share / (1 - share))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@given(any_settings)
def test_settings_return_from_json(chosen: MaskSettings) -> None:
    assert MaskSettings.from_dict(json.loads(json.dumps(chosen.model_dump()))) == chosen


@pytest.mark.parametrize(
    "values",
    [
        {"feather": -1},
        {"feather": "1"},
        {"feather": float("nan")},
        {"border": 1.5},
        {"border": True},
        {"refine": 1.01},
        {"refine_radius": 0},
        {"smooth_frames": 99},
        {"keep_largest": 1},
        {"exclusive": None},
        {"sharpness": 3},
    ],
)
def test_settings_that_cannot_be(values: dict) -> None:
    with pytest.raises(InputError):
        MaskSettings.from_dict(values)


def test_settings_are_a_table() -> None:
    for values in ([1], None, "refine"):
        with pytest.raises(InputError):
            MaskSettings.from_dict(values)  # type: ignore[arg-type]
    assert MaskSettings.from_dict({}) == MaskSettings()
    assert not PLAIN.touches_masks
    assert not MaskSettings().touches_masks
    assert MaskSettings(grow=0.1).touches_masks


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_plain_settings_change_nothing(mask: np.ndarray) -> None:
    before = mask.copy()
    done = finish(mask, PLAIN)
    assert np.array_equal(done.mask_hw, mask)
    assert np.array_equal(done.alpha_hw, mask * np.uint8(255))
    assert np.array_equal(mask, before)
    assert np.array_equal(finish(mask, MaskSettings()).mask_hw, mask)  # only the edge is antialiased


@hypothesis_settings(max_examples=60, deadline=None)
@given(any_settings, hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)), st.booleans())
def test_any_settings_on_any_mask(chosen: MaskSettings, mask: np.ndarray, as_logits: bool) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
    source = np.where(mask, 6.0, -6.0) if as_logits else mask
    done = finish(source, chosen, image)
    assert done.mask_hw.shape == done.alpha_hw.shape == mask.shape
    assert done.mask_hw.dtype == np.bool_
    assert done.alpha_hw.dtype == np.uint8
    assert ((done.alpha_hw > 128) <= done.mask_hw).all()  # more than half opaque is inside
    assert (done.mask_hw <= (done.alpha_hw >= 127)).all()
    if not mask.any():
        assert not done.mask_hw.any()


def test_logits_are_upsampled_before_they_become_a_mask() -> None:
    true = disc(360, 640, 300, 170, 90)
    logits = coarse(true, 64)
    stairs = cv2.resize(logits, true.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert iou(finish(logits, MaskSettings(), size=true.shape).mask_hw, true) > max(0.98, iou(stairs, true))


def test_alpha_of_logits_is_the_coverage_of_pixels() -> None:
    y, x = np.mgrid[:200, :220].astype(np.float32) + 0.5
    field = 60.3 - np.hypot(x - 110.2, y - 99.7)
    fine = disc(1600, 1760, 110.2 * 8, 99.7 * 8, 60.3 * 8).reshape(200, 8, 220, 8).mean((1, 3)) * 255
    alpha = finish(field, MaskSettings(feather=1)).alpha_hw
    edge = (fine > 0) & (fine < 255)
    assert np.abs(alpha - fine)[edge].mean() < 14
    hard = finish(field, MaskSettings(feather=0)).alpha_hw
    assert np.abs(alpha - fine)[edge].mean() < 0.3 * np.abs(hard - fine)[edge].mean()


def test_holes_specks_and_border() -> None:
    mask = disc(100, 120, 60, 50, 30)
    mask[50, 60] = False
    mask[5:8, 5:8] = True
    chosen = MaskSettings(fill_holes=1, remove_specks=9)
    clean = finish(mask, chosen).mask_hw
    assert clean[50, 60]
    assert not clean[5:8, 5:8].any()
    assert not finish(mask, chosen.changed(remove_specks=8, keep_largest=True)).mask_hw[5:8, 5:8].any()
    assert finish(mask, chosen.changed(remove_specks=8)).mask_hw[5:8, 5:8].all()
    cut = np.zeros((100, 120), bool)
    cut[40:60, 30:] = True
    bent = cut.copy()
    bent[:, -2:] = False
    assert np.array_equal(finish(bent, MaskSettings(border=2)).mask_hw, cut)


@pytest.mark.parametrize("grow", [-4.5, -1.25, 0.5, 3.0])
def test_grow_and_feather(grow: float) -> None:
    mask = disc(140, 160, 80, 70, 40)
    done = finish(mask, MaskSettings(grow=grow, feather=6))
    radius = np.sqrt(done.mask_hw.sum() / np.pi)
    assert radius == pytest.approx(40 + grow, abs=0.35)
    assert done.alpha_hw.sum() / 255 == pytest.approx(done.mask_hw.sum(), rel=0.02)
    profile = done.alpha_hw[70, 80:].astype(int)
    assert (np.diff(profile) <= 0).all()
    assert ((profile > 0) & (profile < 255)).sum() in (5, 6)


def bent_outline(seed: int, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A textured object before a textured ground, its true mask, and one whose outline is wrong by some pixels."""
    rng = np.random.default_rng(seed)
    height, width = 240, 320
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 70 + 12 * np.sin(3 * angle + 1) + 6 * np.sin(7 * angle)
    off = error * np.sin(11 * angle) + error * 0.7 * np.sin(17 * angle + 2)

    def fill(r: np.ndarray) -> np.ndarray:
        points = np.stack([160 + r * np.cos(angle), 120 + r * np.sin(angle)], 1)
        canvas = np.zeros((height, width), np.uint8)
        cv2.fillPoly(canvas, [np.rint(points * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        return canvas.astype(bool)

    true, wrong = fill(radius), fill(radius + off)
    front = np.array([150, 90, 60]) + cv2.GaussianBlur(rng.normal(0, 60, (height, width, 3)), (0, 0), 2)
    back = np.array([70, 110, 90]) + cv2.GaussianBlur(rng.normal(0, 60, (height, width, 3)), (0, 0), 2)
    image = cv2.GaussianBlur(np.where(true[..., None], front, back), (0, 0), 0.7)
    return np.clip(image, 0, 255).astype(np.uint8), true, wrong


def test_refining_finds_the_edge_and_leaves_a_right_one() -> None:
    for seed in range(3):
        image, true, wrong = bent_outline(seed, 4)
        better = finish(wrong, MaskSettings(refine=1, refine_radius=8), image).mask_hw
        assert (better ^ true).sum() < 0.5 * (wrong ^ true).sum()
        kept = finish(true, MaskSettings(refine=1, refine_radius=8), image).mask_hw
        assert (kept ^ true).sum() < 0.12 * (wrong ^ true).sum()
        far = cv2.distanceTransform((~wrong).astype(np.uint8), cv2.DIST_L2, 5) > 10
        assert not better[far].any()


def test_refining_a_plain_picture_leaves_the_mask() -> None:
    mask = disc(120, 160, 80, 60, 30)
    grey = np.full((120, 160, 3), 128, np.uint8)
    done = finish(mask, MaskSettings(refine=1, refine_radius=6), grey).mask_hw
    assert iou(done, mask) > 0.97


def test_refining_needs_the_picture_and_says_so() -> None:
    mask = disc(40, 40, 20, 20, 9)
    with pytest.raises(InputError, match="picture"):
        finish(mask, MaskSettings(refine=1))
    with pytest.raises(InputError):
        edges.follow_picture(mask, np.zeros((40, 41, 3), np.uint8), 3)
    with pytest.raises(InputError):
        edges.follow_picture(mask, np.zeros((40, 40, 3), np.uint8), 0)
    assert edges.radius_for(480, 854, 64) == pytest.approx(7.0, abs=0.1)
    assert edges.radius_for(100, 100) == 1.0


def test_wrong_sources() -> None:
    mask = disc(40, 50, 20, 20, 9)
    image = np.zeros((40, 50, 3), np.uint8)
    for source, kwargs in (
        (mask, {"size": (41, 50)}),
        (mask, {"image_hwc": image, "size": (80, 100)}),
        (np.zeros((0, 4), np.float32), {"size": (4, 4)}),
        (np.full((4, 4), np.nan), {"size": (40, 50)}),
        (np.zeros((4, 4, 1), np.float32), {"size": (40, 50)}),
        (mask, {"size": (0, 50)}),
    ):
        with pytest.raises(InputError):
            finish(source, MaskSettings(), **kwargs)
    assert finish(np.full((4, 4), np.inf, np.float32), MaskSettings(), size=(9, 9)).mask_hw.all()


def test_exclusive_objects_give_way_by_score() -> None:
    left, right = disc(60, 90, 35, 30, 20), disc(60, 90, 55, 30, 20)
    polite = MaskSettings(exclusive=True)
    done = finish_frame({1: left, 2: right}, {1: polite, 2: polite}, scores={1: 1.0, 2: 4.0})
    assert np.array_equal(done[2].mask_hw, right)
    assert np.array_equal(done[1].mask_hw, left & ~right)
    total = done[1].alpha_hw.astype(int) + done[2].alpha_hw
    assert total.max() <= 255
    one_sided = finish_frame({1: left, 2: right}, {1: polite}, scores={1: 1.0, 2: 4.0})
    assert np.array_equal(one_sided[2].mask_hw, right)
    stubborn = finish_frame({1: left, 2: right}, {2: polite}, scores={1: 1.0, 2: 4.0})
    assert np.array_equal(stubborn[1].mask_hw, left)
    assert np.array_equal(stubborn[2].mask_hw, right)


def clip(frames: int = 13, step: float = 5.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """An object that moves over a textured ground, with the camera still."""
    rng = np.random.default_rng(3)
    ground = cv2.GaussianBlur(rng.normal(110, 70, (180, 320, 3)), (0, 0), 2)
    body = cv2.GaussianBlur(rng.normal(150, 70, (180, 320, 3)), (0, 0), 2)
    masks, images = [], []
    for t in range(frames):
        mask = disc(180, 320, 70 + step * t, 90, 35)
        shift = np.float32([[1, 0, step * t], [0, 1, 0]])
        moved = cv2.warpAffine(body, shift, (320, 180), borderMode=cv2.BORDER_WRAP)
        masks.append(mask)
        images.append(np.clip(np.where(mask[..., None], moved, ground), 0, 255).astype(np.uint8))
    return masks, images


@pytest.mark.parametrize("with_images", [False, True])
def test_flicker_goes_and_motion_stays(with_images: bool) -> None:
    true, images = clip()
    flickering = [mask.copy() for mask in true]
    flickering[4][70:110, 80:100] = False  # a bite out of it, for one frame
    flickering[8] |= disc(180, 320, 250, 40, 14)  # a ghost, for one frame
    smooth = temporal.smooth(flickering, images if with_images else None, radius=1)
    assert len(smooth) == len(true)
    for t in (4, 8):
        assert (smooth[t] ^ true[t]).sum() < 0.2 * (flickering[t] ^ true[t]).sum()
    for t in (1, 2, 6, 10, 11):
        assert iou(smooth[t], true[t]) > 0.97


def test_smoothing_takes_logits_and_keeps_their_kind() -> None:
    true, images = clip(7)
    logits = [np.where(mask, 4.0, -4.0).astype(np.float32) for mask in true]
    logits[3][80:100, 70:90] = -4
    smooth = temporal.smooth(logits, images, radius=2)
    assert all(mask.dtype == np.float32 for mask in smooth)
    assert iou(smooth[3] > 0, true[3]) > 0.97 > iou(logits[3] > 0, true[3])


def test_what_smoothing_must_not_touch() -> None:
    true, images = clip(9)
    painted = true[4].copy()
    painted[60:120, 80:90] = False
    masks = [*true[:4], painted, *true[5:]]
    smoother = temporal.TemporalSmoother(2)
    done = []
    for t, mask in enumerate(masks):
        done += smoother.push(mask, images[t], locked=t == 4)
        assert len(done) == max(0, t - 1)  # late by two frames, no more
    done += smoother.flush()
    assert np.array_equal(done[4], painted)
    gone = [*true[:4], np.zeros_like(true[4]), *true[5:]]
    assert not temporal.smooth(gone, images)[4].any()
    assert iou(temporal.smooth(gone, images)[3], true[3]) > 0.97


@given(st.integers(1, 4), st.integers(0, 9))
def test_every_mask_comes_back_in_order(radius: int, count: int) -> None:
    masks = [np.eye(4, 6, k=t % 3, dtype=bool) for t in range(count)]
    smoother = temporal.TemporalSmoother(radius)
    for _ in range(2):  # a smoother can be used again
        done = []
        for mask in masks:
            done += smoother.push(mask)
            assert len(smoother._entries) <= 2 * radius + 1
        assert len(done + smoother.flush()) == count
    lone = temporal.smooth(masks[:1], radius=radius)
    assert all(np.array_equal(a, b) for a, b in zip(lone, masks, strict=False))


def test_smoothing_errors() -> None:
    for radius in (0, 17, 1.0, True):
        with pytest.raises(InputError):
            temporal.TemporalSmoother(radius)  # type: ignore[arg-type]
    smoother = temporal.TemporalSmoother(1)
    smoother.push(np.ones((4, 5), bool))
    with pytest.raises(InputError):
        smoother.push(np.ones((5, 4), bool))


def test_a_clip_is_finished_in_order_and_alike_whole_or_frame_by_frame() -> None:
    true, images = clip(9)
    chosen = {1: MaskSettings(smooth_frames=2, grow=1), 2: MaskSettings(feather=2)}
    late = ClipFinisher(chosen)
    done: list = []
    for t, mask in enumerate(true):
        sources = {1: mask, 2: ~mask}
        if t == 5:
            del sources[1]  # the object is away for a frame
        done += late.push(100 + t, sources, images[t])
        assert len(late._frames) <= 2
    done += late.flush()
    assert [index for index, _ in done] == list(range(100, 109))
    assert [sorted(masks) for _, masks in done] == [[2] if t == 5 else [1, 2] for t in range(9)]
    for t, (_, masks) in enumerate(done):
        assert np.array_equal(masks[2].alpha_hw, finish(~true[t], chosen[2], images[t]).alpha_hw)
    before, after = temporal.smooth(true[:5], images[:5], 2), temporal.smooth(true[6:], images[6:], 2)
    for t, smooth in enumerate([*before, None, *after]):
        if smooth is not None:
            assert np.array_equal(done[t][1][1].mask_hw, finish(smooth, chosen[1]).mask_hw)
