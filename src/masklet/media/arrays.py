"""Frames that are in memory already."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.media.base import Cursor, MediaReader
from masklet.media.fingerprint import array_fingerprint
from masklet.media.sequence import SEQUENCE_RATE
from masklet.media.types import ImageArray, MediaInfo


class ArrayReader(MediaReader):
    """An array of frames × height × width × 3 (or one picture, height × width × 3), or a list of pictures; uint8 RGB.

    The array isn't copied; don't change it while it is being read.

    Raises:
        InputError: another shape or type, no frames, or pictures of different sizes.
    """

    def __init__(self, frames: Any, *, rate: Fraction | None = None) -> None:
        super().__init__()
        pictures = [np.asarray(f) for f in frames] if isinstance(frames, Sequence) else np.asarray(frames)
        single = isinstance(pictures, np.ndarray) and pictures.ndim == 3
        if single:
            pictures = pictures[None]  # type: ignore[call-overload]
        if not len(pictures):
            raise InputError("There are no frames in this array.")
        shape = pictures[0].shape
        for position, picture in enumerate(pictures):
            if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
                raise InputError(
                    f"Frames must be height × width × 3 (RGB); frame {position} is {picture.shape}. "
                    "Grey or RGBA pictures: convert them first."
                )
            if picture.dtype != np.uint8:
                raise InputError(f"Frames must be uint8 (0–255); frame {position} is {picture.dtype}.")
            if picture.shape != shape:
                raise InputError(f"Frames must be of one size: frame 0 is {shape}, frame {position} {picture.shape}.")
        self._pictures: Sequence[ImageArray] = pictures  # type: ignore[assignment]
        actual = rate or SEQUENCE_RATE
        self._info = MediaInfo(
            path="<array>",
            kind="image" if single else "video",
            width=shape[1],
            height=shape[0],
            frame_count=len(pictures),
            rate=actual,
            variable_rate=False,
            duration=len(pictures) / actual,
            codec="array",
            pixel_format="rgb24",
            bit_depth=8,
            notes=() if rate or single else (f"Arrays have no frame rate; {SEQUENCE_RATE} frames/s is assumed.",),
        )

    def fingerprint(self) -> str:
        return array_fingerprint(self._pictures)

    def open_cursor(self, cached: bool) -> Cursor:
        return Cursor(lambda index: np.array(self._pictures[index], order="C"))
