"""Which boxes show the same object: one to one, by how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def iou(boxes_xyxy: Sequence[Sequence[float]], others_xyxy: Sequence[Sequence[float]]) -> np.ndarray:
    """Intersection over union, float64 (boxes, others)."""
    a, b = np.array(boxes_xyxy, float).reshape(-1, 1, 4), np.array(others_xyxy, float).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    either = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def match(
    boxes_xyxy: Sequence[Sequence[float]], others_xyxy: Sequence[Sequence[float]], least: float
) -> dict[int, int]:
    """The index of the other box for boxes that have one: the pairs that overlap most first, each box in one pair."""
    overlap = iou(boxes_xyxy, others_xyxy)
    found: dict[int, int] = {}
    for index in np.argsort(-overlap, axis=None, kind="stable").tolist():
        box, other = divmod(index, overlap.shape[1])
        if overlap[box, other] < least:
            break
        if box not in found and other not in found.values():
            found[box] = other
    return found
