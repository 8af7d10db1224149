"""Black and white mattes as ordinary video."""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar

from pydantic import Field

from masklet.export.job import Job
from masklet.export.video import Maker, VideoExporter, VideoOptions
from masklet.masks import render


class MatteOptions(VideoOptions):
    quality: int = Field(default=85, ge=0, le=100, description="Higher is better and larger")
    audio: bool = Field(default=False, description="Keep the sound of the source")
    split: bool = Field(default=False, description="One file per object instead of one for all")


class _Matte(VideoExporter):
    extensions = (".mp4", ".mov", ".mkv")
    pixels = False
    options: ClassVar[type[MatteOptions]] = MatteOptions

    def maker(self, job: Job, options: MatteOptions, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.matte(picture.alpha_hw(ids), channels=3)


class H264Matte(_Matte):
    name = "h264-matte"
    title = "H.264 matte"
    description = "White object on black as H.264, for luma mattes"
    codec = "h264"


class H265Matte(_Matte):
    name = "h265-matte"
    title = "H.265 matte"
    description = "White object on black as H.265: smaller, slower"
    codec = "h265"
