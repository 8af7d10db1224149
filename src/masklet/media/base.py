"""The reader that every kind of media offers: frames by index, in order, or by time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from masklet.errors import InputError, MediaError
from masklet.media.fingerprint import file_fingerprint
from masklet.media.prefetch import prefetched
from masklet.media.types import Frame, ImageArray, MediaInfo
from masklet.media.video_index import VideoIndex
from masklet.sources import Sources

CACHE_BYTES = 256 << 20  # decoded pictures that one cursor may keep
CACHE_FRAMES = 64
PREFETCH_BYTES = 128 << 20

Raw = TypeVar("Raw")


class Cursor:
    """A place in a source, here one whose frames can be had in any order by `picture`.

    Not for two threads at once; every iteration has its own.
    """

    def __init__(self, picture: Callable[[int], ImageArray]) -> None:
        self._picture = picture

    def image(self, index: int) -> ImageArray:
        """The upright RGB picture of frame `index` (already checked); a new array each time."""
        return self._picture(index)

    def close(self) -> None:
        """Let go of files and decoders."""


class ForwardCursor(Cursor, ABC, Generic[Raw]):
    """A cursor over something that can only be decoded forwards from certain entry points.

    Going backwards costs one decode per frame only on average: what is decoded on the way to a frame stays in a
    bounded cache of the most recent frames, so that a long group of pictures is gone through once per cache size
    and not once per frame.
    """

    def __init__(self, cache_frames: int) -> None:
        super().__init__(self._decoded)
        self._cache: OrderedDict[int, Raw] = OrderedDict()
        self._cache_frames = cache_frames
        self._next = 0  # index that _step gives next

    @abstractmethod
    def _entry(self, index: int) -> int:
        """The last frame at or before `index` from which decoding can start."""

    @abstractmethod
    def _jump(self, index: int) -> None:
        """Put `_next` at or before `index`, close to it."""

    def _hurry(self, index: int) -> None:
        """Put `_next` closer to `index` where that is cheaper than decoding all that lies between."""

    @abstractmethod
    def _step(self) -> Raw:
        """Decode frame `_next` and advance it."""

    @abstractmethod
    def _to_image(self, raw: Raw) -> ImageArray: ...

    def _decoded(self, index: int) -> ImageArray:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._to_image(self._cache[index])
        if not self._next <= index or self._entry(index) > self._next:
            self._jump(index)
        self._hurry(index)
        while True:
            position = self._next
            raw = self._step()
            if self._cache_frames:
                self._cache[position] = raw
                while len(self._cache) > self._cache_frames:
                    self._cache.popitem(last=False)
            if position == index:
                return self._to_image(raw)


class MediaReader(ABC):
    """Frames of one source. `read` may be called from any thread; iterations don't disturb each other or `read`.

    Use it as a context manager or call `close`.
    """

    def __init__(self, *sources: Path) -> None:
        """Nobody writes over `sources` (files, or a folder of pictures) before the reader is closed."""
        self._sources = Sources(*sources)
        self._lock = threading.RLock()
        self._closed = False
        self._cursor: Cursor | None = None
        self._damaged: dict[int, str] = {}

    # What a kind of media provides

    _info: MediaInfo

    @property
    def info(self) -> MediaInfo:
        """What the source is. For a video, the first use goes through the file's packets once."""
        return self._info

    @abstractmethod
    def open_cursor(self, cached: bool) -> Cursor:
        """A place of its own, for one thread at a time, which the caller closes; `cached`: for going backwards."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A short text that stays the same as long as the content does, wherever the file is moved.

        Made from sizes and from the beginning, middle and end of the data, so it is quick for large files.
        """

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the source's clock: every `time_of` is a whole number of ticks."""
        return 1 / self.info.rate

    # What all of them share

    def __len__(self) -> int:
        return self.info.frame_count

    def entry_near(self, index: int) -> int:
        """The frame nearest to this one that is decoded without going through others: a key frame, or itself."""
        return self._checked(index)

    @property
    def damaged(self) -> Mapping[int, str]:
        """Frames met so far that could not be decoded, each with what happened.

        The last good frame before a damaged one is given in its place (the first good one at the very beginning),
        so counts and times stay right.
        """
        return dict(sorted(self._damaged.items()))

    def damage_notes(self, among: Collection[int] | None = None) -> list[str]:
        """What to tell a user about damaged frames, of all or `among` some: one sentence, or none."""
        damaged = [frame for frame in self.damaged if among is None or frame in among]
        if not damaged:
            return []
        shown = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
        return [f"{len(damaged)} frames could not be decoded and were replaced by their neighbours: {shown}"]

    def read(self, index: int) -> Frame:
        """Frame `index`, decoded exactly. Recently decoded frames are kept, so stepping back is quick.

        Raises:
            InputError: there is no such frame.
            MediaError: nothing in the source can be decoded.
        """
        index = self._checked(index)
        with self._lock:
            self._require_open()
            if self._cursor is None:
                self._cursor = self.open_cursor(cached=True)
            return Frame(index, self.time_of(index), self._cursor.image(index))

    def frames(
        self, start: int | None = None, stop: int | None = None, step: int = 1, *, prefetch: int = 4
    ) -> Iterator[Frame]:
        """Frames start, start + step, … up to but not including `stop`; `step` may be negative.

        Args:
            start: the first frame; without it frame 0, or the last frame if `step` is negative.
            stop: where to end (exclusive); without it the source's end (its beginning if `step` is negative).
            prefetch: how many frames a background thread may decode ahead (fewer for very large frames); 0
                decodes in the calling thread.

        Raises:
            InputError: at once, if the range lies outside of the source.
        """
        self._require_open()
        count = len(self)
        if step == 0:
            raise InputError("step must not be 0: 1 goes forwards, -1 backwards.")
        first = (0 if step > 0 else count - 1) if start is None else self._checked(start)
        if stop is None:
            end = count if step > 0 else -1
        elif not (0 if step > 0 else -1) <= stop <= count:
            raise InputError(f"stop is {stop}, but {self.info.path} has {count} frames (0 to {count - 1}).")
        else:
            end = stop
        indices = range(first, end, step)

        def produce() -> Iterator[Frame]:
            cursor = self.open_cursor(cached=step < 0)
            try:
                for index in indices:
                    yield Frame(index, self.time_of(index), cursor.image(index))
            finally:
                cursor.close()

        if prefetch <= 0 or len(indices) < 2:
            return produce()
        frame_bytes = max(1, self.info.width * self.info.height * 3)
        return prefetched(produce, min(prefetch, max(1, PREFETCH_BYTES // frame_bytes)))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def time_of(self, index: int) -> Fraction:
        """When frame `index` is shown: seconds since the first frame.

        Raises:
            InputError: there is no such frame.
        """
        return self._checked(index) / self.info.rate

    def index_at(self, seconds: float | Fraction | str) -> int:
        """The frame that is on screen `seconds` after the first one appeared.

        A number that misses the beginning of a frame by rounding (at most a twentieth of a frame and half a
        millisecond) means that frame.

        Raises:
            InputError: before the first frame or after the end.
        """
        try:
            # A float stands for the decimal number that a person wrote: 4.8, not 4.79999999999999982.
            wanted = seconds if isinstance(seconds, Fraction) else Fraction(str(seconds))
        except (ValueError, ZeroDivisionError):
            raise InputError(f"{seconds!r} is not a number of seconds.") from None
        info = self.info
        slack = min(1 / info.rate / 20, Fraction(1, 2000))
        if wanted < -slack or wanted > info.duration + slack:
            raise InputError(
                f"{float(wanted):g} s lies outside of {info.path}: it lasts {float(info.duration):.3f} s "
                f"(frames 0 to {info.frame_count - 1})."
            )
        return max(0, min(self._index_at(wanted + slack), info.frame_count - 1))

    def _index_at(self, seconds: Fraction) -> int:
        return bisect_right(range(len(self)), seconds, key=self.time_of) - 1

    def close(self) -> None:
        """Let go of files and decoders. Running iterations end on their own."""
        self._sources.release()
        with self._lock:
            self._closed = True
            if self._cursor is not None:
                self._cursor.close()
                self._cursor = None

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self.info
        return (
            f"<{type(self).__name__} {info.path!r}: {info.frame_count} × {info.width}×{info.height}, "
            f"{float(info.rate):g} frames/s>"
        )

    def _checked(self, index: Any) -> int:
        try:
            value = index.__index__()
        except AttributeError:
            raise InputError(f"A frame index is a whole number, not {index!r}.") from None
        count = len(self)
        if not 0 <= value < count:
            raise InputError(
                f"There is no frame {value}: {self.info.path} has {count} frame{'s' * (count != 1)}, 0 to {count - 1}."
            )
        return value

    def _require_open(self) -> None:
        if self._closed:
            raise MediaError("This reader is closed; open the media again.")


class IndexedReader(MediaReader):
    """One file whose frames have time stamps of their own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    @property
    @abstractmethod
    def index(self) -> VideoIndex:
        """Time stamps and entry points of all frames."""

    @property
    def time_base(self) -> Fraction:
        return self.index.time_base

    def time_of(self, index: int) -> Fraction:
        return self.index.time(self._checked(index))

    def _index_at(self, seconds: Fraction) -> int:
        return self.index.at(seconds)

    def fingerprint(self) -> str:
        return file_fingerprint(self.path)


def cache_size(frame_bytes: int) -> int:
    """How many decoded pictures of this size a cursor may keep."""
    return max(2, min(CACHE_FRAMES, CACHE_BYTES // max(1, frame_bytes)))
