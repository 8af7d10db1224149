"""Polygons: exact without tolerance, close with it, and read by others."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.masks import polygons

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


def blobs(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width)), (0, 0), 7)
    return noise > np.quantile(noise, 0.6)


@given(masks)
def test_exact_without_tolerance(mask: np.ndarray) -> None:
    found = polygons.to_polygons(mask)
    assert np.array_equal(polygons.from_polygons(found, *mask.shape), mask)
    assert sum(p.area for p in found) == mask.sum()
    assert all(polygons.ring_area(p.outer) > 0 for p in found)
    assert all(polygons.ring_area(hole) < 0 for p in found for hole in p.holes)
    pieces, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    assert len(found) == pieces - 1
    for polygon in found:  # corners only, and every step along one axis
        for ring in polygon.rings:
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps[:, 0] == 0) ^ (steps[:, 1] == 0)).all()
            assert ((steps[:, 0] == 0) != (np.roll(steps[:, 0], 1) == 0)).all()


@given(masks)
def test_pycocotools_reads_the_cut_polygons_exactly(mask: np.ndarray) -> None:
    flat = polygons.to_coco(polygons.to_polygons(mask))
    assert np.array_equal(polygons.from_coco(flat, *mask.shape), mask)
    if flat:
        theirs = coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape)))
        assert np.array_equal(theirs.astype(bool), mask)


@given(
    hnp.arrays(np.float64, (7, 2), elements=st.floats(-6, 26, width=32)),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_filling_is_even_odd_at_pixel_centres(ring: np.ndarray, height: int, width: int) -> None:
    found = polygons.from_polygons([[ring]], height, width)
    x1, y1 = ring.T
    x2, y2 = np.roll(ring, -1, axis=0).T
    for row in range(height):
        passed = (np.minimum(y1, y2) <= row + 0.5) & (row + 0.5 < np.maximum(y1, y2))
        crossings = x1[passed] + (row + 0.5 - y1[passed]) / (y2[passed] - y1[passed]) * (x2 - x1)[passed]
        for column in range(width):
            if np.abs(crossings - column - 0.5).min(initial=1) > 1e-6:  # rounding may decide either way on the line
                assert found[row, column] == ((crossings <= column + 0.5).sum() % 2 == 1)


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.0])
def test_tolerance_saves_points_and_stays_close(tolerance: float) -> None:
    mask = blobs(3)
    exact, short = polygons.to_polygons(mask), polygons.to_polygons(mask, tolerance)
    assert len(short) == len(exact)
    points = [sum(len(ring) for p in some for ring in p.rings) for some in (exact, short)]
    assert points[1] < points[0] * {0.5: 0.95, 1.0: 0.3, 2.0: 0.15}[tolerance]
    again = polygons.from_polygons(short, *mask.shape)
    # No pixel further from the edge than the tolerance (and half a pixel's diagonal) may change sides.
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    changed = again != mask
    assert (inside + outside)[changed].max(initial=0) <= tolerance + 1.0


def test_joining_ragged_pieces_takes_no_more_room_than_they_do() -> None:
    mask = np.random.default_rng(0).random((540, 960)) > 0.35
    mask[:, 480:484] = False
    halves = [piece.bridged() for piece in polygons.to_polygons(mask) if piece.area > 10_000]
    points = sum(len(half) for half in halves)
    assert len(halves) == 2
    assert points > 100_000
    tracemalloc.start()
    outline = polygons.joined(halves)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * points * 16  # an outline is two numbers of 8 bytes for each point
    assert len(outline) == points + 2
    assert polygons.ring_area(outline) == pytest.approx(sum(polygons.ring_area(half) for half in halves))


def test_small_pieces_survive_any_tolerance_and_min_area_drops_them() -> None:
    mask = np.zeros((40, 40), bool)
    mask[3, 3] = True
    mask[10:30, 10:30] = True
    mask[15:18, 15:18] = False
    assert len(polygons.to_polygons(mask, tolerance=5)) == 2
    [large] = polygons.to_polygons(mask, min_area=2)
    assert large.area == 20 * 20 - 9
    [filled] = polygons.to_polygons(mask, min_area=10)
    assert filled.area == 400


def test_hole_in_a_piece_in_a_hole() -> None:
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:28] = True
    mask[6:24, 6:24] = False
    mask[10:20, 10:20] = True
    mask[13:16, 13:16] = False
    outer, inner = polygons.to_polygons(mask)
    assert (len(outer.holes), len(inner.holes)) == (1, 1)
    assert (outer.area, inner.area) == (26 * 26 - 18 * 18, 100 - 9)
    assert np.array_equal(polygons.from_polygons([outer, inner], 30, 30), mask)


def test_wrong_polygons() -> None:
    with pytest.raises(InputError):
        polygons.to_polygons(np.ones((3, 3), bool), tolerance=-1)
    with pytest.raises(InputError):
        polygons.from_coco([[1, 2, 3, 4, 5]], 5, 5)
    with pytest.raises(InputError):
        polygons.from_polygons([[np.array([[0, 0], [1, 1]])]], 5, 5)
    with pytest.raises(InputError):
        polygons.from_polygons([[np.array([[0, 0], [1, np.inf], [3, 3]])]], 5, 5)
    with pytest.raises(InputError):
        polygons.from_polygons([], 0, 5)
    assert polygons.to_polygons(np.zeros((4, 4), bool)) == []
    assert not polygons.from_polygons([[np.array([[50, 50], [60, 50], [60, 60]])]], 5, 5).any()
