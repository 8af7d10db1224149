"""Whether a file that was just written can be read again, before it takes the place of another."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from masklet.errors import MediaError
from masklet.media.images import open_picture

_SLACK = Fraction(1, 500)  # Matroska's clock has milliseconds


def check_complete(path: Path) -> None:
    """Opens what is written piece by piece, animations and archives, to its end. `VideoWriter` checks its own files.

    Raises:
        MediaError: it is damaged.
    """
    try:
        if path.suffix in {".gif", ".webp"}:
            _check_animation(path)
        elif path.suffix in {".npz", ".zip"}:
            with zipfile.ZipFile(path) as archive:
                if (damaged := archive.testzip()) is not None:
                    raise ValueError(f"{damaged} in it is damaged")
    except Exception as error:  # whatever their parsers stumble over
        raise MediaError(f"{path} was not written well, and can't be read back: {error}.") from error


def check_video(path: Path, lasts: Fraction) -> None:
    """Decodes the first picture of a video and its last key frame, and looks for the last picture, which is shown
    `lasts` seconds after the first. To decode what lies between would cost as much as to track some frames.

    Raises:
        ValueError, OSError, FFmpegError: they can't be decoded, or the end is missing.
    """
    with av.open(f"file:{path}") as container:
        stream: Any = container.streams.video[0]
        first = next(container.decode(stream), None)
        if first is not None:
            container.seek(first.pts + int(lasts / stream.time_base), stream=stream)
        stream.codec_context.skip_frame = "NONKEY"
        last, decoded = None, 0
        for packet in container.demux(stream):
            decoded += len(packet.decode())
            if packet.pts is not None:
                last = packet.pts if last is None else max(last, packet.pts)
        if first is None or last is None or not decoded or abs((last - first.pts) * stream.time_base - lasts) > _SLACK:
            raise ValueError("what was written can't be read back to its end")


def _check_animation(path: Path) -> None:
    with open_picture(path) as image:
        image.seek(getattr(image, "n_frames", 1) - 1)
        image.load()
