"""Writing videos: any of a few codecs, exact time stamps, colour tags, sound, and never half a file."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, VideoReformatter

from masklet.atomic import publish, refuse_existing, temporary_name
from masklet.errors import InputError, MaskletError, MediaError
from masklet.media.audio import SoundTrack
from masklet.media.codecs import Speed, find_codec
from masklet.media.color import AREA, MATRICES, PRIMARIES, SWS_MATRIX, TRANSFERS, code_of
from masklet.media.complete import check_video
from masklet.media.rates import to_rate
from masklet.media.types import ColorInfo
from masklet.sources import Sources

_VARIABLE_CLOCK = Fraction(1, 90_000)
_MATROSKA_CLOCK = Fraction(1, 1000)  # all that the container can hold
_MAX_SIDE = 16384
_MAX_THREADS = 16
_SECONDS_PER_KEY_FRAME = 2  # so that players can jump quickly
# Written unless the caller says otherwise.
_BT709 = ColorInfo("bt709", "bt709", "bt709", "limited")
_RGB = ColorInfo("bt709", "iec61966-2-1", "rgb", "full")
_YUV_MATRICES = {"bt709", "smpte170m", "bt470bg", "fcc", "smpte240m", "bt2020nc"}


class VideoWriter:
    """Write a video frame by frame. As a context manager it commits at the end, and aborts on an error.

    The file appears under its name only when it is complete: it is written under a temporary name next to it, its first
    and last frame are read back, and it is flushed to disk and renamed. What it replaces stays until then.

    Args:
        path: its suffix says which container: .mp4, .mov, .mkv, .webm.
        width, height: of every frame, in pixels. H.264 and H.265 store odd sizes as 4:4:4, so that they stay right.
        rate: frames per second.
        codec: "h264", "h265", "prores4444", "prores422", "vp9" or "ffv1".
        alpha: whether transparency is kept; without it, if the codec can.
        pixel_format: one of the codec's, instead of its usual one.
        quality: 0–100 (ffv1 is always lossless; ProRes uses it to choose a profile).
        speed: "fast" (larger files), "balanced" or "small" (slow).
        time_base: seconds per tick, for frames with time stamps of their own: give the source's
            (`MediaReader.time_base`) and they are kept exactly. Matroska and WebM hold milliseconds only.
        color: tags to write, and the matrix and range to convert to. Without it BT.709, limited range. A source's
            tags can be given as they are: what can't be had (HDR, which was tone-mapped) becomes BT.709.
        pixel_aspect: width : height of a pixel.
        audio_from: a file whose sound goes along, from `audio_start` to `audio_stop` (seconds since its first picture;
            without `audio_stop` for as long as the pictures last).
        overwrite: whether a file of this name may be replaced.
        metadata: for example {"title": …}.

    Attributes:
        frames_written: how many.
        notes: what a user should know, complete after `commit`.

    Raises:
        MediaError: an unknown codec, a container that can't hold it, a place that can't be written to.
        SourceError: `path` is a source: a file that is being read, or that a project is about.
        InputError: sizes, rates or formats that make no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        rate: Fraction | float | str,
        *,
        codec: str = "h264",
        alpha: bool | None = None,
        pixel_format: str | None = None,
        quality: int = 75,
        speed: Speed = "fast",
        time_base: Fraction | None = None,
        color: ColorInfo | None = None,
        pixel_aspect: Fraction = Fraction(1),
        audio_from: str | os.PathLike[str] | None = None,
        audio_start: Fraction = Fraction(0),
        audio_stop: Fraction | None = None,
        overwrite: bool = True,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.frames_written = 0
        self.notes: list[str] = []
        self.width, self.height = width, height
        self.rate = to_rate(rate)
        self._spec, container = find_codec(codec, self.path)
        self._check(width, height, quality, speed)
        self.has_alpha = self._spec.has_alpha and self.path.suffix != ".mp4" if alpha is None else alpha
        if self.has_alpha and self._spec.name == "vp9" and container == "mp4":
            raise MediaError("MP4 can't hold VP9 with alpha; use .webm.")
        self.pixel_format = self._spec.pixel_format(width, height, self.has_alpha, pixel_format)
        self.color = _RGB if self._spec.lossless else _storable(color)
        self._overwrite = overwrite
        self._first_pts = 0
        self._last_pts: int | None = None
        self._timed: bool | None = None
        self._coarse = container in {"matroska", "webm"}
        self._has_clock = time_base is not None
        self._clock = 1 / self.rate if time_base is None else self._held(time_base)
        self._reformatter = VideoReformatter()
        self._done = False
        self._sound: SoundTrack | None = None
        self._sound_stop = audio_stop
        refuse_existing(self.path, overwrite)
        self._sources = Sources(*([audio_from] if audio_from is not None else []))
        self._temporary = temporary_name(self.path)
        # A writer that is dropped without commit or abort leaves nothing either.
        weakref.finalize(self, self._temporary.unlink, missing_ok=True)
        with self._or_abort():
            self._open(container, quality, speed, pixel_aspect, metadata or {})
            if audio_from is not None:
                self._sound = SoundTrack(audio_from, self._container, container, audio_start, audio_stop)
                if self._sound.note:
                    self.notes.append(self._sound.note)

    def _check(self, width: int, height: int, quality: int, speed: str) -> None:
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            raise InputError(f"A video of {width}×{height} can't be written: sides go from 1 to {_MAX_SIDE}.")
        if not 0 <= quality <= 100:
            raise InputError(f"quality goes from 0 to 100, not {quality}.")
        if speed not in {"fast", "balanced", "small"}:
            raise InputError(f"speed is fast, balanced or small, not {speed!r}.")

    def _held(self, clock: Fraction) -> Fraction:
        """This clock, or the finest that the container can hold in its place."""
        return _MATROSKA_CLOCK if self._coarse and (clock / _MATROSKA_CLOCK).denominator != 1 else clock

    def _open(
        self, container: str, quality: int, speed: Speed, pixel_aspect: Fraction, metadata: Mapping[str, str]
    ) -> None:
        options = {"movflags": "+faststart"} if container == "mp4" else {}
        self._container = av.open(f"file:{self._temporary}", "w", format=container, options=options)
        self._container.metadata.update(metadata)
        encoder_options = dict(self._spec.options(quality, speed))
        stream: Any = self._container.add_stream(self._spec.encoder, rate=self.rate, options=encoder_options)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, self.pixel_format
        context = stream.codec_context
        context.time_base = self._clock
        context.sample_aspect_ratio = pixel_aspect
        context.thread_type = "AUTO"
        # One for each core: the encoders' own choice, half as many again, costs time in switching.
        context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        if self._spec.name in {"h264", "h265", "vp9"}:
            context.gop_size = max(1, round(self.rate * _SECONDS_PER_KEY_FRAME))
        context.color_primaries = code_of(PRIMARIES, self.color.primaries)
        context.color_trc = code_of(TRANSFERS, self.color.transfer)
        context.colorspace = code_of(MATRICES, self.color.matrix)
        context.color_range = ColorRange.JPEG if self.color.range == "full" else ColorRange.MPEG
        if self._spec.name == "h265" and container in {"mp4", "mov"}:
            context.codec_tag = "hvc1"  # the only one that Apple's players take
        self._stream = stream

    def write(self, image: npt.NDArray[Any], time: Fraction | float | None = None) -> None:
        """Add a frame.

        Args:
            image: uint8 RGB, height × width × 3; or RGBA (straight alpha) if `has_alpha`. uint16 (0–65535) is taken
                too, and worth it for ProRes.
            time: when it is shown, seconds since the start of the video, larger than that of the frame before.
                Without it frames follow each other at the writer's rate. Either all frames have one, or none.

        Raises:
            InputError: a picture of another size or type, or a time that doesn't advance.
            MediaError: the disk is full, or encoding fails.
        """
        if self._done:
            raise MediaError(f"{self.path} is finished; no frame can be added.")
        frame = self._frame(np.asarray(image))
        frame.pts = self._stamp(time)
        frame.time_base = self._clock
        with self._or_abort():
            self._container.mux(self._stream.encode(frame))
            self.frames_written += 1
            if self._sound is not None:
                self._sound.mux_until(frame.pts * self._clock)

    def _frame(self, image: npt.NDArray[Any]) -> Any:
        channels = image.shape[2] if image.ndim == 3 else 0
        if image.shape[:2] != (self.height, self.width) or channels not in {3, 4}:
            raise InputError(
                f"Frames of this video are {self.height}×{self.width}×{4 if self.has_alpha else 3} "
                f"(height × width × channels), not {'×'.join(map(str, image.shape))}."
            )
        if image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"Frames must be uint8 or uint16, not {image.dtype}.")
        if channels == 4 and not self.has_alpha:
            raise InputError(f"This {self._spec.name} video has no alpha; give RGB, or choose alpha=True.")
        layout = {3: "rgb24", 4: "rgba"} if image.dtype == np.uint8 else {3: "rgb48le", 4: "rgba64le"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout[channels])
        options: dict[str, Any] = {}
        if not self._spec.lossless:
            options["dst_colorspace"] = SWS_MATRIX[self.color.matrix or "bt709"]
            options["dst_color_range"] = ColorRange.JPEG if self.color.range == "full" else ColorRange.MPEG
        converted: Any = self._reformatter.reformat(frame, format=self.pixel_format, interpolation=AREA, **options)
        # Some encoders (ProRes) write the tags of the frame, not the stream's.
        with suppress(AttributeError):
            converted.color_primaries = code_of(PRIMARIES, self.color.primaries)
            converted.color_trc = code_of(TRANSFERS, self.color.transfer)
        return converted

    def _stamp(self, time: Fraction | float | None) -> int:
        timed = time is not None
        if self._timed is None:
            self._timed = timed
            if timed and not self._has_clock:
                # Nothing is encoded yet, so the clock can still be made finer.
                self._clock = self._stream.codec_context.time_base = self._held(_VARIABLE_CLOCK)
        elif self._timed != timed:
            raise InputError("Either every frame has a time or none has.")
        if time is None:
            pts = round(self.frames_written / self.rate / self._clock)
        else:
            exact = time if isinstance(time, Fraction) else Fraction(str(time))
            pts = round(exact / self._clock)
        if pts < 0 or (self._last_pts is not None and pts <= self._last_pts):
            raise InputError(
                f"Frame {self.frames_written}: its time ({time}) must be later than that of the frame before."
            )
        if self._last_pts is None:
            self._first_pts = pts
        self._last_pts = pts
        return pts

    def commit(self) -> Path:
        """Finish the file and give it its name.

        Raises:
            MediaError: no frame was written, or the disk is full.
        """
        if self._done:
            raise MediaError(f"{self.path} is finished already, or was given up.")
        if not self.frames_written:
            self.abort()
            raise MediaError(f"{self.path} was not written: there is no frame in it.")
        assert self._last_pts is not None
        with self._or_abort():
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                end = self._last_pts * self._clock + 1 / self.rate
                self._sound.mux_until(None if self._sound_stop is not None else end)
            self._container.close()
            check_video(self._temporary, (self._last_pts - self._first_pts) * self._clock)
        self._done = True
        if self._sound is not None:
            self._sound.close()
        publish(self._temporary, self.path, self._overwrite)
        self._sources.release()
        return self.path

    def abort(self) -> None:
        """Give up: nothing of the file stays behind."""
        if self._done:
            return
        self._done = True
        self._sources.release()
        if self._sound is not None:
            self._sound.close()
        container = getattr(self, "_container", None)
        if container is not None:
            with suppress(Exception):  # the file is thrown away, whatever is wrong with it
                container.close()
        with suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        if kind is not None:
            self.abort()
        elif not self._done:
            self.commit()

    @contextmanager
    def _or_abort(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.abort()
            if isinstance(error, MaskletError) or not isinstance(error, (av.error.FFmpegError, OSError, ValueError)):
                raise
            what = f"{self._spec.name} {self.width}×{self.height}"
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(f"{self.path} can't be written as {what}: {reason}.") from error


def _storable(color: ColorInfo | None) -> ColorInfo:
    """Tags for 8-bit SDR pictures that come from a source with these tags."""
    if color is None or color.is_hdr or color.primaries in {"bt2020", "smpte432"}:
        return _BT709
    return ColorInfo(
        color.primaries or _BT709.primaries,
        color.transfer or _BT709.transfer,
        color.matrix if color.matrix in _YUV_MATRICES else _BT709.matrix,
        color.range or _BT709.range,
    )
