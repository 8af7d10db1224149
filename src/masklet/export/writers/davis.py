"""DAVIS: one indexed PNG per frame, the index is the object."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar

from pydantic import Field

from masklet.export.base import DatasetExporter, DatasetOptions
from masklet.export.imaging import write_indexed_png
from masklet.export.job import Job
from masklet.export.labels import label_map, numbered


class DavisOptions(DatasetOptions):
    resolution_name: str = Field(
        default="Full-Resolution", pattern=r"^[\w.-]{1,40}$", description="Folder name below Annotations"
    )


class Davis(DatasetExporter):
    name = "davis"
    title = "DAVIS 2017"
    description = "Indexed PNG masks (index 1 is the first object) with the frames, in DAVIS's folders"
    template = "{clip}/{number:05d}"
    options: ClassVar[type[DavisOptions]] = DavisOptions

    def write(self, job: Job, options: DavisOptions) -> None:
        numbers = numbered(job.objects)
        folder = options.resolution_name
        for picture in self.pictures(job, options):
            name = job.path(picture)
            place = job.output.file(PurePosixPath("Annotations", folder, f"{name}.png"))
            write_indexed_png(place, label_map(picture, numbers))
            self.write_frame(job, options, picture, PurePosixPath("JPEGImages", folder, f"{name}{options.suffix}"))
        job.output.text("ImageSets/2017/val.txt", f"{job.clip}\n")
