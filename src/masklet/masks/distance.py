"""Distance to a mask's outline, mostly finer than a pixel: what growing, shrinking and soft edges are made of."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.masks._arrays import ByteArray, as_bytes, as_mask

_CHAMFER = (cv2.DIST_L2, cv2.DIST_MASK_5)
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
    if soft_hw is None:
        outwards, inwards = (cv2.distanceTransform(side, *_CHAMFER) for side in (mask, 1 - mask))
        return np.where(mask, outwards - np.float32(0.5), np.float32(0.5) - inwards)
    crossing = _Crossing(soft_hw)
    return np.where(mask, crossing.distance(mask), -crossing.distance(1 - mask))


class _Crossing:
    """Where the zero of a smooth field runs, seen from the pixels beside it: value over slope, along the slope."""

    def __init__(self, soft: NDArray[np.float32]) -> None:
        dx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        dy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        slope = np.maximum(cv2.magnitude(dx, dy), np.float32(1e-6))
        self.near = np.clip(np.abs(soft) / slope, np.float32(0.01), np.float32(1.2))
        self.x, self.y = np.arange(soft.shape[1], dtype=np.float32), np.arange(soft.shape[0], dtype=np.float32)
        # The outline beside each pixel as a straight line: normal_x * x + normal_y * y = shift.
        self.normal_x, self.normal_y = dx / slope, dy / slope
        self.shift = self.normal_x * self.x + self.normal_y * self.y[:, None] - np.clip(soft / slope, -1, 1)

    def distance(self, side: ByteArray) -> NDArray[np.float32]:
        """For the pixels of one side: right at the outline their own distance; further away, the distance to the
        line on which the outline passes the nearest pixel of the other side."""
        whole, labels = cv2.distanceTransformWithLabels(side, *_CHAMFER, labelType=cv2.DIST_LABEL_PIXEL)
        other = side == 0
        which = labels[other]
        normal_x, normal_y, shift = (np.zeros(int(labels.max()) + 1, np.float32) for _ in range(3))
        normal_x[which], normal_y[which] = self.normal_x[other], self.normal_y[other]
        shift[which] = self.shift[other]
        far = np.abs(normal_x[labels] * self.x + normal_y[labels] * self.y[:, None] - shift[labels])
        # Past a corner that line leads astray; the nearest pixel then says more.
        far = np.clip(far, whole - np.float32(1), whole)
        return np.where(whole < 1.5, self.near, far)


def deepest_point(mask_hw: Any) -> tuple[tuple[float, float], float]:
    """The pixel (x, y) of a mask that is farthest from its outline, and how far; the frame's edge is outline too."""
    mask = as_bytes(mask_hw)
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return (float(x), float(y)), float(depth[y, x])


def smooth_outline(mask_hw: Any) -> NDArray[np.float32]:
    """A field for `signed_distance` that rounds off the stairs of a boolean mask: float32 (h, w), with the mask's
    own sign on every pixel."""
    mask = as_mask(mask_hw)
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0) - np.float32(0.5)
    floor = np.where(mask, np.float32(0.02), np.float32(-0.02))
    return np.where((blurred > 0) == mask, blurred, floor)


def grow(mask_hw: Any, pixels: float) -> NDArray[np.bool_]:
    """A mask (h, w) grown by a distance in pixels in all directions, or shrunk by a negative one."""
    mask = as_bytes(mask_hw)
    if pixels == 0:
        return mask.view(np.bool_).copy()
    return signed_distance(mask, smooth_outline(mask)) > -pixels


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
