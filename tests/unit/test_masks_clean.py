"""Holes, specks, borders, distances and overlap against SciPy, scikit-image and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from masklet.errors import InputError
from masklet.masks import clean, distance, overlap

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=16))


@given(masks, st.integers(0, 12))
def test_fill_holes_is_scipys(mask: np.ndarray, most: int) -> None:
    assert np.array_equal(clean.fill_holes(mask), ndimage.binary_fill_holes(mask))
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    expected = mask.copy()
    for hole in range(1, count + 1):
        if (holes == hole).sum() <= most:
            expected |= holes == hole
    before = mask.copy()
    assert np.array_equal(clean.fill_holes(mask, most), expected)
    assert np.array_equal(mask, before)


@given(masks, st.integers(0, 12))
def test_remove_specks(mask: np.ndarray, most: int) -> None:
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = [(pieces == piece).sum() for piece in range(1, count + 1)]
    expected = mask.copy()
    for piece, size in enumerate(sizes, 1):
        if size <= most and piece - 1 != int(np.argmax(sizes)):
            expected &= pieces != piece
    assert np.array_equal(clean.remove_specks(mask, most), expected)
    largest = clean.keep_largest(mask)
    assert largest.sum() == max(sizes, default=0)
    assert not (largest & ~mask).any()


@given(masks, st.integers(0, 9))
def test_fix_border_keeps_the_inside_and_is_straight_outside(mask: np.ndarray, width: int) -> None:
    fixed = clean.fix_border(mask, width)
    height, across = mask.shape
    y, x = min(width, (height - 1) // 2), min(width, (across - 1) // 2)
    assert np.array_equal(fixed[y : height - y, x : across - x], mask[y : height - y, x : across - x])
    for row in range(y):
        assert np.array_equal(fixed[row], fixed[y])
        assert np.array_equal(fixed[height - 1 - row], fixed[height - 1 - y])
    assert np.array_equal(clean.fix_border(fixed, width), fixed)


def test_fix_border_removes_a_bump() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 10:80] = True
    bent = mask.copy()
    bent[18:42, 77:] = [[False], [True]] * 12  # ragged last columns
    assert not np.array_equal(bent, mask)
    assert np.array_equal(clean.fix_border(bent, 3), mask)
    logits = np.where(bent, 5, -5).astype(np.float32)
    assert np.array_equal(clean.fix_border(logits, 3) > 0, mask)
    with pytest.raises(InputError):
        clean.fix_border(mask, -1)


@given(masks)
def test_signed_distance_is_the_euclidean_one(mask: np.ndarray) -> None:
    found = distance.signed_distance(mask)
    if mask.all() or not mask.any():
        assert (found == (distance.FAR if mask.all() else -distance.FAR)).all()
        return
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    expected = np.where(mask, inside - 0.5, 0.5 - outside)
    assert np.array_equal(found > 0, mask)
    assert np.allclose(found, expected, rtol=0.04, atol=0.03)


def test_signed_distance_of_a_field_lies_between_pixels() -> None:
    y, x = np.mgrid[:120, :140].astype(np.float32)
    for radius in (30.0, 30.3, 30.7, 11.5):
        true = radius - np.hypot(x - 70.4, y - 60.2)
        logits = np.tanh(true / 3) * 4  # any smooth field with that zero
        found = distance.signed_distance(logits > 0, logits)
        near = np.abs(true) < 8
        assert np.abs(found - true)[near].mean() < 0.12
        assert np.abs(found - true)[near].max() < 0.5
        plain = distance.signed_distance(logits > 0)
        assert np.abs(found - true)[near].mean() < 0.5 * np.abs(plain - true)[near].mean()


def test_grow_by_fractions_of_a_pixel() -> None:
    y, x = np.mgrid[:100, :100]
    disc = np.hypot(x - 50, y - 50) < 20
    areas = [int(distance.grow(disc, pixels).sum()) for pixels in np.arange(-3, 3.01, 0.25)]
    assert areas == sorted(areas)
    assert len(set(areas)) > 15  # fractions count
    assert distance.grow(disc, 3).sum() == pytest.approx(np.pi * 23**2, rel=0.03)
    assert distance.grow(disc, -3).sum() == pytest.approx(np.pi * 17**2, rel=0.03)
    assert not distance.grow(disc, -25).any()
    assert np.array_equal(distance.grow(disc, 0), disc)
    assert not distance.grow(np.zeros((5, 5), bool), 3).any()


def test_soft_edge_is_half_on_the_outline_and_keeps_the_area() -> None:
    line = np.linspace(-20, 20, 4001, dtype=np.float32)[None]
    for width in (1.0, 2.5, 8.0):
        ramp = distance.soft_edge(line, width)[0]
        assert ramp[2000] in (127, 128)
        assert (np.diff(ramp.astype(int)) >= 0).all()
        assert ramp[line[0] <= -width / 2].max() == 0
        assert ramp[line[0] >= width / 2].min() == 255
        assert ramp.mean() == pytest.approx(127.5, abs=0.2)
    assert set(distance.soft_edge(line, 0)[0].tolist()) == {0, 255}


@given(st.integers(1, 5), st.data())
def test_separate_gives_each_pixel_to_the_best(count: int, data: st.DataObject) -> None:
    shape = (6, 7)
    stack = [data.draw(hnp.arrays(np.bool_, shape)) for _ in range(count)]
    scores = {i: float(data.draw(st.integers(-3, 3))) for i in range(count)}
    found = overlap.separate(dict(enumerate(stack)), scores)
    assert np.array_equal(np.any(list(found.values()), axis=0), np.any(stack, axis=0))
    assert np.sum(list(found.values()), axis=0).max() <= 1
    ranks = np.stack([np.where(m, scores[i], -np.inf) for i, m in enumerate(stack)])
    for i in range(count):
        assert np.array_equal(found[i], stack[i] & (ranks.argmax(0) == i))


@given(st.integers(1, 4), st.data())
def test_opacities_add_up(count: int, data: st.DataObject) -> None:
    shape = (4, 5)
    stack = {i: data.draw(hnp.arrays(np.uint8, shape)) for i in range(count)}
    numbers = {i: float(data.draw(st.integers(-2, 2))) for i in range(count)}
    found = overlap.separate(stack, numbers)
    total = np.sum([alpha.astype(int) for alpha in found.values()], axis=0)
    given_total = np.sum([alpha.astype(int) for alpha in stack.values()], axis=0)
    assert np.array_equal(total, np.minimum(given_total, 255))
    best = max(numbers, key=lambda i: numbers[i])
    assert np.array_equal(found[best], stack[best])


def test_overlap_errors() -> None:
    mask = np.ones((3, 3), bool)
    assert overlap.separate({}, {}) == {}
    with pytest.raises(InputError):
        overlap.separate({1: mask}, {})
    with pytest.raises(InputError):
        overlap.separate({1: mask, 2: np.ones((3, 4), bool)}, {1: 0, 2: 0})
    with pytest.raises(InputError):
        overlap.separate({1: mask}, {1: float("nan")})
