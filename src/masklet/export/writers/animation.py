"""Short animations for pages and messages: the object on nothing, as GIF or WebP."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from masklet.export.base import Exporter, FrameOptions
from masklet.export.job import Job
from masklet.masks import render

_CLEAR = 255  # the palette entry that stands for "transparent" in a GIF


class AnimationOptions(FrameOptions):
    longest: int = Field(default=480, ge=16, le=16_383, description="Longest side in pixels, at most the source's own")
    loops: int = Field(default=0, ge=0, le=65_535, description="How often it plays; 0 for ever")


class WebpOptions(AnimationOptions):
    lossless: bool = Field(default=False, description="Exact colours (larger)")
    quality: int = Field(default=85, ge=0, le=100, description="Quality where it isn't lossless")
    content: Literal["cutout", "picture"] = Field(default="cutout", description="The object alone, or the frame")


class _Animation(Exporter):
    group = "animation"
    unit: ClassVar[int]  # milliseconds in one tick of the format's clock

    def write(self, job: Job, options: AnimationOptions) -> None:
        indices = job.indices(options.every)
        first, *rest = durations(job, indices, self.unit)
        frames = self.frames(job, indices, options)
        with job.output.file().open("wb") as file:
            next(frames).save(
                file,
                save_all=True,
                append_images=frames,
                duration=[first, *rest],
                loop=options.loops,
                **self.parameters(options),
            )

    @abstractmethod
    def frames(self, job: Job, indices: list[int], options: Any) -> Iterator[Image.Image]:
        """The pictures of the animation."""

    @abstractmethod
    def parameters(self, options: Any) -> dict[str, Any]:
        """What Pillow is to be told."""


class Gif(_Animation):
    name = "gif"
    title = "Animated GIF"
    description = "The cut-out object as GIF (hard edges, 255 colours), scaled down for pages"
    extensions = (".gif",)
    unit = 10
    options: ClassVar[type[AnimationOptions]] = AnimationOptions

    def frames(self, job: Job, indices: list[int], options: AnimationOptions) -> Iterator[Image.Image]:
        for picture in job.pictures(indices):
            image, opacity = shrunk(picture.image_hwc, picture.alpha_hw(), options.longest)
            clear = opacity < 128
            colours = Image.fromarray(np.where(clear[..., None], 0, image).astype(np.uint8))
            indexed = colours.quantize(_CLEAR, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
            indices_hw = np.asarray(indexed).copy()
            indices_hw[clear] = _CLEAR
            frame = Image.fromarray(indices_hw)
            table = (indexed.getpalette() or [])[: 3 * _CLEAR]
            frame.putpalette(table + [0] * (768 - len(table)))
            frame.info["transparency"] = _CLEAR
            yield frame

    def parameters(self, options: AnimationOptions) -> dict[str, Any]:
        # "Restore to background" after each frame: what moved away must not stay.
        return {"format": "GIF", "disposal": 2, "transparency": _CLEAR, "optimize": False}


class Webp(_Animation):
    name = "webp"
    title = "Animated WebP"
    description = "The cut-out object as WebP with soft edges, lossy or lossless, scaled down for pages"
    extensions = (".webp",)
    unit = 1
    options: ClassVar[type[WebpOptions]] = WebpOptions

    def frames(self, job: Job, indices: list[int], options: WebpOptions) -> Iterator[Image.Image]:
        for picture in job.pictures(indices):
            image, opacity = shrunk(picture.image_hwc, picture.alpha_hw(), options.longest)
            if options.content == "picture":
                yield Image.fromarray(image)
            else:
                yield Image.fromarray(render.cutout(image, opacity, clear_outside=True))

    def parameters(self, options: WebpOptions) -> dict[str, Any]:
        return {"format": "WEBP", "lossless": options.lossless, "quality": options.quality, "exact": False}


def durations(job: Job, indices: list[int], unit: int) -> list[int]:
    """Milliseconds that each frame is shown, whole units, without drifting from the source's clock."""
    source = job.source
    times = [source.time_of(index) for index in indices]
    after = indices[-1] + (indices[-1] - indices[-2] if len(indices) > 1 else 1)
    end = source.time_of(after) if after < source.frame_count else times[-1] + (after - indices[-1]) / source.rate
    marks = [round((time - times[0]) * 1000 / unit) for time in [*times, end]]
    return [max(1, later - sooner) * unit for sooner, later in itertools.pairwise(marks)]


def shrunk(image_hwc: np.ndarray, alpha_hw: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and opacity (uint8) scaled down so that no side is longer."""
    height, width = alpha_hw.shape
    scale = longest / max(height, width)
    if scale >= 1:
        return image_hwc, alpha_hw
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return (
        cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA),
        cv2.resize(alpha_hw, size, interpolation=cv2.INTER_AREA),
    )
