"""Which frame is which in a video file: time stamps and entry points, from one pass over its packets."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from masklet.errors import MediaError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Opens the file and picks its video stream.
Opener = Callable[[], AbstractContextManager[tuple["InputContainer", Any]]]

# Containers whose packets are one frame each, with a time stamp each. For all others that is checked.
_ONE_FRAME_PER_PACKET = {"mov", "mp4", "matroska", "webm"}
_CHECKED_FRAMES = 24
# Trying again doesn't help against these.
_HOPELESS = (av.error.ExitError, av.error.TimeoutError, ConnectionError, BrokenPipeError)
_MAX_READ_ERRORS = 64  # after this many failures in a row, what follows counts as lost


@dataclass(frozen=True)
class EntryPoint:
    """A key frame: decoding can start there.

    Attributes:
        frame: the first frame that is right when decoding starts here.
        pts, dts: the key packet's time stamps.
    """

    frame: int
    pts: int
    dts: int


@dataclass(frozen=True)
class VideoIndex:
    """Frames of a video in the order of showing.

    Attributes:
        pts: int64 time stamp per frame in ticks of `time_base`, strictly increasing.
        last_duration: ticks for which the last frame is shown, 0 if unknown.
        entries: key frames; the first one covers frame 0.
        by_count: True where the file's time stamps don't identify frames; then frame n is the n-th that comes out
            of the decoder, and decoding always starts at the beginning.
        undecodable_start: frames before the first key frame, left out of the index.
    """

    pts: npt.NDArray[np.int64]
    time_base: Fraction
    last_duration: int
    entries: tuple[EntryPoint, ...]
    by_count: bool = False
    undecodable_start: int = 0

    def __len__(self) -> int:
        return len(self.pts)

    def time(self, frame: int) -> Fraction:
        """Seconds since frame 0."""
        return int(self.pts[frame] - self.pts[0]) * self.time_base

    def at(self, seconds: Fraction) -> int:
        """The last frame that begins at or before `seconds` (−1 before the first)."""
        ticks = int(self.pts[0]) + seconds // self.time_base
        return int(np.searchsorted(self.pts, ticks, side="right")) - 1

    def frame_of(self, pts: int) -> int | None:
        """The frame with exactly this time stamp."""
        position = int(np.searchsorted(self.pts, pts))
        return position if position < len(self.pts) and self.pts[position] == pts else None

    def entry_number(self, frame: int) -> int:
        """Which entry to decode from to get `frame`."""
        return max(0, bisect_right(self.entries, frame, key=lambda entry: entry.frame) - 1)


def packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Packets of one stream; goes on after errors in the container, and ends with an empty packet."""
    failures = 0
    while failures < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except _HOPELESS:
            raise
        except (av.error.FFmpegError, OSError):
            failures += 1


def build_index(open_video: Opener, expected_rate: Fraction) -> VideoIndex:
    """Go through the packets of a video once (no decoding, unless its time stamps are of no use).

    Raises:
        MediaError: not one packet of video.
    """
    rows = array("q")
    usable = True
    with open_video() as (container, stream):
        is_vp8 = stream.codec_context.name == "vp8"
        time_base = stream.time_base or Fraction(1, 1000)
        one_per_packet = bool(_ONE_FRAME_PER_PACKET.intersection(container.format.name.split(",")))
        for packet in packets(container, stream):
            if not packet.size:
                continue
            if packet.pts is None:
                usable = False
                break
            if is_vp8 and not bytes(packet)[0] & 0x10:  # a reference picture that is never shown
                continue
            dts = packet.pts if packet.dts is None else packet.dts
            rows.extend((packet.pts, dts, packet.duration or 0, packet.is_keyframe, not packet.is_discard))
    if usable and rows:
        index = _from_packets(np.frombuffer(rows, np.int64).reshape(-1, 5), time_base)
        if index is not None and (one_per_packet or _agrees_with_decoder(open_video, index)):
            return index
    return _from_decoding(open_video, expected_rate)


def _from_packets(rows: npt.NDArray[np.int64], time_base: Fraction) -> VideoIndex | None:
    """The index, or None if time stamps don't tell frames apart.

    A row is a packet: pts, dts, duration, whether it is a key frame, whether it is shown.
    """
    pts, dts, durations = rows[:, 0], rows[:, 1], rows[:, 2]
    key, shown = rows[:, 3] != 0, rows[:, 4] != 0
    key[0] |= not key.any()
    # What is stored before the first key frame, or refers to before it, comes out of no decoder.
    first_key = int(np.argmax(key))
    decodable = np.arange(len(pts)) >= first_key
    decodable &= pts >= pts[first_key]
    undecodable = int((shown & ~decodable).sum())
    chosen = np.flatnonzero(shown & decodable)
    order = chosen[np.argsort(pts[chosen], kind="stable")]
    frames = pts[order]
    if not len(frames) or (np.diff(frames) <= 0).any():
        return None
    keys = np.flatnonzero(key & decodable)
    keys = keys[np.argsort(pts[keys], kind="stable")]
    entries: list[EntryPoint] = []
    for k in keys.tolist():
        frame = int(np.searchsorted(frames, pts[k]))
        if frame < len(frames) and (not entries or frame > entries[-1].frame):
            entries.append(EntryPoint(frame, int(pts[k]), int(dts[k])))
        elif entries and frame == entries[-1].frame:  # an edit list hides what lies between: the later one is closer
            entries[-1] = EntryPoint(frame, int(pts[k]), int(dts[k]))
    if not entries:
        return None
    return VideoIndex(frames, time_base, int(durations[order[-1]]), tuple(entries), undecodable_start=undecodable)


def decoded(
    container: InputContainer,
    stream: VideoStream,
    errors: list[str] | None = None,
    prepare: Callable[[Packet], None] | None = None,
) -> Iterator[VideoFrame]:
    """Frames in the order of the decoder, surviving damage; what was wrong is appended to `errors`. `prepare` sees
    every packet before it is decoded.
    """
    for packet in packets(container, stream):
        if prepare is not None:
            prepare(packet)
        try:
            yield from stream.decode(packet)
        except (av.error.FFmpegError, OSError) as error:
            if errors is not None:
                errors.append(getattr(error, "strerror", None) or str(error))


def _agrees_with_decoder(open_video: Opener, index: VideoIndex) -> bool:
    """Whether the first frames that are decoded are the first of the index."""
    errors: list[str] = []
    seen: list[int | None] = []
    with open_video() as (container, stream):
        for frame in decoded(container, stream, errors):
            seen.append(frame.pts)
            if len(seen) >= _CHECKED_FRAMES:
                break
    return bool(errors) or seen == index.pts[: len(seen)].tolist()


def _from_decoding(open_video: Opener, expected_rate: Fraction) -> VideoIndex:
    """Decode all of it once, for files whose packets don't say what they hold (raw H.264, odd transport streams)."""
    stamps: list[int | None] = []
    with open_video() as (container, stream):
        stream.thread_type = "AUTO"
        time_base = stream.time_base or Fraction(1, 1000)
        stamps.extend(frame.pts for frame in decoded(container, stream))
    if not stamps:
        raise MediaError("The video holds no frame that can be decoded.")
    known = [s for s in stamps if s is not None]
    if len(known) == len(stamps) and all(b > a for a, b in pairwise(known)):
        pts = np.array(known, np.int64)
    else:
        time_base = 1 / expected_rate
        pts = np.arange(len(stamps), dtype=np.int64)
    return VideoIndex(pts, time_base, 0, (EntryPoint(0, int(pts[0]), int(pts[0])),), by_count=True)
