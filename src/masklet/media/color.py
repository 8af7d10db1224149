"""From what a decoder gives to 8-bit RGB: matrix, range, bit depth, alpha, high dynamic range."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av.filter
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

from masklet.media.hdr import cube_text, needs_mapping
from masklet.media.types import ColorInfo, ImageArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# ITU-T H.273 code points, which FFmpeg's enums share, by FFmpeg's names.
PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100",
    10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12",
    16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
MATRICES = {
    0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c",
}  # fmt: skip
# Flags of swscale (older PyAV has no names for some of them).
BILINEAR, AREA, FULL_CHROMA, ACCURATE_ROUNDING = 0x2, 0x20, 0x2000, 0x40000

# Matrices by their numbers in swscale.
SWS_MATRIX = {
    "bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7, "bt2020nc": 9, "bt2020c": 9,
}  # fmt: skip
_FULL_RANGE_CODECS = {"mjpeg", "mjpegb", "ljpeg", "jpegls"}
_HD_WIDTH, _SD_HEIGHT = 1280, 576


def color_info(primaries: int, transfer: int, matrix: int, range_: int) -> ColorInfo:
    """Tags from FFmpeg's numbers; 2 ("unspecified") and unknown ones become None."""
    spans: dict[int, Literal["limited", "full"]] = {1: "limited", 2: "full"}
    return ColorInfo(
        PRIMARIES.get(int(primaries)),
        TRANSFERS.get(int(transfer)),
        MATRICES.get(int(matrix)),
        spans.get(int(range_)),
    )


def code_of(table: dict[int, str], name: str | None) -> int:
    """FFmpeg's number for a tag (2, "unspecified", for None and for names it doesn't know)."""
    return next((number for number, known in table.items() if known == name), 2)


def assumed_matrix(color: ColorInfo, width: int, height: int) -> str:
    """The matrix to use: the tagged one, or what players assume for this size."""
    if color.matrix in SWS_MATRIX:
        return color.matrix
    if color.primaries == "bt2020":
        return "bt2020nc"
    return "bt709" if width >= _HD_WIDTH or height > _SD_HEIGHT else "smpte170m"


class RgbConverter:
    """Turns decoded frames of one video into uint8 RGB of one size.

    Args:
        width, height: of what comes out (before any rotation).
        color: the file's tags.
        codec: decides what a missing range tag means.
        exact: round correctly (each channel within 1/255) instead of quickly (within 3/255).
    """

    def __init__(self, width: int, height: int, color: ColorInfo, codec: str, exact: bool = False) -> None:
        self._size = (width, height)
        self._matrix = code_of(MATRICES, assumed_matrix(color, width, height))
        full = color.range == "full" or (color.range is None and codec in _FULL_RANGE_CODECS)
        self._range = ColorRange.JPEG if full else ColorRange.MPEG
        self._exact = exact
        self._reformatter = VideoReformatter()
        self._finisher = VideoReformatter()
        self._graph: Any = None
        self._color = color
        self._maps = needs_mapping(color.transfer, color.primaries)

    def __call__(self, frame: VideoFrame) -> ImageArray:
        """uint8 RGB, height × width × 3, contiguous. What is transparent is put on black."""
        if self._maps:
            return self._map(frame)
        if frame.format.has_palette or any(c.is_alpha for c in frame.format.components):
            return over_black(pixels(self._reformat(frame, "rgba")))
        return pixels(self._reformat(frame, "rgb24"))

    def _reformat(self, frame: VideoFrame, to: str) -> VideoFrame:
        name = frame.format.name
        yuv = name.startswith(("yuv", "nv", "p0", "p2", "uyvy", "yuyv", "y2"))
        interpolation = BILINEAR
        if (self._exact and yuv) or self._maps:
            interpolation |= ACCURATE_ROUNDING | FULL_CHROMA
        width, height = self._size
        options: dict[str, Any] = {}
        if yuv:
            # A frame's own range (it may change, or be implied by yuvj420p) counts more than the file's.
            own = int(frame.color_range)
            full = own == ColorRange.JPEG or name.startswith("yuvj")
            # Set on the frame: as an argument, older PyAV leaves BT.2020 out.
            frame.colorspace = self._matrix
            options["src_color_range"] = ColorRange.JPEG if full else own or self._range
            options["dst_color_range"] = ColorRange.JPEG
        return self._reformatter.reformat(
            frame, width=width, height=height, format=to, interpolation=interpolation, **options
        )

    def _map(self, frame: VideoFrame) -> ImageArray:
        signal = self._reformat(frame, "gbrp16le")
        if self._graph is None:
            self._graph = _table_graph(*self._size, cube_text(self._color.transfer, self._color.primaries))
        self._graph.push(signal)
        return pixels(self._finisher.reformat(self._graph.pull(), format="rgb24"))


def pixels(frame: VideoFrame) -> ImageArray:
    """The pixels of an rgb24 or rgba frame, copied."""
    return np.asarray(frame.to_ndarray(), np.uint8)


def over_black(image_rgba: ImageArray) -> ImageArray:
    """A picture with straight alpha put on black: uint8 RGBA to uint8 RGB."""
    alpha = image_rgba[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(image_rgba[..., :3])
    product = image_rgba[..., :3].astype(np.uint16) * alpha + 127
    return (product // 255).astype(np.uint8)


def _table_graph(width: int, height: int, cube: str) -> Any:
    # The filter reads its table from a file, once, while it is set up.
    handle, name = tempfile.mkstemp(suffix=".cube")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(cube)
        graph = av.filter.Graph()
        source = graph.add(
            "buffer", video_size=f"{width}x{height}", pix_fmt="gbrp16le", time_base="1/1000", pixel_aspect="1/1"
        )
        table = graph.add("lut3d", file=name, interp="tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(table)
        table.link_to(sink)
        graph.configure()
        return graph
    finally:
        Path(name).unlink(missing_ok=True)
