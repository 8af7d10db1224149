"""Distance to a mask's outline, finer than a pixel: what growing, shrinking and soft edges are made of."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.masks._arrays import ByteArray, as_bytes

FAR = np.float32(1e6)
"""Stands for the distance to an outline that isn't there."""


def signed_distance(mask_hw: Any, soft_hw: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Distance in pixels of each pixel's centre to the outline: float32 (h, w), positive inside.

    The outline runs along pixel edges. Given `soft_hw`, a smooth field that is positive where the mask is (logits,
    or a soft mask minus a half), it runs where that field is zero instead, which places it between pixels. A mask
    that is empty or fills the frame has no outline: every distance is -FAR or FAR. The error is below 3% of the
    distance (chamfer distance, Borgefors 1986).
    """
    mask = as_bytes(mask_hw)
    inside = cv2.countNonZero(mask)
    if inside in (0, mask.size):
        return np.full(mask.shape, FAR if inside else -FAR, np.float32)
    offset = None if soft_hw is None else _crossing(mask, soft_hw)
    outwards = _to_other_side(mask, offset)
    inwards = _to_other_side(1 - mask, offset)
    return np.where(mask, outwards, -inwards)


def _to_other_side(mask: ByteArray, offset: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """For pixels inside, the distance to the outline beyond which the nearest pixel outside lies."""
    if offset is None:
        return cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_5) - np.float32(0.5)
    distance, labels = cv2.distanceTransformWithLabels(
        mask, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    outside = mask == 0
    table = np.zeros(int(labels.max()) + 1, np.float32)
    table[labels[outside]] = np.abs(offset[outside])
    return np.maximum(distance - table[labels], np.float32(0.01))


def _crossing(mask: ByteArray, soft: NDArray[np.float32]) -> NDArray[np.float32]:
    """For pixels at the outline, how far the zero of a smooth field is: value over slope, at most a pixel."""
    dy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    dx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    slope = np.maximum(cv2.magnitude(dx, dy), np.float32(1e-6))
    return np.clip(np.abs(soft) / slope, 0.01, 0.99)


def grow(mask_hw: Any, pixels: float) -> NDArray[np.bool_]:
    """A mask (h, w) grown by a distance in pixels in all directions, or shrunk by a negative one."""
    mask = as_bytes(mask_hw)
    if pixels == 0:
        return mask.view(np.bool_).copy()
    return signed_distance(mask) > -pixels


def soft_edge(distance_hw: NDArray[np.float32], width: float) -> ByteArray:
    """Opacity, uint8 0 to 255, (h, w) of a signed distance: a ramp of `width` pixels across the outline.

    Half opaque on the outline itself; the ramp is straight up to a pixel (antialiasing) and eases in and out
    when wider. Width 0 gives a hard edge.
    """
    if width <= 0:
        return np.where(distance_hw > 0, np.uint8(255), np.uint8(0))
    ramp = np.clip(distance_hw / np.float32(width) + np.float32(0.5), 0, 1)
    if width > 1:
        ramp = ramp * ramp * (3 - 2 * ramp)
    return np.rint(ramp * 255).astype(np.uint8)
