"""Carry the sound of a source over into a new file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from masklet.errors import MediaError
from masklet.media.video import is_cover, open_container
from masklet.media.video_index import packets

if TYPE_CHECKING:
    from av.container import OutputContainer

# What players expect in a container; anything else is encoded again. Matroska takes everything.
_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
    "webm": {"opus", "vorbis"},
    "wav": set(),
}
_ENCODERS = {"mp4": "aac", "mov": "aac", "webm": "libopus", "wav": "pcm_s16le"}
_OPUS_RATE = 48000
_BIT_RATE_PER_CHANNEL = 96_000
_ORIGIN_PACKETS = 64
_GAP_SECONDS = 0.01


class SoundTrack:
    """The best sound stream of a file, from `start` to `stop` (seconds since the file's first picture).

    Copied packet by packet where the container may hold it (then it begins and ends on packet boundaries, some 20 ms),
    else encoded again.

    Attributes:
        note: what was done, for the user; None if nothing is worth saying.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        output: OutputContainer,
        container_name: str,
        start: Fraction,
        stop: Fraction | None,
    ) -> None:
        self.note: str | None = None
        self._path = Path(source)
        self._output = output
        self._input = open_container(self._path)
        self._source: Any = self._input.streams.best("audio")
        self._pending: Any = None
        self._target: Any = None
        # WAV knows no time stamps: what comes before the first sound must be silence.
        self._expected = 0 if container_name == "wav" else None
        self._made: Iterator[Any] = iter(())
        if self._source is None:
            self.note = f"{self._path.name} has no sound."
            self.close()
            return
        context = self._source.codec_context
        if context is None:
            self.note = f"The sound of {self._path.name} can't be decoded; it is left out."
            self.close()
            return
        origin = _first_picture(self._path)
        self._from = origin + start
        self._until = None if stop is None else origin + stop
        name = str(context.codec.canonical_name)
        if container_name == "matroska" or name in _COPIED[container_name]:
            self._target = output.add_stream_from_template(self._source)
            self._made = self._copied(keep_straddling=container_name in {"mp4", "mov"})
        else:
            encoder = _ENCODERS[container_name]
            self._target = _add_encoder(output, encoder, context)
            self._made = self._encoded()
            self.note = f"The sound was converted from {name} to {encoder.removeprefix('lib')}."

    @property
    def is_there(self) -> bool:
        """Whether the source has sound that can be carried over; if not, `note` says why."""
        return self._target is not None

    def mux_until(self, seconds: Fraction | None) -> None:
        """Write packets that begin before `seconds` of the new file (None: all of the rest)."""
        while True:
            if self._pending is None:
                self._pending = next(self._made, None)
                if self._pending is None:
                    return
            begins = (self._pending.pts or 0) * self._pending.time_base
            if seconds is not None and begins >= seconds:
                return
            self._output.mux(self._pending)
            self._pending = None

    def close(self) -> None:
        """Let go of the source."""
        self._made = iter(())
        self._pending = None
        self._input.close()

    def _seek(self) -> None:
        # A little early: what is wanted is picked by its time stamp.
        early = max(Fraction(0), self._from - 1)
        if early > 0:
            try:
                self._input.seek(int(early / self._source.time_base), stream=self._source)
            except (av.error.FFmpegError, OSError):
                self._input.seek(0)

    def _copied(self, keep_straddling: bool) -> Iterator[Any]:
        self._seek()
        base = self._source.time_base
        shift = round(self._from / base)
        for packet in packets(self._input, self._source):
            if not packet.size or packet.pts is None:
                continue
            begin, end = packet.pts * base, (packet.pts + (packet.duration or 0)) * base
            if self._until is not None and begin >= self._until:
                break
            # MP4 can start inside a packet (edit list), others can't.
            if end <= self._from or (begin < self._from and not keep_straddling):
                continue
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._target
            yield packet

    def _encoded(self) -> Iterator[Any]:
        self._seek()
        context = self._target.codec_context
        resampler = av.AudioResampler(
            format=context.format, layout=context.layout, rate=context.sample_rate, frame_size=context.frame_size
        )
        position = -1  # of the next piece, in samples
        for frame in self._trimmed():
            for piece in resampler.resample(frame):
                position = int(piece.pts or 0) if position < 0 else position
                piece.pts, piece.time_base = position, Fraction(1, context.sample_rate)
                position += piece.samples
                yield from self._target.encode(piece)
        for piece in resampler.resample(None) if position >= 0 else ():
            piece.pts, piece.time_base = position, Fraction(1, context.sample_rate)
            yield from self._target.encode(piece)
        yield from self._target.encode(None)

    def _trimmed(self) -> Iterator[Any]:
        """Decoded sound between the two times, cut to the sample; time stamps count from the start, gaps are silent."""
        expected = self._expected
        for packet in packets(self._input, self._source):
            try:
                frames = self._source.decode(packet)
            except (av.error.FFmpegError, OSError):
                continue
            for frame in frames:
                if frame.pts is None:
                    continue
                begin = frame.pts * frame.time_base
                if self._until is not None and begin >= self._until:
                    return
                skip = max(0, round((self._from - begin) * frame.sample_rate))
                keep = frame.samples
                if self._until is not None:
                    keep = min(keep, round((self._until - begin) * frame.sample_rate))
                if skip >= keep:
                    continue
                cut = _cut(frame, skip, keep, round((begin - self._from) * frame.sample_rate) + skip)
                if expected is not None and cut.pts - expected > _GAP_SECONDS * frame.sample_rate:
                    yield _silence(cut, expected)  # what is missing must not pull the rest forwards
                expected = cut.pts + cut.samples
                yield cut


def sound_between(source: str | os.PathLike[str], start: Fraction, stop: Fraction) -> bytes:
    """The best sound stream of a file as WAV (16 bits, two channels at most), from `start` to `stop`.

    Seconds count from the file's first picture. Sound that begins later is preceded by silence; where it ends before
    `stop`, the WAV does too.

    Raises:
        MediaError: the file can't be read, or holds no sound that can be decoded.
    """
    made = io.BytesIO()
    with av.open(made, "w", format="wav") as output:
        sound = SoundTrack(source, output, "wav", start, stop)
        try:
            if not sound.is_there:
                raise MediaError(f"{sound.note}")
            output.start_encoding()
            sound.mux_until(None)
        finally:
            sound.close()
    return made.getvalue()


def _silence(like: Any, first: int) -> Any:
    """A silent frame from sample `first` to the beginning of `like`."""
    channels = len(like.layout.channels)
    planar = like.format.is_planar
    samples = int(like.pts) - first
    shape = (channels, samples) if planar else (1, samples * channels)
    template = like.to_ndarray()
    middle = 128 if template.dtype == np.uint8 else 0
    frame = av.AudioFrame.from_ndarray(
        np.full(shape, middle, template.dtype), format=like.format.name, layout=like.layout.name
    )
    frame.sample_rate, frame.pts, frame.time_base = like.sample_rate, first, Fraction(1, like.sample_rate)
    return frame


def _cut(frame: Any, first: int, end: int, pts: int) -> Any:
    cut = frame
    if first or end < frame.samples:
        array = frame.to_ndarray()
        channels = 1 if frame.format.is_planar else len(frame.layout.channels)
        cut = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(array[:, first * channels : end * channels]),
            format=frame.format.name,
            layout=frame.layout.name,
        )
        cut.sample_rate = frame.sample_rate
    cut.pts = max(0, pts)
    cut.time_base = Fraction(1, frame.sample_rate)
    return cut


def _add_encoder(output: OutputContainer, encoder: str, source: Any) -> Any:
    rate = _OPUS_RATE if encoder == "libopus" else min(source.sample_rate, 96000)
    channels = len(source.layout.channels)
    layout = source.layout.name if channels <= 2 else "stereo"
    try:
        stream: Any = output.add_stream(encoder, rate=rate, layout=layout)
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"Sound can't be encoded as {encoder}: {error}.") from error
    stream.bit_rate = _BIT_RATE_PER_CHANNEL * min(channels, 2)
    # Opened now, because its frame size is needed before the first packet.
    stream.codec_context.time_base = Fraction(1, rate)
    stream.codec_context.open()
    return stream


def _first_picture(path: Path) -> Fraction:
    """When the first picture of a file is shown, on the file's own clock; 0 if it holds sound only."""
    with open_container(path) as container:
        stream: Any = container.streams.best("video")
        if stream is None or is_cover(stream):
            return Fraction(0)
        base = stream.time_base
        stamps = []
        for packet in packets(container, stream):
            if packet.size and packet.pts is not None and not packet.is_discard:
                stamps.append(packet.pts)
            if len(stamps) >= _ORIGIN_PACKETS:
                break
        return min(stamps, default=0) * base
