"""Boxes in pixels of the source frame: x1, y1, x2, y2, where x2 and y2 are the far edge of the last pixel.

A box around the single pixel at column 3, row 5 is (3, 5, 4, 6): width is x2 - x1, with nothing added.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from masklet.errors import InputError
from masklet.masks._arrays import as_bytes

BoxArray = NDArray[np.float32]


def mask_to_box(mask_hw: Any) -> BoxArray | None:
    """The smallest box around a mask (h, w): float32 (4,), or None where the mask is empty."""
    x, y, width, height = cv2.boundingRect(as_bytes(mask_hw))
    if width == 0:
        return None
    return np.array([x, y, x + width, y + height], np.float32)


def masks_to_boxes(masks_nhw: Iterable[Any]) -> BoxArray:
    """The boxes of n masks, float32 (n, 4); an empty mask has 0, 0, 0, 0."""
    found = [mask_to_box(mask) for mask in masks_nhw]
    boxes_n4 = np.zeros((len(found), 4), np.float32)
    for row, box in zip(boxes_n4, found, strict=True):
        if box is not None:
            row[:] = box
    return boxes_n4


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


def box_area_xyxy(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas (n,) of boxes (n, 4) in square pixels; 0 for a box turned inside out."""
    boxes = _boxes(boxes_xyxy)
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def box_iou_xyxy(boxes_xyxy: ArrayLike, others_xyxy: ArrayLike) -> NDArray[np.float32]:
    """Intersection over union of n boxes with m others: float32 (n, m), 0 to 1.

    Takes (n, 4) and (m, 4), or (4,) for one box. A box without area overlaps nothing, itself included.
    Raises InputError for other shapes and for values that are not numbers.
    """
    a, b = _boxes(boxes_xyxy), _boxes(others_xyxy)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(sides, 0, None).prod(axis=2)
    total = box_area_xyxy(a)[:, None] + box_area_xyxy(b)[None, :] - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0).astype(np.float32)


def nms_xyxy(
    boxes_xyxy: ArrayLike, scores: ArrayLike, threshold: float, groups: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Which of n boxes stay when a better one overlaps them: indices, best score first.

    Boxes are taken by falling score (equal scores: in the order given); each drops every later one that it
    overlaps with an IoU above `threshold`. With `groups` (n,), only boxes of the same group drop each other.
    Raises InputError where lengths differ or the threshold isn't in 0..1.
    """
    boxes = _boxes(boxes_xyxy)
    values = np.asarray(scores, np.float64).reshape(-1)
    if len(values) != len(boxes):
        raise InputError(f"There are {len(boxes)} boxes but {len(values)} scores.")
    if np.isnan(values).any():
        raise InputError("A score is not a number (NaN).")
    if not 0.0 <= threshold <= 1.0:
        raise InputError(f"The overlap threshold must be between 0 and 1, not {threshold}.")
    order = np.argsort(-values, kind="stable")
    kinds = None if groups is None else np.asarray(groups).reshape(-1)
    if kinds is not None and len(kinds) != len(boxes):
        raise InputError(f"There are {len(boxes)} boxes but {len(kinds)} groups.")
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        overlaps = box_iou_xyxy(boxes[best], boxes[order])[0] > threshold
        if kinds is not None:
            overlaps &= kinds[order] == kinds[best]
        order = order[~overlaps]
    return np.array(kept, np.int64)


def clip_boxes_xyxy(boxes_xyxy: ArrayLike, height: int, width: int) -> BoxArray:
    """Boxes cut to a frame of (height, width), in the shape given: (4,) or (n, 4)."""
    given = np.asarray(boxes_xyxy, np.float64)
    boxes = _boxes(given).copy()
    boxes[:, 0::2] = np.clip(boxes[:, 0::2], 0, width)
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0, height)
    return boxes.astype(np.float32).reshape(given.shape)


def xyxy_to_xywh(boxes_xyxy: ArrayLike) -> BoxArray:
    """x1, y1, x2, y2 to x1, y1, width, height (COCO, MOT), in the shape given."""
    given = np.asarray(boxes_xyxy, np.float64)
    boxes = _boxes(given).copy()
    boxes[:, 2:] -= boxes[:, :2]
    return boxes.astype(np.float32).reshape(given.shape)


def xywh_to_xyxy(boxes_xywh: ArrayLike) -> BoxArray:
    """x1, y1, width, height to x1, y1, x2, y2, in the shape given."""
    given = np.asarray(boxes_xywh, np.float64)
    boxes = _boxes(given).copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes.astype(np.float32).reshape(given.shape)


def _boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """(n, 4) float64 of one box or of n, checked."""
    array = np.asarray(boxes, np.float64)
    if array.size == 0 and array.ndim < 3:
        return np.zeros((0, 4))
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"Boxes must have the shape (n, 4) or (4,), not {np.shape(boxes)}.")
    if not np.isfinite(array).all():
        raise InputError("A box has values that are not numbers (NaN or infinity).")
    return array
