"""The codecs that `VideoWriter` offers, and what each of them needs to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from masklet.errors import InputError, MediaError

Speed = Literal["fast", "balanced", "small"]

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


@dataclass(frozen=True)
class Codec:
    """One kind of video.

    Attributes:
        name: what a caller asks for.
        encoder: FFmpeg's name of the encoder.
        description: for lists of formats.
        suffixes: containers that hold it; the first is the usual one.
        pixel_formats: what the encoder may be given; the first is the default.
        alpha_formats: the same with transparency; empty if there is none.
        odd_format: for sizes with an odd side, if the default can't hold those.
        even_width: whether an odd width is impossible.
        lossless: whether RGB (and alpha) come back exactly.
        options: encoder options for (quality 0–100, speed).
    """

    name: str
    encoder: str
    description: str
    suffixes: tuple[str, ...]
    pixel_formats: tuple[str, ...]
    options: Callable[[int, Speed], Mapping[str, str]]
    alpha_formats: tuple[str, ...] = ()
    odd_format: str | None = None
    even_width: bool = False
    lossless: bool = False

    @property
    def has_alpha(self) -> bool:
        """Whether it can hold transparency (and does, unless told otherwise)."""
        return bool(self.alpha_formats)

    def pixel_format(self, width: int, height: int, alpha: bool, wanted: str | None) -> str:
        """The pixel format for this size.

        Raises:
            InputError: `wanted` is not one of the codec's, or can't hold an odd size.
        """
        choices = self.alpha_formats if alpha else self.pixel_formats
        if not choices:
            others = ", ".join(codec.name for codec in CODECS.values() if codec.has_alpha)
            raise InputError(f"{self.name} has no alpha channel; use {others}.")
        if self.even_width and width % 2:
            raise InputError(f"{self.name} needs an even width, this is {width}×{height}; use prores4444.")
        odd = bool(width % 2 or height % 2)
        if wanted is None:
            return self.odd_format if odd and self.odd_format and not alpha else choices[0]
        if wanted not in choices:
            raise InputError(f"{self.name} can't be written as {wanted}; use {' or '.join(choices)}.")
        if odd and self.odd_format and "420" in wanted:
            raise InputError(f"{wanted} needs even sides, this is {width}×{height}; use {self.odd_format}.")
        return wanted


def _x264(quality: int, speed: Speed) -> dict[str, str]:
    # 75 is CRF 20: hard to tell from the source.
    preset = {"fast": "superfast", "balanced": "veryfast", "small": "medium"}[speed]
    return {"crf": f"{_between(45, 12, quality):.1f}", "preset": preset}


def _x265(quality: int, speed: Speed) -> dict[str, str]:
    preset = {"fast": "ultrafast", "balanced": "veryfast", "small": "medium"}[speed]
    # "cutree" writes past a buffer of x265 4.1 for narrow pictures, which ends the process.
    params = "log-level=none:cutree=0"
    return {"crf": f"{_between(47, 14, quality):.1f}", "preset": preset, "x265-params": params}


def _vp9(quality: int, speed: Speed) -> dict[str, str]:
    pace = {"fast": "8", "balanced": "5", "small": "2"}[speed]
    options = {"crf": str(round(_between(55, 12, quality))), "b": "0", "cpu-used": pace, "row-mt": "1"}
    # libvpx can't use hidden reference frames together with alpha.
    return options | {"deadline": "realtime" if speed == "fast" else "good", "auto-alt-ref": "0"}


def _prores4444(quality: int, speed: Speed) -> dict[str, str]:
    return {"profile": "5" if quality > 90 else "4", "vendor": "apl0", "alpha_bits": "16"}


def _prores422(quality: int, speed: Speed) -> dict[str, str]:
    return {"profile": "3" if quality >= 60 else "2", "vendor": "apl0"}


def _ffv1(quality: int, speed: Speed) -> dict[str, str]:
    return {"level": "3", "slicecrc": "1", "context": "1" if speed == "small" else "0", "g": "1"}


def _between(worst: float, best: float, quality: int) -> float:
    return worst + (best - worst) * quality / 100


_H26X = (".mp4", ".mov", ".mkv", ".m4v"), ("yuv420p", "yuv444p", "yuv422p", "yuv420p10le")

CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("h264", "libx264", "H.264: plays everywhere", *_H26X, _x264, odd_format="yuv444p"),
        Codec("h265", "libx265", "H.265: smaller, slower", *_H26X, _x265, odd_format="yuv444p"),
        Codec(
            "prores4444",
            "prores_ks",
            "ProRes 4444: 10-bit colour with 16-bit alpha, for compositing",
            (".mov", ".mkv"),
            ("yuv444p10le",),
            _prores4444,
            alpha_formats=("yuva444p10le",),
        ),
        # FFmpeg's encoder of 4:2:2 spoils odd widths, and writes past its buffers.
        Codec(
            "prores422", "prores_ks", "ProRes 422 (HQ)", (".mov", ".mkv"), ("yuv422p10le",), _prores422, even_width=True
        ),
        Codec(
            "vp9",
            "libvpx-vp9",
            "VP9: alpha in browsers (WebM)",
            (".webm", ".mkv", ".mp4"),
            ("yuv420p", "yuv444p"),
            _vp9,
            alpha_formats=("yuva420p",),
        ),
        Codec(
            "ffv1",
            "ffv1",
            "FFV1: lossless RGB with alpha, for archives",
            (".mkv",),
            ("bgr0",),
            _ffv1,
            alpha_formats=("bgra",),
            lossless=True,
        ),
    )
}
_ALIASES = {"hevc": "h265", "x264": "h264", "avc": "h264", "x265": "h265", "prores": "prores4444"}


def find_codec(name: str, path: Path) -> tuple[Codec, str]:
    """The codec of that name and FFmpeg's name of the container that `path`'s suffix stands for.

    Raises:
        MediaError: no such codec, or the container can't hold it.
    """
    codec = CODECS.get(_ALIASES.get(name.lower(), name.lower()))
    if codec is None:
        raise MediaError(f"There is no codec {name!r}; use {', '.join(CODECS)}.")
    suffix = path.suffix.lower()
    if suffix not in codec.suffixes:
        named = suffix or "a file without suffix"
        raise MediaError(f"{codec.name} can't be put into {named} ({path.name}); use {' or '.join(codec.suffixes)}.")
    return codec, CONTAINERS[suffix]
