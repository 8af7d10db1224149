"""Short animations for pages and messages: the object on nothing, as GIF or WebP."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from masklet.export.base import FramesExporter
from masklet.export.job import Job
from masklet.masks import render

_CLEAR = 255  # the palette entry that stands for "transparent" in a GIF


class _Animation(FramesExporter):
    group = "animation"
    unit: ClassVar[int]  # milliseconds in one tick of the format's clock

    longest: int = Field(default=480, ge=16, le=16_383, description="Longest side in pixels, at most the source's own")
    loops: int = Field(default=0, ge=0, le=65_535, description="How often it plays; 0 for ever")

    def write(self, job: Job) -> None:
        indices = job.indices(self.every)
        small = (shrunk(picture.image_hwc, picture.alpha_hw(), self.longest) for picture in job.pictures(indices))
        frames = (self.frame(image, opacity) for image, opacity in small)
        with job.output.file().open("wb") as file:
            next(frames).save(
                file,
                save_all=True,
                append_images=frames,
                duration=durations(job, indices, self.unit),
                loop=self.loops,
                **self.parameters(),
            )

    @abstractmethod
    def frame(self, image_hwc: np.ndarray, alpha_hw: np.ndarray) -> Image.Image:
        """A picture of the animation."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """What Pillow is to be told."""


class Gif(_Animation):
    title = "Animated GIF"
    description = "The cut-out object as GIF (hard edges, 255 colours), scaled down for pages"
    extensions = (".gif",)
    unit = 10

    def frame(self, image_hwc: np.ndarray, alpha_hw: np.ndarray) -> Image.Image:
        clear = alpha_hw < 128
        colours = Image.fromarray(np.where(clear[..., None], 0, image_hwc).astype(np.uint8))
        indexed = colours.quantize(_CLEAR, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        frame = Image.fromarray(np.where(clear, np.uint8(_CLEAR), np.asarray(indexed)))
        table = (indexed.getpalette() or [])[: 3 * _CLEAR]
        frame.putpalette(table + [0] * (768 - len(table)))
        frame.info["transparency"] = _CLEAR
        return frame

    def parameters(self) -> dict[str, Any]:
        # "Restore to background" after each frame: what moved away must not stay.
        return {"format": "GIF", "disposal": 2, "transparency": _CLEAR, "optimize": False}


class Webp(_Animation):
    title = "Animated WebP"
    description = "The cut-out object as WebP with soft edges, lossy or lossless, scaled down for pages"
    extensions = (".webp",)
    unit = 1

    lossless: bool = Field(default=False, description="Exact colours (larger)")
    quality: int = Field(default=85, ge=0, le=100, description="Quality where it isn't lossless")
    content: Literal["cutout", "picture"] = Field(default="cutout", description="The object alone, or the frame")

    def frame(self, image_hwc: np.ndarray, alpha_hw: np.ndarray) -> Image.Image:
        whole = self.content == "picture"
        return Image.fromarray(image_hwc if whole else render.cutout(image_hwc, alpha_hw, clear_outside=True))

    def parameters(self) -> dict[str, Any]:
        return {"format": "WEBP", "lossless": self.lossless, "quality": self.quality, "exact": False}


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
    image, opacity = (cv2.resize(array, size, interpolation=cv2.INTER_AREA) for array in (image_hwc, alpha_hw))
    return image, opacity
