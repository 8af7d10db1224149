"""Videos: with an alpha channel, as black and white mattes, and as finished pictures.

They have the rate, time stamps, colour tags, pixel shape and sound of the source.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from masklet.errors import ExportError
from masklet.export.base import Put, Split, StreamExporter
from masklet.export.job import Job, Picture
from masklet.masks import render

if TYPE_CHECKING:
    from masklet.media import VideoWriter

Maker = Callable[[Picture, list[int]], np.ndarray]

_SCREENS = {"green": (0, 177, 64), "blue": (0, 71, 187), "black": (0, 0, 0), "white": (255, 255, 255)}


class _Video(StreamExporter):
    """A video of pictures: one file for all objects or, where the options split it, one for each.

    Its codec is an option or the same for all.
    """

    group = "video"
    extensions: ClassVar[tuple[str, ...]] = (".mp4", ".mov", ".mkv")
    has_alpha: ClassVar[bool] = False

    quality: int = Field(default=75, ge=0, le=100, description="Higher is better and larger")
    speed: Literal["fast", "balanced", "small"] = Field(default="fast", description="Faster writing or smaller files")
    audio: bool = Field(default=True, description="Keep the sound of the source")

    @abstractmethod
    def maker(self, job: Job, stack: ExitStack) -> Maker:
        """A function from a frame and ids of objects to the picture for it, uint8 RGB or RGBA; what it opens is closed
        by `stack`."""

    @contextmanager
    def stream(self, job: Job) -> Iterator[Put]:
        targets: list[tuple[PurePosixPath | None, list[int]]] = [(None, job.ids)]
        if self.splits and len(job.objects) > 1:
            targets = [(job.path(None, chosen, self.extensions[0]), [chosen.id]) for chosen in job.objects]
        with ExitStack() as stack:
            make = self.maker(job, stack)
            writers = []
            for name, ids in targets:
                writer = self._open(job, job.output.file(name))
                stack.callback(writer.abort)
                writers.append((writer, ids))

            def put(picture: Picture) -> None:
                # Frames have times of their own where they don't simply follow each other.
                time = picture.time if job.source.variable_rate else None
                for writer, ids in writers:
                    writer.write(make(picture, ids), time)

            yield put
            for writer, _ in writers:
                writer.commit()
                job.notes.extend(note for note in writer.notes if note not in job.notes)

    def _open(self, job: Job, path: Path) -> VideoWriter:
        """A writer for frames like those of the source. Raises MediaError where the file can't be made."""
        from masklet.media import VideoWriter

        source, reader, codec = job.source, job.reader, getattr(self, "codec", "")
        color = reader.info.color
        if codec.startswith("prores"):
            color = replace(color, range="limited")  # players take ProRes for that, whatever its tags say
        sound = self.audio and source.kind == "video" and source.has_audio
        return VideoWriter(
            path,
            source.width,
            source.height,
            source.rate,
            codec=codec,
            alpha=self.has_alpha,
            quality=self.quality,
            speed=self.speed,
            time_base=reader.time_base if source.variable_rate else None,
            color=color,
            pixel_aspect=source.pixel_aspect,
            audio_from=reader.info.path if sound else None,
            audio_start=source.time_of(job.frames.start),
        )


class _AlphaVideo(_Video):
    has_alpha = True
    codec: ClassVar[str]

    alpha: Literal["straight", "premultiplied"] = Field(
        default="straight", description="Colours as they are, or multiplied by opacity"
    )
    clear_outside: bool = Field(
        default=False, description="Straight alpha: black where nothing can be seen (smaller, but dark fringes)"
    )
    split: Split = False

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.cutout(
            picture.image_hwc, picture.alpha_hw(ids), self.alpha == "premultiplied", self.clear_outside
        )


class ProRes4444(_AlphaVideo):
    title = "ProRes 4444"
    description = "QuickTime with 10-bit colour and alpha, for After Effects, Resolve, Nuke, Final Cut"
    extensions = (".mov",)
    codec = "prores4444"


class Vp9Alpha(_AlphaVideo):
    title = "VP9 with alpha"
    description = "WebM that browsers play with transparency"
    extensions = (".webm",)
    codec = "vp9"


class Ffv1Alpha(_AlphaVideo):
    title = "FFV1 with alpha"
    description = "Matroska without any loss, colours and alpha exact, for archives"
    extensions = (".mkv",)
    codec = "ffv1"


class _Matte(_Video):
    pixels = False
    codec: ClassVar[str]

    quality: int = Field(default=85, ge=0, le=100, description="Higher is better and larger")
    audio: bool = Field(default=False, description="Keep the sound of the source")
    split: Split = False

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.matte(picture.alpha_hw(ids), channels=3)


class H264Matte(_Matte):
    title = "H.264 matte"
    description = "White object on black as H.264, for luma mattes"
    codec = "h264"


class H265Matte(_Matte):
    title = "H.265 matte"
    description = "White object on black as H.265: smaller, slower"
    codec = "h265"


class _PictureVideo(_Video):
    codec: Literal["h264", "h265", "prores422", "ffv1"] = Field(
        default="h264", description="prores422 goes into .mov, ffv1 (without loss) into .mkv"
    )


class Overlay(_PictureVideo):
    title = "Overlay"
    description = "The video with its objects coloured, outlined and named, for looking"

    strength: float = Field(default=0.5, ge=0, le=1, description="Share of the colour inside an object")
    outline: bool = Field(default=True, description="Draw outlines")
    names: bool = Field(default=True, description="Write the objects' names")

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        colors = {chosen.id: chosen.color for chosen in job.objects}
        names = {chosen.id: chosen.name for chosen in job.objects} if self.names else None

        def make(picture: Picture, ids: list[int]) -> np.ndarray:
            masks = {number: layer.opacity_hw for number, layer in picture.layers.items()}
            return render.overlay(picture.image_hwc, masks, colors, names, self.strength, self.outline)

        return make


class Screen(_PictureVideo):
    title = "Colour screen"
    description = "The objects before a green, blue or any other screen"

    color: str = Field(default="green", description="green, blue, black, white or #rrggbb")

    @field_validator("color")
    @classmethod
    def _known(cls, color: str) -> str:
        if color.lower() in _SCREENS or re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            return color.lower()
        raise ValueError(f"a colour is {', '.join(_SCREENS)} or #rrggbb, not {color!r}")

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        rgb = _SCREENS.get(self.color) or bytes.fromhex(self.color[1:])
        return lambda picture, ids: render.screen(picture.image_hwc, picture.alpha_hw(ids), (rgb[0], rgb[1], rgb[2]))


class Blur(_PictureVideo):
    title = "Blurred background"
    description = "The objects sharp, all else blurred"

    radius: float = Field(default=12.0, ge=0, le=500, description="How blurred, in pixels")

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.blur_background(picture.image_hwc, picture.alpha_hw(ids), self.radius)


class Background(_PictureVideo):
    title = "Other background"
    description = "The objects before an image or a video"

    file: Path = Field(description="Image or video to put behind the objects; a shorter video starts again")

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        from masklet.media import open_media

        if not self.file.exists():
            raise ExportError(f"There is no background {self.file}.")
        behind = stack.enter_context(open_media(self.file))
        still = behind.read(0).image_hwc if len(behind) == 1 else None
        length = Fraction(behind.info.duration)

        def make(picture: Picture, ids: list[int]) -> np.ndarray:
            back = still if still is not None else behind.read(behind.index_at(picture.time % length)).image_hwc
            return render.replace_background(picture.image_hwc, picture.alpha_hw(ids), back)

        return make


class GreyOut(_PictureVideo):
    title = "Grey surroundings"
    description = "The objects in colour, all else grey and darker"

    dim: float = Field(default=0.6, ge=0, le=1, description="How bright the grey part stays")

    def maker(self, job: Job, stack: ExitStack) -> Maker:
        return lambda picture, ids: render.grey_out(picture.image_hwc, picture.alpha_hw(ids), self.dim)
