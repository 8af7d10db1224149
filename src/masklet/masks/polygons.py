"""Masks as polygons with holes, and back.

Polygons run along the edges of pixels, so the square of the single pixel at column 3, row 5 has the corners
(3, 5), (4, 5), (4, 6), (3, 6), and with tolerance 0 a mask comes back exactly. Pixels that touch only at a
corner belong to different polygons.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from masklet.errors import InputError
from masklet.masks._arrays import MaskArray, as_bytes

Ring = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected piece of a mask: its outline (n, 2), x and y in pixels, and the outlines of its holes.

    Outlines are not repeated at the end. On the screen the outer one runs clockwise, holes the other way.
    """

    outer: Ring
    holes: tuple[Ring, ...] = field(default=())

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The outer outline and those of the holes. Fill them by the even-odd rule."""
        return (self.outer, *self.holes)

    @property
    def area(self) -> float:
        """Square pixels inside, without the holes."""
        return abs(ring_area(self.outer)) - sum(abs(ring_area(hole)) for hole in self.holes)

    def bridged(self) -> Ring:
        """One outline (n, 2) for formats that know no holes (COCO, YOLO): the holes are joined to it (`joined`)."""
        return joined(self.rings)


def to_polygons(mask_hw: Any, tolerance: float = 0.0, min_area: float = 0.0) -> list[Polygon]:
    """Polygons around every connected piece of a mask (h, w), from top to bottom.

    `tolerance` is how far in pixels an outline may move to need fewer points (Douglas-Peucker); 0 keeps every
    pixel edge, 1 is right for most datasets. Pieces and holes below `min_area` square pixels are left out; a
    piece too small for the tolerance keeps its exact outline, so that none is lost.
    Raises InputError for a negative tolerance.
    """
    if not 0 <= tolerance < np.inf:
        raise InputError(f"The tolerance of polygons is a distance in pixels, 0 or more, not {tolerance}.")
    mask = as_bytes(mask_hw)
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    found: dict[int, tuple[Ring, list[Ring]]] = {}
    for ring in _trace(mask):
        area = ring_area(ring)
        x, y = (int(value) for value in ring[0])
        # A ring starts at its topmost left corner: an outer one has its piece below, a hole has it above.
        piece = int(labels[y, x] if area > 0 else labels[y - 1, x])
        if area > 0:
            if area >= min_area:
                found[piece] = (_simplify(ring, tolerance, keep=True), [])
        elif piece in found and -area >= min_area:
            hole = _simplify(ring, tolerance, keep=False)
            if len(hole):
                found[piece][1].append(hole)
    return [Polygon(outer, tuple(holes)) for outer, holes in found.values()]


def from_polygons(polygons: Iterable[Polygon | Sequence[ArrayLike]], height: int, width: int) -> MaskArray:
    """Boolean (height, width): the pixels whose centre is inside any of the polygons.

    A polygon is a `Polygon` or a list of rings (n, 2), filled by the even-odd rule; parts outside the frame
    are cut off. Raises InputError for rings of fewer than three points or with values that are not numbers.
    """
    if height < 1 or width < 1:
        raise InputError(f"A mask of {width}x{height} pixels can't be made.")
    mask = np.zeros((height, width), np.bool_)
    for polygon in polygons:
        rings = polygon.rings if isinstance(polygon, Polygon) else [_ring(ring) for ring in polygon]
        _fill(mask, rings)
    return mask


def to_coco(polygons: Iterable[Polygon]) -> list[list[float]]:
    """COCO's `segmentation`: a flat list x, y, x, y, … per polygon, holes joined by cuts (see `joined`)."""
    return [[float(value) for value in polygon.bridged().reshape(-1)] for polygon in polygons]


def from_coco(segmentation: Sequence[Sequence[float]], height: int, width: int) -> MaskArray:
    """Boolean (height, width) of COCO's flat polygons. Raises InputError for an odd number of values."""
    rings = []
    for flat in segmentation:
        values = np.asarray(flat, np.float64).reshape(-1)
        if values.size % 2:
            raise InputError("A COCO polygon has an odd number of values, so an x or a y is missing.")
        rings.append([values.reshape(-1, 2)])
    return from_polygons(rings, height, width)


def joined(rings: Sequence[Ring]) -> Ring:
    """Several outlines as one (n, 2): a cut of no width leads from each to the next, walked once in each direction.

    Time and memory grow with the number of points, however many of them two neighbouring outlines have.
    """
    there, back = [], []
    ring = rings[0]
    for following in rings[1:]:
        leave, enter = _near_each_other(ring, following)
        there.append(ring[: leave + 1])
        back.append(np.concatenate((ring[leave:], ring[:1])))
        ring = np.roll(following, -enter, axis=0)
    if back:
        back[0] = back[0][:-1]  # outlines are not repeated at the end
        ring = np.concatenate((ring, ring[:1]))
    return np.concatenate((*there, ring, *back[::-1]))


def single_ring(mask_hw: Any, tolerance: float) -> Ring:
    """A whole mask as one outline, for formats that know neither holes nor parts: all of them `joined`."""
    return joined([part.bridged() for part in to_polygons(mask_hw, tolerance)])


def ring_area(ring_n2: ArrayLike) -> float:
    """Area of an outline in square pixels: positive if it runs clockwise on the screen."""
    ring = np.asarray(ring_n2, np.float64)
    x, y = ring[:, 0], ring[:, 1]
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _trace(mask: NDArray[np.uint8]) -> list[Ring]:
    """Every outline along pixel edges, by corners only, from the topmost left one on; inside on the right.

    Along a row, horizontal edges join the first corner to the second, the third to the fourth and so on, and
    along a column the vertical edges do: sorting the corners twice gives every edge without walking pixels.
    """
    padded = np.pad(mask, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    odd = (nw ^ ne ^ sw ^ se).astype(bool)
    saddle = (nw == se) & (ne == sw) & (nw != ne)
    y, x = np.nonzero(odd)
    right = ne[y, x] != se[y, x]
    down = sw[y, x] != se[y, x]
    # Where two pixels touch at a corner, two outlines pass: each turns around its own pixel.
    ys, xs = np.nonzero(saddle)
    falling = nw[ys, xs].astype(bool)
    left_goes_up = falling
    y = np.concatenate((y, ys, ys))
    x = np.concatenate((x, xs, xs))
    right = np.concatenate((right, np.zeros(len(ys), bool), np.ones(len(ys), bool)))
    down = np.concatenate((down, ~left_goes_up, left_goes_up))

    by_row = np.lexsort((right, x, y))
    y, x, right, down = y[by_row], x[by_row], right[by_row], down[by_row]
    following = np.empty(len(y), np.int64)
    first, second = np.arange(0, len(y), 2), np.arange(1, len(y), 2)
    _link(following, first, second, se[y[first], x[first]].astype(bool))
    by_column = np.lexsort((down, y, x))
    first, second = by_column[0::2], by_column[1::2]
    _link(following, first, second, sw[y[first], x[first]].astype(bool))

    corners = np.column_stack((x, y)).astype(np.float64)
    steps, seen, rings = following.tolist(), bytearray(len(y)), []
    for start in range(len(steps)):
        if seen[start]:
            continue
        ring, here = [], start
        while not seen[here]:
            seen[here] = 1
            ring.append(here)
            here = steps[here]
        rings.append(corners[ring])
    return rings


def _near_each_other(ring: Ring, other: Ring) -> tuple[int, int]:
    """A point of each of two outlines that lie near each other: the nearest to each other, in turns."""
    here, there = 0, _nearest(other, ring.mean(axis=0))
    for _ in range(16):
        before, here = there, _nearest(ring, other[there])
        there = _nearest(other, ring[here])
        if there == before:
            break
    return here, there


def _nearest(ring: Ring, point: NDArray[np.float64]) -> int:
    return int(((ring - point) ** 2).sum(axis=1).argmin())


def _link(following: NDArray[np.int64], first: NDArray[Any], second: NDArray[Any], forwards: NDArray[np.bool_]) -> None:
    following[np.where(forwards, first, second)] = np.where(forwards, second, first)


def _simplify(ring: Ring, tolerance: float, keep: bool) -> Ring:
    if tolerance == 0:
        return ring
    short = cv2.approxPolyDP(ring.astype(np.int32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    if len(short) >= 3 and ring_area(short) * ring_area(ring) > 0:
        return short
    return ring if keep else ring[:0]


def _ring(ring: ArrayLike) -> Ring:
    points = np.asarray(ring, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise InputError(f"A polygon needs three or more points (n, 2), but this one has the shape {points.shape}.")
    if not np.isfinite(points).all():
        raise InputError("A polygon has values that are not numbers (NaN or infinity).")
    return points


def _fill(mask: MaskArray, rings: Sequence[Ring]) -> None:
    """Adds the inside of one polygon: each edge flips all pixels right of it in the rows it passes."""
    height, width = mask.shape
    a = np.concatenate(rings)
    b = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    # Row r is passed when its centre, r + 0.5, is in the half-open span of the edge.
    spans = np.clip(np.ceil(np.sort(np.column_stack((a[:, 1], b[:, 1])), axis=1) - 0.5), 0, height)
    first, lengths = spans[:, 0].astype(np.int64), (spans[:, 1] - spans[:, 0]).astype(np.int64)
    edge = np.repeat(np.arange(len(a)), lengths)
    if not edge.size:
        return
    row = np.arange(edge.size) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[edge]
    slope = (row + 0.5 - a[edge, 1]) / (b[edge, 1] - a[edge, 1])
    column = np.ceil(a[edge, 0] + slope * (b[edge, 0] - a[edge, 0]) - 0.5)
    column = np.clip(column, 0, width).astype(np.int64)
    top, bottom, left = int(row.min()), int(row.max()) + 1, int(column.min())
    right = int(column.max()) + 1
    flips = np.bincount((row - top) * (right - left) + column - left, minlength=(bottom - top) * (right - left))
    inside = np.bitwise_xor.accumulate((flips & 1).reshape(bottom - top, right - left), axis=1)
    # The last column only ends spans: in each row the flips come in pairs.
    region = mask[top:bottom, left : min(right, width)]
    region |= inside[:, : region.shape[1]].astype(bool)
