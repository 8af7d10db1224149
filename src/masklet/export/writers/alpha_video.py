"""Video with an alpha channel: ProRes 4444 for compositing, VP9 for browsers, FFV1 without any loss."""

from __future__ import annotations

from contextlib import ExitStack
from typing import ClassVar, Literal

from pydantic import Field

from masklet.export.job import Job
from masklet.export.video import Maker, VideoExporter, VideoOptions
from masklet.masks import render


class AlphaVideoOptions(VideoOptions):
    alpha: Literal["straight", "premultiplied"] = Field(
        default="straight", description="Colours as they are, or multiplied by opacity"
    )
    clear_outside: bool = Field(
        default=False, description="Straight alpha: black where nothing can be seen (smaller, but dark fringes)"
    )
    split: bool = Field(default=False, description="One file per object instead of one for all")


class _AlphaVideo(VideoExporter):
    alpha = True
    options: ClassVar[type[AlphaVideoOptions]] = AlphaVideoOptions

    def maker(self, job: Job, options: AlphaVideoOptions, stack: ExitStack) -> Maker:
        premultiplied = options.alpha == "premultiplied"
        return lambda picture, ids: render.cutout(
            picture.image_hwc, picture.alpha_hw(ids), premultiplied, options.clear_outside
        )


class ProRes4444(_AlphaVideo):
    name = "prores4444"
    title = "ProRes 4444"
    description = "QuickTime with 10-bit colour and alpha, for After Effects, Resolve, Nuke, Final Cut"
    extensions = (".mov",)
    codec = "prores4444"


class Vp9Alpha(_AlphaVideo):
    name = "vp9-alpha"
    title = "VP9 with alpha"
    description = "WebM that browsers play with transparency"
    extensions = (".webm",)
    codec = "vp9"


class Ffv1Alpha(_AlphaVideo):
    name = "ffv1-alpha"
    title = "FFV1 with alpha"
    description = "Matroska without any loss, colours and alpha exact, for archives"
    extensions = (".mkv",)
    codec = "ffv1"
