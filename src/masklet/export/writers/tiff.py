"""TIFF sequences: masks with 8 or 16 bits, or cut-outs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from masklet.export.base import Exporter
from masklet.export.imaging import to_16_bit, write_picture
from masklet.export.job import Job
from masklet.export.writers.png_masks import SequenceOptions, alphas
from masklet.masks import render


class TiffOptions(SequenceOptions):
    content: Literal["mask", "mask16", "cutout"] = Field(
        default="mask", description="Grey mask with 8 or 16 bits, or RGBA cut-out with straight alpha"
    )


class Tiff(Exporter):
    name = "tiff"
    title = "TIFF sequence"
    description = "TIFF per object and frame, losslessly compressed: masks (8 or 16 bits) or RGBA cut-outs"
    group = "sequence"
    template = "{clip}_{object}_{frame:05d}"
    options: ClassVar[type[TiffOptions]] = TiffOptions

    def write(self, job: Job, options: TiffOptions) -> None:
        for picture in job.pictures(job.indices(options.every), pixels=options.content == "cutout"):
            for chosen, alpha_hw in alphas(job, picture, options.merge):
                image = alpha_hw
                if options.content == "cutout":
                    image = render.cutout(picture.image_hwc, alpha_hw)
                elif options.content == "mask16":
                    image = to_16_bit(alpha_hw)
                write_picture(job.output.file(job.path(picture, chosen, ".tiff")), image)
