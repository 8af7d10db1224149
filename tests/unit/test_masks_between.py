"""Masks between two masks: what holds for any shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.masks.between import in_between

HEIGHT, WIDTH = 60, 80
ROWS, COLUMNS = np.ogrid[:HEIGHT, :WIDTH]


def ellipse(x: float, y: float, wide: float, high: float) -> np.ndarray:
    return ((COLUMNS - x) / wide) ** 2 + ((ROWS - y) / high) ** 2 <= 1


def blob(x: int, y: int, seed: int) -> np.ndarray:
    """An irregular shape of one piece, 21 by 21 pixels at most, well inside the frame."""
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for dx, dy in random.integers(-5, 6, (6, 2)):
        mask |= ellipse(x + dx, y + dy, *random.uniform(2, 6, 2))
    return mask


shapes = st.builds(blob, st.integers(15, WIDTH - 16), st.integers(15, HEIGHT - 16), st.integers(0, 999))
counts = st.integers(1, 7)


@given(shape=shapes, count=counts)
def test_between_a_mask_and_itself_is_that_mask(shape: np.ndarray, count: int) -> None:
    found = list(in_between(shape, shape, count))
    assert len(found) == count
    assert all(np.array_equal(mask, shape) for mask in found)


@given(seed=st.integers(0, 999), dx=st.integers(-5, 5), dy=st.integers(-3, 3), count=counts)
def test_what_only_moved_keeps_its_shape(seed: int, dx: int, dy: int, count: int) -> None:
    steps = count + 1
    first, last = blob(40, 30, seed), np.roll(blob(40, 30, seed), (dy * steps, dx * steps), (0, 1))
    if np.count_nonzero(last[[0, -1]]) or np.count_nonzero(last[:, [0, -1]]) or abs(dx * steps) > 24:
        return  # it left the frame
    if abs(dy * steps) > 14:
        return
    for number, mask in enumerate(in_between(first, last, count), start=1):
        assert np.array_equal(mask, np.roll(first, (dy * number, dx * number), (0, 1)))


@given(first=shapes, last=shapes, count=counts)
def test_the_way_back_is_the_same(first: np.ndarray, last: np.ndarray, count: int) -> None:
    there, back = list(in_between(first, last, count)), list(in_between(last, first, count))
    for mask, other in zip(there, reversed(back), strict=True):
        assert np.count_nonzero(mask ^ other) <= 3  # rounding on the outline itself


@given(
    small=st.tuples(st.integers(3, 9), st.integers(3, 9)), more=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    count=counts,
)  # fmt: skip
def test_what_grows_on_the_spot_holds_the_small_and_lies_in_the_large(small, more, count) -> None:
    first = ellipse(40, 30, *small)
    last = ellipse(40, 30, small[0] + more[0], small[1] + more[1])
    areas = [first.sum()]
    for mask in in_between(first, last, count):
        assert not (first & ~mask).any() and not (mask & ~last).any()
        areas.append(mask.sum())
    assert areas == sorted(areas) and areas[-1] <= last.sum()


@given(first=shapes, last=shapes, count=counts)
def test_nothing_vanishes_on_the_way(first: np.ndarray, last: np.ndarray, count: int) -> None:
    assert all(mask.any() and mask.shape == first.shape for mask in in_between(first, last, count))


def test_a_ring_and_the_dot_in_it_leave_something_between_them() -> None:
    ring = ellipse(40, 30, 25, 25) & ~ellipse(40, 30, 22, 22)
    assert all(mask.any() for mask in in_between(ring, ellipse(40, 30, 1, 1), 9))


def test_masks_that_lead_nowhere_are_refused() -> None:
    there = ellipse(40, 30, 9, 9)
    with pytest.raises(InputError, match="empty"):
        list(in_between(there, np.zeros_like(there), 3))
    with pytest.raises(InputError, match="different sizes"):
        list(in_between(there, there[:-1], 3))
