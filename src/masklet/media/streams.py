"""Frames from sources without an end or an index: webcams, RTSP, network streams, pipes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
import numpy as np

from masklet.errors import InputError, MediaError
from masklet.media.color import RgbConverter, color_info
from masklet.media.orientation import Orientation
from masklet.media.prefetch import prefetched
from masklet.media.types import Frame
from masklet.media.video import display_matrix, pick_stream, use_threads
from masklet.media.video_index import decoded
from masklet.sources import Sources

_TIMEOUT = 10.0
_LIVE_SCHEMES = ("rtsp://", "rtmp://", "udp://", "srt://", "rtp://", "tcp://")
_LIVE_WAITING = 2
_FILE_WAITING = 4


def open_stream(
    source: int | str | os.PathLike[str] | IO[bytes],
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    live: bool | None = None,
    timeout: float = _TIMEOUT,
) -> Iterator[Frame]:
    """Frames as they arrive, without going back: index 0, 1, 2, …, time since the first one, uint8 RGB, upright.

    Frames that can't be decoded are left out (a stream has no place to keep open for them).

    Args:
        source: a camera's number (0 is the first); an address (rtsp://, http://, udp://…); a file or device that FFmpeg
            reads; or an open binary file (a pipe, `sys.stdin.buffer`).
        format: FFmpeg's name of the input format, where it can't be guessed ("v4l2", "mpegts").
        options: FFmpeg's options for it, for example {"rtsp_transport": "tcp"}.
        live: whether frames that the caller is too slow for are dropped, so that it never lags behind. Without it yes
            for cameras and live protocols, no for everything else.
        timeout: seconds to wait for a connection or for data.

    Returns:
        An iterator; close it (or leave the `for` loop and drop it) to hang up.

    Raises:
        MediaError: at once if the source can't be opened; while iterating if it fails later.
        InputError: a camera number below 0.
    """
    if isinstance(source, (int, np.integer)):
        frames = _camera(int(source))
        drop = live is not False
    else:
        address = source if isinstance(source, str) else None
        is_file = isinstance(source, os.PathLike) or (address is not None and "://" not in address)
        if is_file and not Path(source).exists():  # type: ignore[arg-type]
            raise MediaError(f"There is no file or device {source}.")
        drop = live if live is not None else bool(address and address.startswith(_LIVE_SCHEMES))
        frames = _ffmpeg(source, format, options or {}, timeout)
    first = next(frames, None)
    if first is None:
        raise MediaError(f"{_name(source)} ended before the first frame.")
    return prefetched(lambda: _rejoined(first, frames), _LIVE_WAITING if drop else _FILE_WAITING, drop_oldest=drop)


def _rejoined(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    try:
        yield first
        yield from rest
    finally:
        rest.close()  # type: ignore[attr-defined]


def _ffmpeg(source: Any, format: str | None, options: dict[str, str], timeout: float) -> Iterator[Frame]:
    name = _name(source)
    target = os.fspath(source) if isinstance(source, os.PathLike) else source
    kept = Sources(*([target] if isinstance(target, str) and "://" not in target else []))
    try:
        container = av.open(target, format=format, options=options, timeout=timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{name} can't be opened: {getattr(error, 'strerror', None) or error}.") from error
    with container, kept:
        stream: Any = pick_stream(container)
        use_threads(stream)
        # Threads that work on whole frames hold as many back; slices come out at once.
        stream.thread_type = "SLICE" if format or "://" in name else "AUTO"
        context = stream.codec_context
        convert: RgbConverter | None = None
        orientation = Orientation()
        start, previous = Fraction(0), Fraction(-1)
        opened = time.monotonic()
        for count, frame in enumerate(_until_lost(decoded(container, stream), name)):
            if convert is None:
                tags = color_info(context.color_primaries, context.color_trc, frame.colorspace, frame.color_range)
                if tags.range is None:
                    tags = replace(tags, range=color_info(2, 2, 2, context.color_range).range)
                convert = RgbConverter(frame.width, frame.height, tags, context.name)
                orientation = display_matrix(frame)
            if frame.pts is not None and frame.time_base:
                moment = frame.pts * frame.time_base
            else:
                moment = Fraction(str(round(time.monotonic() - opened, 6)))
            if count == 0:
                start = moment
            # A sender that restarts its clock must not make time run backwards.
            if moment - start <= previous:
                start = moment - previous - Fraction(1, 1000)
            previous = moment - start
            yield Frame(count, previous, orientation.apply(convert(frame)))


def _until_lost(frames: Iterator[Any], name: str) -> Iterator[Any]:
    try:
        yield from frames
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"{name}: the connection was lost ({getattr(error, 'strerror', None) or error}).") from error


def _camera(number: int) -> Iterator[Frame]:
    import cv2  # opens cameras by number on every system

    if number < 0:
        raise InputError(f"Cameras are numbered from 0, not {number}.")
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise MediaError(f"There is no camera {number}, or another program uses it.")
        opened = None
        count = 0
        while True:
            done, image = camera.read()
            if not done:
                if count:
                    return
                raise MediaError(f"Camera {number} gives no pictures.")
            now = time.monotonic()
            opened = now if opened is None else opened
            yield Frame(count, Fraction(str(round(now - opened, 6))), cv2.cvtColor(image, cv2.COLOR_BGR2RGB))  # type: ignore[arg-type]
            count += 1
    finally:
        camera.release()


def _name(source: Any) -> str:
    if isinstance(source, (int, np.integer)):
        return f"camera {source}"
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return "standard input" if source is getattr(sys.stdin, "buffer", None) else getattr(source, "name", "the stream")
