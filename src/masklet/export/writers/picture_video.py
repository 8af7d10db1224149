"""Finished pictures as video: overlays, screens, other backgrounds."""

from __future__ import annotations

import re
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from masklet.errors import ExportError
from masklet.export.job import Job, Picture
from masklet.export.video import Maker, VideoExporter, VideoOptions
from masklet.masks import render

_SCREENS = {"green": (0, 177, 64), "blue": (0, 71, 187), "black": (0, 0, 0), "white": (255, 255, 255)}


class PictureVideoOptions(VideoOptions):
    codec: Literal["h264", "h265", "prores422", "ffv1"] = Field(
        default="h264", description="prores422 goes into .mov, ffv1 (without loss) into .mkv"
    )


class _PictureVideo(VideoExporter):
    extensions = (".mp4", ".mov", ".mkv")
    options: ClassVar[type[PictureVideoOptions]] = PictureVideoOptions


class OverlayOptions(PictureVideoOptions):
    strength: float = Field(default=0.5, ge=0, le=1, description="Share of the colour inside an object")
    outline: bool = Field(default=True, description="Draw outlines")
    names: bool = Field(default=True, description="Write the objects' names")


class Overlay(_PictureVideo):
    name = "overlay"
    title = "Overlay"
    description = "The video with its objects coloured, outlined and named, for looking"
    options: ClassVar[type[OverlayOptions]] = OverlayOptions

    def maker(self, job: Job, options: OverlayOptions, stack: ExitStack) -> Maker:
        colors = {chosen.id: chosen.color for chosen in job.objects}
        names = {chosen.id: chosen.name for chosen in job.objects} if options.names else None

        def make(picture: Picture, ids: list[int]) -> np.ndarray:
            masks = {number: layer.opacity_hw for number, layer in picture.layers.items()}
            return render.overlay(
                picture.image_hwc, masks, colors, names, alpha=options.strength, outline=options.outline
            )

        return make


class ScreenOptions(PictureVideoOptions):
    color: str = Field(default="green", description="green, blue, black, white or #rrggbb")

    @field_validator("color")
    @classmethod
    def _known(cls, color: str) -> str:
        if color.lower() in _SCREENS or re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            return color.lower()
        raise ValueError(f"a colour is {', '.join(_SCREENS)} or #rrggbb, not {color!r}")

    @property
    def rgb(self) -> tuple[int, int, int]:
        if self.color in _SCREENS:
            return _SCREENS[self.color]
        value = int(self.color[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


class Screen(_PictureVideo):
    name = "screen"
    title = "Colour screen"
    description = "The objects before a green, blue or any other screen"
    options: ClassVar[type[ScreenOptions]] = ScreenOptions

    def maker(self, job: Job, options: ScreenOptions, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.screen(picture.image_hwc, picture.alpha_hw(ids), options.rgb)


class BlurOptions(PictureVideoOptions):
    radius: float = Field(default=12.0, ge=0, le=500, description="How blurred, in pixels")


class Blur(_PictureVideo):
    name = "blur"
    title = "Blurred background"
    description = "The objects sharp, all else blurred"
    options: ClassVar[type[BlurOptions]] = BlurOptions

    def maker(self, job: Job, options: BlurOptions, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.blur_background(picture.image_hwc, picture.alpha_hw(ids), options.radius)


class BackgroundOptions(PictureVideoOptions):
    file: Path = Field(description="Image or video to put behind the objects; a shorter video starts again")


class Background(_PictureVideo):
    name = "background"
    title = "Other background"
    description = "The objects before an image or a video"
    options: ClassVar[type[BackgroundOptions]] = BackgroundOptions

    def maker(self, job: Job, options: BackgroundOptions, stack: ExitStack) -> Maker:
        from masklet.media import open_media

        if not options.file.exists():
            raise ExportError(f"There is no background {options.file}.")
        behind = stack.enter_context(open_media(options.file))
        still = behind.read(0).image_hwc if len(behind) == 1 else None
        length = Fraction(behind.info.duration)

        def make(picture: Picture, ids: list[int]) -> np.ndarray:
            back = still if still is not None else behind.read(behind.index_at(picture.time % length)).image_hwc
            return render.replace_background(picture.image_hwc, picture.alpha_hw(ids), back)

        return make


class GreyOutOptions(PictureVideoOptions):
    dim: float = Field(default=0.6, ge=0, le=1, description="How bright the grey part stays")


class GreyOut(_PictureVideo):
    name = "grey-out"
    title = "Grey surroundings"
    description = "The objects in colour, all else grey and darker"
    options: ClassVar[type[GreyOutOptions]] = GreyOutOptions

    def maker(self, job: Job, options: GreyOutOptions, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.grey_out(picture.image_hwc, picture.alpha_hw(ids), options.dim)
