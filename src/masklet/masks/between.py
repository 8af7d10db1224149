"""Masks between two masks of one object: what lies between key frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks._arrays import MaskArray, as_mask
from masklet.masks.boxes import centroid, mask_slices
from masklet.masks.distance import signed_distance


def in_between(first_hw: Any, last_hw: Any, count: int) -> Iterator[MaskArray]:
    """The `count` masks, boolean (h, w), that lead from one mask to another, both left out, in even steps.

    The outline goes from one shape to the other (their signed distances are mixed) while the whole moves in a straight
    line from centroid to centroid, so that an object that only moved keeps its shape. None of the masks is empty.

    Raises InputError: the masks have different sizes, or one of them is empty.
    """
    first, last = as_mask(first_hw, "first mask"), as_mask(last_hw, "last mask")
    if first.shape != last.shape:
        raise InputError(f"The masks have different sizes: {first.shape[::-1]} and {last.shape[::-1]} pixels.")
    if not (first.any() and last.any()):
        raise InputError("One of the masks is empty, so there is nothing to lead from or to.")
    way = centroid(last) - centroid(first)
    # Nothing reaches further than the shapes do while they move, so most of a frame need not be looked at.
    where = mask_slices(first | last, margin=math.ceil(2 * math.hypot(*way)) + 2)
    assert where is not None
    from_first, from_last = signed_distance(first[where]), signed_distance(last[where])
    for number in range(1, count + 1):
        share = number / (count + 1)
        field = cv2.addWeighted(
            _moved(from_first, way * share), 1 - share, _moved(from_last, way * (share - 1)), share, 0.0
        )
        # Shapes that nowhere overlap would leave nothing on the way: their ridge is kept then.
        highest = float(field.max())
        mask = np.zeros(first.shape, np.bool_)
        mask[where] = field > (0.0 if highest > 0 else highest - 1)
        yield mask


def _moved(field: NDArray[np.float32], way: NDArray[np.float64]) -> NDArray[np.float32]:
    """What comes in over the border of the frame is like the border."""
    matrix = np.array([[1, 0, way[0]], [0, 1, way[1]]])
    moved = cv2.warpAffine(field, matrix, field.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
