"""One still: the object on a transparent background."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from masklet.errors import ExportError
from masklet.export.base import Exporter, Options
from masklet.export.imaging import write_picture
from masklet.export.job import Job, Picture
from masklet.masks import render
from masklet.masks.boxes import mask_slices


class StillOptions(Options):
    frame: int | None = Field(default=None, ge=0, description="Which frame; the first that shows the object by default")


class CutoutOptions(StillOptions):
    crop: bool = Field(default=True, description="Cut the picture to the object; off keeps the whole frame's size")
    margin: int = Field(default=0, ge=0, le=10_000, description="Pixels kept around the object")
    clear_outside: bool = Field(default=True, description="Black where nothing can be seen")


class Cutout(Exporter):
    name = "cutout"
    title = "Cut-out still"
    description = "One frame as PNG with transparent background, cut to the object"
    group = "still"
    extensions = (".png",)
    options: ClassVar[type[CutoutOptions]] = CutoutOptions

    def write(self, job: Job, options: CutoutOptions) -> None:
        picture = still(job, options.frame, pixels=True)
        opacity = picture.alpha_hw()
        cut = render.cutout(picture.image_hwc, opacity, clear_outside=options.clear_outside)
        if options.crop:
            where = mask_slices(opacity, options.margin)
            assert where is not None
            cut = cut[where]
        write_picture(job.output.file(), cut)


def still(job: Job, frame: int | None, pixels: bool) -> Picture:
    """The frame that was asked for, or the first on which an object can be seen. Raises ExportError for none."""
    if frame is not None and not job.start <= frame < job.stop:
        raise ExportError(f"Frame {frame} is not among the frames to export, {job.start} to {job.stop - 1}.")
    seen = [
        record.frame
        for record in job.project.masks(job.ids, job.start, job.stop)
        if record.area and (frame is None or record.frame == frame)
    ]
    for index in dict.fromkeys(seen):
        [picture] = job.pictures([index], pixels=pixels)
        if picture.alpha_hw().any():
            return picture
    place = f"on frame {frame}" if frame is not None else f"in frames {job.start} to {job.stop - 1}"
    raise ExportError(f"Nothing to export: no object can be seen {place}.")
