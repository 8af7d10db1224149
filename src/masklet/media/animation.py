"""Animated WebP and PNG, which FFmpeg doesn't read in full; Pillow does."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import MediaError
from masklet.media.base import ForwardCursor, IndexedReader, cache_size
from masklet.media.color import over_black
from masklet.media.images import open_picture
from masklet.media.types import ImageArray, MediaInfo
from masklet.media.video_index import EntryPoint, VideoIndex

_DEFAULT_MILLISECONDS = 100  # what browsers show a frame for that asks for no time at all
_CLOCK = Fraction(1, 1000)


def is_animated(path: Path) -> bool:
    """Whether this WebP or PNG holds more than one frame."""
    if path.suffix.lower() not in {".webp", ".png", ".apng"}:
        return False
    try:
        with open_picture(path) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow raises whatever its parsers stumble over; reading it will say what is wrong
        return False


class AnimationReader(IndexedReader):
    """An animated WebP or PNG, with the time that each frame asks for.

    Raises:
        MediaError: damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        ticks = [0]
        try:
            with open_picture(path) as image:
                size, mode, codec = image.size, image.mode, str(image.format).lower()
                for position in range(image.n_frames):
                    image.seek(position)
                    image.load()
                    ticks.append(ticks[-1] + (round(image.info.get("duration", 0)) or _DEFAULT_MILLISECONDS))
        except MediaError:
            raise
        except Exception as error:  # Pillow raises whatever its parsers stumble over
            raise MediaError(f"{path} is damaged: {error}.") from error
        count = len(ticks) - 1
        self._index = VideoIndex(np.array(ticks[:-1], np.int64), _CLOCK, ticks[-1] - ticks[-2], (EntryPoint(0, 0, 0),))
        durations = set(np.diff(ticks).tolist())
        self._info = MediaInfo(
            path=str(path),
            kind="video",
            width=size[0],
            height=size[1],
            frame_count=count,
            rate=count / (ticks[-1] * _CLOCK),
            variable_rate=len(durations) > 1,
            duration=ticks[-1] * _CLOCK,
            codec=codec,
            pixel_format=mode.lower(),
            bit_depth=8,
        )

    @property
    def index(self) -> VideoIndex:
        return self._index

    def open_cursor(self, cached: bool) -> _AnimationCursor:
        return _AnimationCursor(self.path, cache_size(self._info.width * self._info.height * 3) if cached else 0)


class _AnimationCursor(ForwardCursor[ImageArray]):
    def __init__(self, path: Path, cache_frames: int) -> None:
        super().__init__(cache_frames)
        self._image: Any = open_picture(path)

    def close(self) -> None:
        self._cache.clear()
        self._image.close()

    def _entry(self, index: int) -> int:
        return 0

    def _jump(self, index: int) -> None:
        self._next = 0

    def _step(self) -> ImageArray:
        self._image.seek(self._next)
        self._next += 1
        return over_black(np.array(self._image.convert("RGBA")))

    def _to_image(self, raw: ImageArray) -> ImageArray:
        return raw.copy()
