"""Pictures for the page: decoded on demand and kept within bounds."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

from masklet.errors import InputError
from masklet.media import MediaReader
from masklet.media.base import Cursor
from masklet.media.images import small_jpeg

PICTURE_BYTES = 192 << 20
JPEG_BYTES = 96 << 20
QUALITY, THUMBNAIL_QUALITY = 88, 78
LARGEST_SIDE = 8192

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """What was used last, as much of it as fits into so many bytes; for any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._mutex = threading.Lock()

    def get(self, key: K) -> V | None:
        with self._mutex:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        with self._mutex:
            if key in self._kept:
                self._bytes -= self._kept.pop(key)[1]
            self._kept[key] = (value, size)
            self._bytes += size
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def __contains__(self, key: K) -> bool:
        with self._mutex:
            return key in self._kept

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    def drop(self, which: Callable[[K], bool]) -> None:
        """Forget some."""
        with self._mutex:
            for key in [key for key in self._kept if which(key)]:
                self._bytes -= self._kept.pop(key)[1]


class Kept:
    """What is kept of the pictures of all open sources together, decoded and encoded.

    Keys begin with the number of the source's store.
    """

    def __init__(self, picture_bytes: int = PICTURE_BYTES, jpeg_bytes: int = JPEG_BYTES) -> None:
        self.pictures: ByteCache[tuple[int, int], np.ndarray] = ByteCache(picture_bytes)
        self.jpegs: ByteCache[tuple[int, int, int, int], bytes] = ByteCache(jpeg_bytes)
        self._numbers = itertools.count()

    def number(self) -> int:
        """A number for another store."""
        return next(self._numbers)

    def forget(self, number: int) -> None:
        self.pictures.drop(lambda key: key[0] == number)
        self.jpegs.drop(lambda key: key[0] == number)


class FrameStore:
    """The pictures of one source. Every method may be called from any thread.

    Args:
        reader: the source; it stays the caller's.
        kept: where they are kept together with those of other sources.
    """

    def __init__(self, reader: MediaReader, kept: Kept | None = None) -> None:
        self.reader = reader
        self.count = len(reader)
        self.width, self.height = reader.info.width, reader.info.height
        self._kept = kept or Kept()
        self._number = self._kept.number()
        self._decoding = threading.Lock()
        self._thumbnails = threading.Lock()
        self._previewing = threading.Lock()
        self._thumbnails_at: Cursor | None = None

    def picture(self, frame: int) -> np.ndarray:
        """A frame, uint8 RGB (height, width, 3); not to be changed. Raises InputError, MediaError."""
        self._check(frame)
        pictures, key = self._kept.pictures, (self._number, frame)
        found = pictures.get(key)
        if found is None:
            with self._decoding:
                found = pictures.get(key)
                if found is None:
                    found = self.reader.read(frame).image_hwc
                    pictures.put(key, found, found.nbytes)
        return found

    def jpeg(self, frame: int, width: int | None = None) -> bytes:
        """A frame as JPEG, at most `width` pixels wide."""
        self._check(frame)
        key = self._key(frame, width)
        return self._kept.jpegs.get(key) or self._encode(self.picture(frame), key)

    def preview(self, frame: int, width: int | None = None) -> tuple[int, bytes]:
        """What can be shown of a frame at once: the nearest one that needs no other decoded first, as in `jpeg`.

        It waits for nothing that is being decoded.
        """
        self._check(frame)
        near = self.reader.entry_near(frame)
        key = self._key(near, width)
        with self._previewing:
            known = self._kept.jpegs.get(key)
            if known is None:
                picture_hwc = self._kept.pictures.get((self._number, near))
                if picture_hwc is None:
                    picture_hwc = next(iter(self.reader.frames(near, near + 1, prefetch=0))).image_hwc
                known = self._encode(picture_hwc, key)
            return near, known

    def thumbnail(self, frame: int, height: int = 90) -> bytes:
        """A small picture as JPEG, of this height. It waits for nothing but other small ones."""
        self._check(frame)
        width = max(1, round(self.width * height / self.height))
        key = (self._number, frame, width, THUMBNAIL_QUALITY)
        known = self._kept.jpegs.get(key)
        if known is not None:
            return known
        with self._thumbnails:
            known = self._kept.jpegs.get(key)
            if known is not None:
                return known
            picture_hwc = self._kept.pictures.get((self._number, frame))
            if picture_hwc is None:
                # A decoder of their own, which stays: they are asked for in order, and it goes through the video once.
                if self._thumbnails_at is None:
                    self._thumbnails_at = self.reader.open_cursor(cached=False)
                picture_hwc = self._thumbnails_at.image(frame)
            return self._encode(picture_hwc, key)

    def close(self) -> None:
        """Forget all pictures."""
        self._kept.forget(self._number)
        with self._thumbnails:
            if self._thumbnails_at is not None:
                self._thumbnails_at.close()
                self._thumbnails_at = None

    def _key(self, frame: int, width: int | None) -> tuple[int, int, int, int]:
        return self._number, frame, min(width or self.width, self.width, LARGEST_SIDE), QUALITY

    def _encode(self, picture_hwc: np.ndarray, key: tuple[int, int, int, int]) -> bytes:
        *_, width, quality = key
        jpeg = small_jpeg(picture_hwc, width, quality)
        self._kept.jpegs.put(key, jpeg, len(jpeg))
        return jpeg

    def _check(self, frame: int) -> None:
        if not 0 <= frame < self.count:
            raise InputError(f"There is no frame {frame}: the source has frames 0 to {self.count - 1}.")
