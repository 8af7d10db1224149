"""Where a mask lies. Boxes are x1, y1, x2, y2 in pixels of the frame, x2 and y2 the far edge of the last pixel.

A box around the single pixel at column 3, row 5 is (3, 5, 4, 6): width is x2 - x1, with nothing added.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.masks._arrays import MaskArray, as_bytes

BoxArray = NDArray[np.float32]


def mask_to_box(mask_hw: Any) -> BoxArray | None:
    """The smallest box around a mask (h, w): float32 (4,), or None where the mask is empty."""
    x, y, width, height = cv2.boundingRect(as_bytes(mask_hw))
    if width == 0:
        return None
    return np.array([x, y, x + width, y + height], np.float32)


def to_xywh(box_xyxy: Any) -> list[float]:
    """A box as annotations have it: left, top, width, height."""
    left, top, right, bottom = (float(value) for value in box_xyxy)
    return [left, top, right - left, bottom - top]


def box_overlap(box_xyxy: Iterable[float] | None, other_xyxy: Iterable[float] | None) -> float:
    """Intersection over union of two boxes, 0…1; 0 where one of them is empty, or None."""
    if box_xyxy is None or other_xyxy is None:
        return 0.0
    (left, top, right, bottom), (left2, top2, right2, bottom2) = (map(float, box) for box in (box_xyxy, other_xyxy))
    width, height = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2) - shared)


def centroid(mask_hw: MaskArray) -> NDArray[np.float64]:
    """x and y of the middle of a mask's pixels, float64 (2,); the middle of the upper left pixel is (0.5, 0.5)."""
    sides = ((axis, mask_hw.shape[axis]) for axis in (1, 0))
    return np.array([np.average(np.arange(n) + 0.5, weights=mask_hw.sum(axis=1 - axis)) for axis, n in sides])


def mask_slices(mask_hw: Any, margin: int = 0) -> tuple[slice, slice] | None:
    """Rows and columns around a mask with `margin` pixels more on each side, inside the frame; None if empty.

    Most masks fill a small part of the frame: working on `frame[mask_slices(mask)]` saves the rest.
    """
    mask = as_bytes(mask_hw)
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return None
    rows = slice(max(y - margin, 0), min(y + height + margin, mask.shape[0]))
    return rows, slice(max(x - margin, 0), min(x + width + margin, mask.shape[1]))
