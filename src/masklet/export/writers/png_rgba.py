"""Cut-outs as PNG sequences: the picture with the mask as its alpha channel."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from masklet.export.base import Exporter
from masklet.export.imaging import to_16_bit, write_picture
from masklet.export.job import Job
from masklet.export.writers.png_masks import SequenceOptions, alphas
from masklet.masks import render


class PngRgbaOptions(SequenceOptions):
    merge: bool = Field(default=True, description="All objects in one picture; off: one file per object")
    alpha: Literal["straight", "premultiplied"] = Field(
        default="straight", description="Colours as they are, or multiplied by opacity as compositing wants them"
    )
    bits: Literal[8, 16] = Field(default=8, description="Bits per channel")
    clear_outside: bool = Field(default=False, description="Straight alpha: black where nothing can be seen")


class PngRgba(Exporter):
    name = "png-rgba"
    title = "PNG cut-outs"
    description = "RGBA PNG per frame, straight or premultiplied, with 8 or 16 bits"
    group = "sequence"
    template = "{clip}_{object}_{frame:05d}"
    options: ClassVar[type[PngRgbaOptions]] = PngRgbaOptions

    def write(self, job: Job, options: PngRgbaOptions) -> None:
        for picture in job.pictures(job.indices(options.every)):
            for chosen, alpha_hw in alphas(job, picture, options.merge):
                place = job.output.file(job.path(picture, chosen, ".png"))
                write_picture(place, rgba(picture.image_hwc, alpha_hw, options))


def rgba(image_hwc: np.ndarray, alpha_hw: np.ndarray, options: PngRgbaOptions) -> np.ndarray:
    """uint8 or uint16 (h, w, 4) by the options."""
    premultiplied = options.alpha == "premultiplied"
    if options.bits == 8:
        return render.cutout(image_hwc, alpha_hw, premultiplied, options.clear_outside)
    opacity = to_16_bit(alpha_hw)
    colours = image_hwc.astype(np.uint32) * 257
    if premultiplied:
        colours = (colours * opacity[..., None].astype(np.uint64) + 32767) // 65535
    elif options.clear_outside:
        colours = np.where(opacity[..., None] > 0, colours, 0)
    return np.dstack((colours.astype(np.uint16), opacity))
