"""What clips out of annotated videos are like."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from masklet.errors import InputError

_CHANCES = ("reverse", "between", "flip", "grayscale", "mosaic", "least_predicted_iou")
_AMOUNTS = (
    *("degrees", "shear", "shake", "brightness", "contrast", "saturation"),
    *("frame_brightness", "frame_contrast", "frame_saturation"),
)


@dataclass(frozen=True, slots=True)
class FootageSettings:
    """How clips are cut out of videos and changed. The defaults are those of SAM 2 (appendix on training, and the
    training configuration of its code), plus a zoom, a light shake and steps over frames.

    Attributes:
        frames: frames in a clip. A shorter video goes back and forth.
        height, width: size of the frames in pixels. Videos are squashed to it, as SAM 2 does.
        objects: most labelled objects; all of them are visible in the first frame.
        least_area: share of the frame that an object must cover in the first frame.
        max_stride: a clip takes every 1st … n-th frame.
        reverse: probability that a clip runs backwards.
        between: probability that a clip of a sparsely annotated video steps through all of its frames; otherwise the
            steps go from annotated frame to annotated frame.
        flip: probability of mirroring left and right.
        degrees, shear: most rotation and horizontal shear to either side, in degrees, the same in all frames.
        zoom: least and most enlargement. What is cut out holds the middle of one of the objects.
        shake: most shift per frame as a share of the frame; rotation and scale shake along.
        brightness, contrast, saturation: most change of these as a share, the same in all frames.
        frame_brightness, frame_contrast, frame_saturation: the same, for each frame on its own.
        grayscale: probability that the clip has no colours.
        mosaic: probability that the video is shown four times side by side, with the labels in one of the four.
        masklets: which masklets of SA-V's JSON files to use.
        tracked: of masklet projects, use tracked masks too (where they are neither lost nor doubtful), not only
            those that were painted or prompted.
        least_predicted_iou: a tracked mask below this predicted IoU is doubtful.
    """

    frames: int = 5
    height: int = 256
    width: int = 256
    objects: int = 3
    least_area: float = 0.0005
    max_stride: int = 3
    reverse: float = 0.5
    between: float = 0.25
    flip: float = 0.5
    degrees: float = 25.0
    shear: float = 20.0
    zoom: tuple[float, float] = (1.0, 1.5)
    shake: float = 0.01
    brightness: float = 0.1
    contrast: float = 0.03
    saturation: float = 0.03
    frame_brightness: float = 0.1
    frame_contrast: float = 0.05
    frame_saturation: float = 0.05
    grayscale: float = 0.05
    mosaic: float = 0.1
    masklets: Literal["manual", "auto", "both"] = "both"
    tracked: bool = True
    least_predicted_iou: float = 0.7

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.height, self.width) < 32:
            raise InputError(
                f"clips need a frame and 32 pixels a side; got {self.frames} of {self.width}x{self.height}"
            )
        if not 1 <= self.objects <= 200:
            raise InputError(f"the number of objects must be within 1 … 200; got {self.objects}")
        if self.max_stride < 1:
            raise InputError(f"max_stride must be 1 or more; got {self.max_stride}")
        if not 0 <= self.least_area < 1:
            raise InputError(f"least_area is a share of the frame, 0 to below 1; got {self.least_area}")
        for name in _CHANCES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be within 0 … 1; got {getattr(self, name)}")
        for name in _AMOUNTS:
            if not 0 <= getattr(self, name) < (80 if name in ("degrees", "shear") else 1):
                raise InputError(f"{name} is out of range; got {getattr(self, name)}")
        if not 1 <= self.zoom[0] <= self.zoom[1] <= 20:
            raise InputError(f"zoom must be a range within 1 … 20; got {self.zoom}")
        if self.masklets not in ("manual", "auto", "both"):
            raise InputError(f"masklets must be manual, auto or both; got {self.masklets!r}")

    def plain(self) -> FootageSettings:
        """The same without any augmentation: frames are only squashed to size."""
        nothing = dict.fromkeys([*_AMOUNTS, "reverse", "flip", "grayscale", "mosaic"], 0.0)
        return replace(self, zoom=(1.0, 1.0), max_stride=1, **nothing)  # type: ignore[arg-type]
