"""Frames in, frames out: videos, image sequences, animations, streams and single pictures.

`open_media` opens anything for reading, `VideoWriter` and `write_image` write. See docs/media.md.
"""

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
from masklet.media.positions import parse_position
from masklet.media.rates import to_rate
from masklet.media.streams import open_stream
from masklet.media.types import ColorInfo, Frame, MediaInfo
from masklet.media.writer import VideoWriter

__all__ = [
    "CODECS",
    "ColorInfo",
    "Frame",
    "MediaInfo",
    "MediaReader",
    "VideoWriter",
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
