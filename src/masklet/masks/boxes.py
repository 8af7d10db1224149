"""Boxes in pixels of the source frame: x1, y1, x2, y2, where x2 and y2 are the far edge of the last pixel.

A box around the single pixel at column 3, row 5 is (3, 5, 4, 6): width is x2 - x1, with nothing added.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.masks._arrays import as_bytes

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
