"""Turning pictures upright: the display matrix of videos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masklet.media.types import ImageArray


@dataclass(frozen=True, slots=True)
class Orientation:
    """Swap x and y first (if `transpose`), then mirror."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_display_matrix(cls, data: bytes) -> Orientation:
        """From FFmpeg's 3×3 int32 matrix (36 bytes, native order), rounded to a multiple of 90 degrees.

        The matrix takes a stored point (x, y) to (a·x + c·y, b·x + d·y), with a, b first and c, d second row.
        """
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].astype(np.int64).tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def from_angle(cls, counter_clockwise: int) -> Orientation:
        """From an angle in degrees, rounded to a multiple of 90."""
        quarter = round(counter_clockwise / 90) % 4
        return cls(quarter % 2 == 1, quarter in {2, 3}, quarter in {1, 2})

    @property
    def mirrored(self) -> bool:
        """Whether what comes out is a mirror image of what is stored."""
        return (self.transpose + self.flip_x + self.flip_y) % 2 == 1

    @property
    def rotation(self) -> int:
        """Degrees clockwise (a mirror image is first mirrored left to right, then turned)."""
        if not self.transpose:
            return 180 if self.flip_y else 0
        return 90 if self.flip_x else 270

    def apply(self, image_hwc: ImageArray) -> ImageArray:
        """The upright picture, contiguous (the same array if nothing is to be done)."""
        if self == Orientation():
            return image_hwc
        import cv2  # several times faster at this than numpy

        upright = cv2.transpose(image_hwc) if self.transpose else image_hwc
        if self.flip_x or self.flip_y:
            upright = cv2.flip(upright, -1 if self.flip_x and self.flip_y else int(self.flip_x))
        return np.ascontiguousarray(upright, np.uint8)
