"""Holes, specks and the frame's border: what a network gets wrong about the shape of a mask."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from masklet.errors import InputError
from masklet.masks._arrays import MaskArray, as_bytes, as_mask
from masklet.masks.boxes import mask_slices


def fill_holes(mask_hw: Any, max_area: float = float("inf")) -> MaskArray:
    """A copy of a mask (h, w) with every hole of up to `max_area` pixels filled.

    A hole is a piece of background that doesn't reach the frame's border, pixels joined by their sides.
    """
    mask = as_bytes(mask_hw).copy()
    where = mask_slices(mask, 1)
    if where is None or max_area <= 0:
        return mask.view(np.bool_)
    region = mask[where]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - region, connectivity=4)
    drop = stats[:, cv2.CC_STAT_AREA] <= max_area
    drop[0] = False  # the mask itself
    # What reaches a side of the region lies around the object or at the frame's border: no hole.
    x, y = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    x2, y2 = x + stats[:, cv2.CC_STAT_WIDTH], y + stats[:, cv2.CC_STAT_HEIGHT]
    drop &= (x > 0) & (y > 0) & (x2 < region.shape[1]) & (y2 < region.shape[0])
    if count > 1 and drop.any():
        region[drop[labels]] = 1
    return mask.view(np.bool_)


def remove_specks(mask_hw: Any, max_area: float) -> MaskArray:
    """A copy of a mask (h, w) without its separate pieces of up to `max_area` pixels.

    Pixels are joined by sides and corners. The largest piece always stays, so that no object vanishes.
    """
    mask = as_bytes(mask_hw).copy()
    where = mask_slices(mask)
    if where is None or max_area <= 0:
        return mask.view(np.bool_)
    region = mask[where]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(region, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    drop = areas <= max_area
    drop[0] = False
    if count > 1:
        largest = 1 + np.flatnonzero(areas[1:] == areas[1:].max())
        # OpenCV numbers pieces in no promised order.
        tie = len(largest) > 1
        drop[labels.ravel()[np.isin(labels, largest).argmax()] if tie else largest[0]] = False
    if drop.any():
        region[drop[labels]] = 0
    return mask.view(np.bool_)


def keep_largest(mask_hw: Any) -> MaskArray:
    """A copy of a mask (h, w) with only its largest piece; of equally large ones the first from the top."""
    return remove_specks(mask_hw, float("inf"))


def fix_border(field_hw: Any, width: int) -> np.ndarray:
    """A copy of a mask or of logits (h, w) whose outermost `width` pixels repeat what lies next to them.

    Masks of objects that the frame cuts off often curl away from its edge, because the network sees nothing
    beyond it. Frames too small for that keep theirs. Raises InputError for a negative width.
    """
    field = np.asarray(field_hw)
    if field.dtype != np.float32:
        field = as_mask(field)
    if width < 0:
        raise InputError(f"The width of the border is a number of pixels, 0 or more, not {width}.")
    rows, columns = field.shape
    y, x = min(width, (rows - 1) // 2), min(width, (columns - 1) // 2)
    return np.pad(field[y : rows - y, x : columns - x], ((y, y), (x, x)), mode="edge")
