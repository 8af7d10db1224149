"""Frames in, frames out: videos, image sequences, animations, streams and single pictures.

`open_media` opens anything for reading, `VideoWriter` and `write_image` write. See docs/media.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Public names and where they live; loaded on first use.
_LAZY = {
    "CODECS": "masklet.media.codecs",
    "ColorInfo": "masklet.media.types",
    "Frame": "masklet.media.types",
    "MediaInfo": "masklet.media.types",
    "MediaReader": "masklet.media.base",
    "VideoWriter": "masklet.media.writer",
    "format_timecode": "masklet.media.positions",
    "image_size": "masklet.media.images",
    "natural_key": "masklet.media.images",
    "open_media": "masklet.media.opening",
    "open_stream": "masklet.media.streams",
    "parse_position": "masklet.media.positions",
    "read_image": "masklet.media.images",
    "read_mask": "masklet.media.images",
    "read_rgba": "masklet.media.images",
    "resize_longest_image_size": "masklet.media.images",
    "to_rate": "masklet.media.rates",
    "write_exr": "masklet.media.exr",
    "write_image": "masklet.media.images",
}

__all__ = [
    "CODECS",
    "ColorInfo",
    "Frame",
    "MediaInfo",
    "MediaReader",
    "VideoWriter",
    "format_timecode",
    "image_size",
    "natural_key",
    "open_media",
    "open_stream",
    "parse_position",
    "read_image",
    "read_mask",
    "read_rgba",
    "resize_longest_image_size",
    "to_rate",
    "write_exr",
    "write_image",
]

if TYPE_CHECKING:
    from masklet.media.base import MediaReader
    from masklet.media.codecs import CODECS
    from masklet.media.exr import write_exr
    from masklet.media.images import (
        image_size,
        natural_key,
        read_image,
        read_mask,
        read_rgba,
        resize_longest_image_size,
        write_image,
    )
    from masklet.media.opening import open_media
    from masklet.media.positions import format_timecode, parse_position
    from masklet.media.rates import to_rate
    from masklet.media.streams import open_stream
    from masklet.media.types import ColorInfo, Frame, MediaInfo
    from masklet.media.writer import VideoWriter


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'masklet.media' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
