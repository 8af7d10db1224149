"""F: how well two outlines agree (boundary accuracy).

DAVIS 2016, section 4.1: precision and recall of boundary pixels, matched within a tolerance of 0.8 % of the
image diagonal, combined into the F measure.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from masklet.errors import InputError
from masklet.evaluation.region import without_void
from masklet.masks.boxes import mask_slices

TOLERANCE = 0.008  # of the image diagonal


def boundary_map(mask_hw: np.ndarray) -> np.ndarray:
    """One pixel wide outline of a mask, (H, W) bool.

    A pixel belongs to it when its right, lower or lower right neighbour has the other label (so the outline
    sits half a pixel towards the origin, as in the Berkeley and DAVIS benchmarks). The last row looks to the
    right only, the last column only down, and the last pixel never belongs.
    """
    mask = np.asarray(mask_hw).astype(bool, copy=False)
    outline = np.zeros_like(mask)
    outline[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    outline[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    outline[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return outline


def tolerance_pixels(height: int, width: int, tolerance: float = TOLERANCE) -> int:
    """The matching distance in pixels: rounded up; a tolerance of 1 or more already is in pixels."""
    if tolerance >= 1:
        return math.ceil(tolerance)
    return math.ceil(tolerance * math.hypot(height, width))


def boundary_accuracy(
    truth_hw: np.ndarray,
    mask_hw: np.ndarray,
    void_hw: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """F measure of two outlines, in [0, 1]. Two masks without an outline agree completely: 1.

    Args:
        truth_hw: annotation, (H, W), bool (any other type: non-zero is foreground).
        mask_hw: what is being scored, same shape.
        void_hw: pixels that count as background in both, same shape, or None.
        tolerance: fraction of the image diagonal, or pixels when 1 or more.

    Raises:
        InputError: the shapes differ, or the tolerance is not positive.
    """
    if tolerance <= 0:
        raise InputError(f"the boundary tolerance must be positive; got {tolerance}")
    truth, mask = without_void(truth_hw, mask_hw, void_hw)
    truth_outline, mask_outline = boundary_map(truth), boundary_map(mask)
    truth_count, mask_count = int(np.count_nonzero(truth_outline)), int(np.count_nonzero(mask_outline))
    if truth_count == 0 and mask_count == 0:
        return 1.0
    if truth_count == 0 or mask_count == 0:
        return 0.0  # one of precision and recall is 0
    radius = tolerance_pixels(truth.shape[0], truth.shape[1], tolerance)
    # inside the smallest window that holds both, distances between them don't change
    window = mask_slices(truth_outline | mask_outline)
    truth_outline, mask_outline = truth_outline[window], mask_outline[window]
    precision = np.count_nonzero(mask_outline & _within(truth_outline, radius)) / mask_count
    recall = np.count_nonzero(truth_outline & _within(mask_outline, radius)) / truth_count
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def _within(outline_hw: np.ndarray, radius: int) -> np.ndarray:
    """Pixels at most `radius` away from an outline: a dilation with a disk, at a fraction of its cost."""
    away = np.logical_not(outline_hw).astype(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= radius + 1e-3
