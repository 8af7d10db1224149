"""What clips out of annotated videos are like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from masklet.settings import CheckedSettings, Count, Share, Span

Side = Annotated[int, Field(ge=32)]
Part = Annotated[float, Field(ge=0, lt=1)]
Degrees = Annotated[float, Field(ge=0, lt=80)]


class FootageSettings(CheckedSettings):
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

    frames: Count = 5
    height: Side = 256
    width: Side = 256
    objects: Annotated[int, Field(ge=1, le=200)] = 3
    least_area: Part = 0.0005
    max_stride: Count = 3
    reverse: Share = 0.5
    between: Share = 0.25
    flip: Share = 0.5
    degrees: Degrees = 25.0
    shear: Degrees = 20.0
    zoom: Span[Annotated[float, Field(ge=1, le=20)]] = (1.0, 1.5)
    shake: Part = 0.01
    brightness: Part = 0.1
    contrast: Part = 0.03
    saturation: Part = 0.03
    frame_brightness: Part = 0.1
    frame_contrast: Part = 0.05
    frame_saturation: Part = 0.05
    grayscale: Share = 0.05
    mosaic: Share = 0.1
    masklets: Literal["manual", "auto", "both"] = "both"
    tracked: bool = True
    least_predicted_iou: Share = 0.7

    def plain(self) -> FootageSettings:
        """The same without any augmentation: frames are only squashed to size."""
        changes = ("degrees", "shear", "shake", "brightness", "contrast", "saturation", "reverse", "flip")
        for_frames = ("frame_brightness", "frame_contrast", "frame_saturation", "grayscale", "mosaic")
        return self.changed(zoom=(1.0, 1.0), max_stride=1, **dict.fromkeys(changes + for_frames, 0.0))
