"""Video files: any frame by its number, exactly, with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.stream import Disposition

from masklet.errors import MediaError
from masklet.media.base import ForwardCursor, IndexedReader, cache_size
from masklet.media.color import RgbConverter, assumed_matrix, color_info
from masklet.media.hdr import needs_mapping
from masklet.media.orientation import Orientation
from masklet.media.types import ImageArray, MediaInfo
from masklet.media.video_index import VideoIndex, build_index, decoded

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_DEFAULT_RATE = Fraction(25)
_EARLIER_ENTRIES = 3  # to be tried before decoding from the start
_MAX_THREADS = 8  # each one holds a frame
# Whose decoder knows which pictures no other leans on, so that a jump may leave them out.
_HURRIED_CODECS = {"h264"}
_DECODED_BEFORE = 12  # frames before the one that was jumped to, for a few steps backwards from there
# FFmpeg shows text files as films of a terminal; nobody means that.
_TEXT_FORMATS = {"tty", "bin", "adf", "idf", "xbin"}


def open_container(path: Path) -> InputContainer:
    """Open a file with FFmpeg.

    Raises:
        MediaError: no such file, not readable, or nothing that FFmpeg knows.
    """
    try:
        # "file:" keeps FFmpeg from taking a colon or % in the name for something else.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_unreadable(path, error)) from error
    if _TEXT_FORMATS.intersection(container.format.name.split(",")):
        container.close()
        raise MediaError(f"{path} is text, not a video or picture.")
    return container


def _why_unreadable(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) or not path.exists():
        return f"There is no file {path}."
    if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
        return f"{path} can't be read: permission denied."
    if isinstance(error, av.error.EOFError):
        return f"{path} contains no frame: it ends after its header."
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes): it was probably never written to its end."
    reason = getattr(error, "strerror", None) or str(error)
    hint = "If it was copied or downloaded, it may be cut short; otherwise it isn't a video."
    with path.open("rb") as file:
        head = file.read(512)
    if head and all(byte in b"\t\n\r\f\x1b" or byte >= 32 for byte in head) and head.isascii():
        hint = "It holds text, not a video."
    elif head[4:8] == b"ftyp":
        hint = "It is an MP4 or MOV file that was cut short (its index is missing)."
    return f"{path} can't be read as a video or picture ({reason}). {hint}"


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, Any]]:
    """A file and the video stream to use, as a context manager.

    Raises:
        MediaError: it can't be opened, or holds no video.
    """
    with open_container(path) as container:
        yield container, pick_stream(container)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is only a picture that goes with sound."""
    return Disposition.attached_pic in stream.disposition


def pick_stream(container: InputContainer) -> VideoStream:
    """The video stream to use: FFmpeg's best one that isn't a cover picture.

    Raises:
        MediaError: there is none.
    """
    real = [s for s in container.streams.video if not is_cover(s)]
    best = container.streams.best("video")
    if best is not None and any(s.index == best.index for s in real):
        return best  # type: ignore[return-value]
    if real:
        return real[0]
    name = str(container.name).removeprefix("file:")
    if container.streams.audio:
        raise MediaError(f"{name} holds sound only, no video.")
    raise MediaError(f"{name} holds no video.")


@dataclass(frozen=True)
class _Probe:
    """What the first frame and the header tell."""

    info: MediaInfo  # counts and rates are those that the header promises
    stored: tuple[int, int]  # width and height before rotation
    frame_bytes: int
    orientation: Orientation
    has_alpha: bool
    rates: tuple[Fraction, ...]


class VideoReader(IndexedReader):
    """A video file (anything FFmpeg reads).

    Args:
        path: the file.
        exact_color: round colours correctly (within 1/255), several times slower than the default (within 3/255,
            on average 1/255 too dark). For finished pictures; tracking doesn't need it.

    Raises:
        MediaError: the file is missing or damaged beyond use, or holds no video.
    """

    def __init__(self, path: str | os.PathLike[str], *, exact_color: bool = False) -> None:
        super().__init__(Path(path))
        self._exact_color = exact_color
        self._probe = _probe(self.path)
        self._index_lock = threading.Lock()
        self._index: VideoIndex | None = None

    @property
    def index(self) -> VideoIndex:
        """Time stamps and entry points of all frames; made on first use."""
        with self._index_lock:
            if self._index is None:
                self._index = build_index(partial(open_video, self.path), self._probe.info.rate)
            return self._index

    @cached_property
    def info(self) -> MediaInfo:
        return _describe(self._probe, self.index)

    def entry_near(self, index: int) -> int:
        index = self._checked(index)
        entries, number = self.index.entries, self.index.entry_number(index)
        around = (entry.frame for entry in entries[number : number + 2])
        return min(around, key=lambda frame: abs(frame - index))

    def open_cursor(self, cached: bool) -> _VideoCursor:
        return _VideoCursor(self, self._probe, self._exact_color, cached)

    def report_damage(self, frame: int, what: str) -> None:
        """Remember that a frame could not be decoded."""
        self._damaged.setdefault(frame, what)


class _VideoCursor(ForwardCursor["VideoFrame"]):
    """One decoder. Frames are told apart by their time stamps, so a seek that lands elsewhere is noticed."""

    def __init__(self, reader: VideoReader, probe: _Probe, exact_color: bool, cached: bool) -> None:
        super().__init__(cache_size(probe.frame_bytes) if cached else 0)
        self._reader = reader
        self._index = reader.index
        self._orientation = probe.orientation
        self._hurries = probe.info.codec in _HURRIED_CODECS and not probe.info.interlaced
        self._convert = RgbConverter(*probe.stored, probe.info.color, probe.info.codec, exact_color)
        self._container: InputContainer | None = None
        self._stream: Any = None
        self._coming: Iterator[tuple[int, VideoFrame]] = iter(())
        self._ahead: tuple[int, VideoFrame] | None = None
        self._last_good: VideoFrame | None = None
        self._errors: list[str] = []
        self._exact_from = 0
        self._hurried_to = 0
        self._reopen()

    def close(self) -> None:
        self._cache.clear()
        self._coming = iter(())
        self._ahead = self._last_good = self._stream = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _to_image(self, raw: VideoFrame) -> ImageArray:
        return self._orientation.apply(self._convert(raw))

    def _entry(self, index: int) -> int:
        return self._index.entries[self._index.entry_number(index)].frame

    def _step(self) -> VideoFrame:
        if self._container is None:
            raise MediaError("This reader is closed; open the media again.")
        wanted = self._next
        while self._ahead is None or self._ahead[0] < wanted:
            self._ahead = next(self._coming, None)
            if self._ahead is None:
                break
        if self._ahead is not None and self._ahead[0] == wanted:
            frame = self._ahead[1]
            self._ahead = None
            self._last_good = frame
            if frame.is_corrupt:
                self._reader.report_damage(wanted, "was decoded with errors; parts of it are guessed")
        else:
            stand_in = self._last_good or (self._ahead and self._ahead[1])
            if stand_in is None:
                raise MediaError(f"No frame of {self._reader.path} can be decoded. {self._reasons()}".strip())
            frame = stand_in
            neighbour = "last good frame before it" if self._last_good else "first good frame after it"
            self._reader.report_damage(wanted, f"can't be decoded; the {neighbour} is shown. {self._reasons()}".strip())
        self._next = wanted + 1
        return frame

    def _reasons(self) -> str:
        return f"FFmpeg says: {self._errors[-1]}." if self._errors else ""

    def _jump(self, index: int) -> None:
        """Start at the entry point for `index`; at an earlier one if the seek or that key frame fails."""
        number = self._index.entry_number(index)
        if not self._index.by_count:
            for back in range(min(_EARLIER_ENTRIES, number)):
                entry = self._index.entries[number - back]
                for stamp in dict.fromkeys((entry.pts, entry.dts)):
                    if self._seek(stamp, entry.frame):
                        return
        self._reopen()

    def _seek(self, stamp: int, frame: int) -> bool:
        """Seek; True if the first usable frame that comes out is `frame`, and it is whole.

        A decoder that begins later builds its pictures up step by step (intra refresh): such frames are close to
        those of sequential decoding, but not the same.
        """
        assert self._container is not None
        try:
            self._container.seek(stamp, stream=self._stream, backward=True)
        except (av.error.FFmpegError, OSError):
            return False
        self._errors.clear()
        self._exact_from = 0
        self._coming = self._decode()
        self._last_good = None
        # What comes before the entry point may lean on pictures that were jumped over.
        self._ahead = next((found for found in self._coming if found[0] >= frame), None)
        if self._ahead is None or self._ahead[0] != frame or self._ahead[1].is_corrupt:
            return False
        self._next = frame
        return True

    def _hurry(self, index: int) -> None:
        """Of what lies far before frame `index`, decode only what others lean on."""
        goes_back = 0 < self._hurried_to - index <= self._cache_frames
        self._hurried_to = index
        first = index - (self._cache_frames - 1 if goes_back else min(self._cache_frames, _DECODED_BEFORE))
        if self._hurries and first > self._next:
            self._exact_from = int(self._index.pts[first])
            self._next = first

    def _reopen(self) -> None:
        self._exact_from = 0
        if self._container is not None:
            self._container.close()
        self._container = open_container(self._reader.path)
        self._stream = pick_stream(self._container)
        use_threads(self._stream)
        self._errors.clear()
        self._coming = self._decode()
        self._ahead = self._last_good = None
        self._next = 0

    def _decode(self) -> Iterator[tuple[int, VideoFrame]]:
        """(index, frame) as they come out of the decoder; frames that the index doesn't know are left out."""
        assert self._container is not None
        for count, frame in enumerate(decoded(self._container, self._stream, self._errors, self._prepare)):
            if self._index.by_count:
                yield count, frame
            elif frame.pts is not None:
                index = self._index.frame_of(frame.pts)
                if index is not None:
                    yield index, frame

    def _prepare(self, packet: Packet) -> None:
        if self._hurries:
            skip = packet.pts is not None and packet.pts < self._exact_from
            self._stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"


def use_threads(stream: Any) -> None:
    """Let FFmpeg decode on several cores."""
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)


def _probe(path: Path) -> _Probe:
    # Everything is read here: a stream's attributes must not be touched once its container is closed.
    with open_container(path) as container:
        stream = pick_stream(container)
        context = stream.codec_context
        if context is None:
            raise MediaError(f"{path}: FFmpeg has no decoder for this video.")
        errors: list[str] = []
        try:
            frame = next(decoded(container, stream, errors), None)
        except MemoryError:
            raise MediaError(f"{path}: a frame doesn't fit into memory.") from None
        if frame is None:
            why = f"none of its frames can be decoded ({errors[-1]})" if errors else "it contains no frame"
            raise MediaError(f"{path} can't be used: {why}.")
        color = color_info(
            context.color_primaries,
            context.color_trc,
            frame.colorspace if int(frame.colorspace) != 2 else context.colorspace,
            int(frame.color_range) or context.color_range,
        )
        orientation, stored = display_matrix(frame), (frame.width, frame.height)
        given = stream.sample_aspect_ratio or context.sample_aspect_ratio
        aspect = Fraction(given) if given and given > 0 else Fraction(1)
        candidates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
        rates = tuple(Fraction(rate) for rate in candidates if rate)
        width, height = stored[::-1] if orientation.transpose else stored
        info = MediaInfo(
            path=str(path),
            kind="video",
            width=width,
            height=height,
            frame_count=stream.frames or 0,
            rate=next(iter(rates), _DEFAULT_RATE),
            variable_rate=False,
            duration=Fraction(0),
            codec=str(context.codec.canonical_name),  # the format's, not the decoder library's ("av1", not "libdav1d")
            pixel_format=frame.format.name,
            bit_depth=frame.format.components[0].bits,
            rotation=orientation.rotation,
            pixel_aspect=1 / aspect if orientation.transpose else aspect,
            color=color,
            interlaced=frame.interlaced_frame,
            has_audio=bool(container.streams.audio),
        )
        frame_bytes = sum(plane.buffer_size for plane in frame.planes)
        return _Probe(info, stored, frame_bytes, orientation, _uses_alpha(frame), rates)


def _uses_alpha(frame: VideoFrame) -> bool:
    if not any(c.is_alpha for c in frame.format.components):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


def display_matrix(frame: VideoFrame) -> Orientation:
    """How the file asks for this frame to be turned."""
    try:
        side_data: Any = frame.side_data
    except ValueError:
        # PyAV doesn't know every kind of side data (EXIF in camera films), and then gives none; the angle it has.
        return Orientation.from_angle(frame.rotation)
    for position in range(len(side_data)):
        if "DISPLAYMATRIX" in str(side_data[position].type):
            return Orientation.from_display_matrix(bytes(side_data[position]))
    return Orientation()


def _describe(probe: _Probe, index: VideoIndex) -> MediaInfo:
    count = len(index)
    rate, variable = _rate(index, probe.rates)
    duration = index.time(count - 1) + (index.last_duration * index.time_base or 1 / rate)
    notes = tuple(_notes(probe, index, variable))
    return replace(probe.info, frame_count=count, rate=rate, variable_rate=variable, duration=duration, notes=notes)


def _notes(probe: _Probe, index: VideoIndex, variable: bool) -> Iterator[str]:
    info, color, aspect, promised = probe.info, probe.info.color, probe.info.pixel_aspect, probe.info.frame_count
    if probe.orientation.mirrored:
        yield "The file asks for a mirror image; frames are mirrored accordingly."
    if color.is_hdr:
        curve = "PQ" if color.transfer == "smpte2084" else "HLG"
        yield f"High dynamic range ({curve}): tone-mapped to 8-bit sRGB."
    elif needs_mapping(color.transfer, color.primaries):
        yield f"Wide gamut ({color.primaries}): brought to 8-bit sRGB."
    elif info.bit_depth > 8:
        yield f"{info.bit_depth} bits per channel: rounded to 8."
    if color.matrix is None and info.pixel_format.startswith(("yuv", "nv")):
        yield f"No colour matrix is tagged; {assumed_matrix(color, *probe.stored)} is assumed."
    if info.interlaced:
        yield "Interlaced: both fields of a frame are left woven together."
    if aspect != 1:
        yield f"Pixels are not square ({aspect.numerator}:{aspect.denominator}); frames keep the stored size."
    if probe.has_alpha:
        yield "Has an alpha channel; what is transparent is put on black."
    if variable:
        yield "Variable frame rate: go by time stamps."
    if index.undecodable_start:
        yield f"{index.undecodable_start} frames before the first key frame can't be decoded and are left out."
    if index.by_count:
        yield "Frames are counted, not identified by time stamps: going backwards decodes from the beginning."
    # A few may rightly be missing: cut away by an edit list, or never shown.
    if promised - len(index) > max(2, promised // 50):
        yield f"The header promises {promised} frames, {len(index)} are there: the file may be cut short."


def _rate(index: VideoIndex, candidates: tuple[Fraction, ...]) -> tuple[Fraction, bool]:
    """Frames per second, and whether they are unevenly spaced (by more than the rounding of time stamps)."""
    count = len(index)
    default = next(iter(candidates), _DEFAULT_RATE)
    if count < 2:
        return default, False
    ticks = index.pts - index.pts[0]
    measured = (count - 1) / (int(ticks[-1]) * index.time_base)
    # Less than a frame in a thousand seconds would be rounded to none.
    for rate in dict.fromkeys((*candidates, measured.limit_denominator(1001) or measured)):
        per_frame = 1 / (rate * index.time_base)
        expected = np.arange(count) * float(per_frame)
        if np.abs(ticks - expected).max() <= 1.001:
            return rate, False
    return measured.limit_denominator(1_000_000) or measured, True
