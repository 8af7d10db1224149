"""Mask sequences: black and white PNG with 8 or 16 bits."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from pydantic import Field

from masklet.export.base import Exporter, Options
from masklet.export.imaging import to_16_bit, write_picture
from masklet.export.job import Job, Picture
from masklet.project.records import ProjectObject


class SequenceOptions(Options):
    merge: bool = Field(default=False, description="All objects in one picture instead of one file per object")
    every: int = Field(default=1, ge=1, description="Take every n-th frame")


class _MaskSequence(Exporter):
    """A file per frame and object, or per frame; black where an object has no mask, so that no frame is missing."""

    group = "sequence"
    template = "{clip}_{object}_{frame:05d}"
    options: ClassVar[type[SequenceOptions]] = SequenceOptions

    def write(self, job: Job, options: SequenceOptions) -> None:
        for picture in job.pictures(job.indices(options.every), pixels=False):
            for chosen, alpha_hw in alphas(job, picture, options.merge):
                write_picture(job.output.file(job.path(picture, chosen, ".png")), self.stored(alpha_hw))

    @abstractmethod
    def stored(self, alpha_hw: np.ndarray) -> np.ndarray:
        """Opacity, uint8 0 to 255, as the numbers that go into the file."""


class PngMask(_MaskSequence):
    name = "png-mask"
    title = "PNG masks"
    description = "8-bit grey PNG per object and frame: white inside, black outside, grey on soft edges"

    def stored(self, alpha_hw: np.ndarray) -> np.ndarray:
        return alpha_hw


class Png16(_MaskSequence):
    name = "png16"
    title = "16-bit PNG masks"
    description = "16-bit grey PNG per object and frame, for tools that want 16 bits"

    def stored(self, alpha_hw: np.ndarray) -> np.ndarray:
        return to_16_bit(alpha_hw)


def alphas(job: Job, picture: Picture, merge: bool) -> list[tuple[ProjectObject | None, np.ndarray]]:
    """(object, opacity) for every file of a frame: one for each object, or one for all (None)."""
    if merge:
        return [(None, picture.alpha_hw())]
    return [(chosen, picture.alpha_hw([chosen.id])) for chosen in job.objects]
