"""What reading media yields: frames, and a description of where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

ImageArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video, sequence or stream.

    Attributes:
        index: position in the source, from 0.
        time: seconds since the first frame, exact.
        image_hwc: uint8 RGB, height × width × 3, contiguous and upright (rotation metadata is applied). One
            array element is one pixel of the source: a pixel aspect other than 1:1 is recorded in
            `MediaInfo.pixel_aspect`, not applied.
    """

    index: int
    time: Fraction
    image_hwc: ImageArray


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """How a video's numbers stand for colours, in FFmpeg's words; None is "the file doesn't say".

    Attributes:
        primaries: "bt709", "smpte170m", "bt2020", "smpte432" (Display P3), …
        transfer: "bt709", "smpte2084" (PQ), "arib-std-b67" (HLG), "iec61966-2-1" (sRGB), …
        matrix: "bt709", "smpte170m", "bt2020nc", "rgb", …
        range: "limited" (16–235) or "full" (0–255).
    """

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: Literal["limited", "full"] | None = None

    @property
    def is_hdr(self) -> bool:
        """True for PQ and HLG."""
        return self.transfer in {"smpte2084", "arib-std-b67"}


@dataclass(frozen=True)
class MediaInfo:
    """What a source is.

    Attributes:
        path: file, folder or pattern as it was given; "<array>" for arrays.
        kind: "video" (also animated pictures and arrays), "sequence" or "image".
        width, height: of the upright frame, in pixels.
        frame_count: number of frames that can be asked for.
        rate: average frames per second, exact where the source's rate is constant.
        variable_rate: whether frames are unevenly spaced; then only `MediaReader.time_of` tells when one is shown.
        duration: seconds from the first frame to the end of the last.
        codec, pixel_format, bit_depth: as FFmpeg or Pillow name them.
        rotation: degrees (0, 90, 180, 270) by which frames are turned clockwise to be upright.
        pixel_aspect: width : height of one pixel of the upright frame.
        color: colour tags of the file.
        interlaced: whether the first frame is made of two fields (they are left woven).
        has_audio: whether there is sound.
        notes: sentences about what a user should know (gaps, tone mapping, assumptions).
    """

    path: str
    kind: Literal["video", "sequence", "image"]
    width: int
    height: int
    frame_count: int
    rate: Fraction
    variable_rate: bool
    duration: Fraction
    codec: str
    pixel_format: str
    bit_depth: int
    rotation: int = 0
    pixel_aspect: Fraction = Fraction(1)
    color: ColorInfo = field(default_factory=ColorInfo)
    interlaced: bool = False
    has_audio: bool = False
    notes: tuple[str, ...] = ()
