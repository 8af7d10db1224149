"""DAVIS and YouTube-VOS: one indexed PNG per frame, the index is the object."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from pydantic import Field

from masklet.export.base import DatasetExporter
from masklet.export.imaging import write_indexed_png
from masklet.export.job import Job
from masklet.export.labels import label_map, numbered
from masklet.project.records import dumps


class Davis(DatasetExporter):
    title = "DAVIS 2017"
    description = "Indexed PNG masks (index 1 is the first object) with the frames, in DAVIS's folders"
    template = "{clip}/{number:05d}"

    resolution_name: str = Field(
        default="Full-Resolution", pattern=r"^[\w.-]{1,40}$", description="Folder name below Annotations"
    )

    def write(self, job: Job) -> None:
        numbers = numbered(job.objects)
        folder = self.resolution_name
        for picture in self.pictures(job):
            name = job.path(picture)
            place = job.output.file(PurePosixPath("Annotations", folder, f"{name}.png"))
            write_indexed_png(place, label_map(picture, numbers))
            self.write_frame(job, picture, PurePosixPath("JPEGImages", folder, f"{name}{self.suffix}"))
        job.output.text("ImageSets/2017/val.txt", f"{job.clip}\n")


class YouTubeVos(DatasetExporter):
    title = "YouTube-VOS"
    description = "Indexed PNG masks, JPEG frames and meta.json in YouTube-VOS's folders"
    template = "{clip}/{frame:05d}"

    every: int = Field(default=1, ge=1, description="Take every n-th frame (the data set itself has every 5th)")

    def write(self, job: Job) -> None:
        numbers = numbered(job.objects)
        seen: dict[int, list[str]] = {number: [] for number in numbers.values()}
        for picture in self.pictures(job):
            name = job.path(picture)
            labels = label_map(picture, numbers)
            for number, frames in seen.items():
                if (labels == number).any():
                    frames.append(name.name)
            write_indexed_png(job.output.file(PurePosixPath("Annotations", f"{name}.png")), labels)
            self.write_frame(job, picture, PurePosixPath("JPEGImages", f"{name}{self.suffix}"))
        objects: dict[str, Any] = {
            str(numbers[chosen.id]): {"category": chosen.label, "frames": seen[numbers[chosen.id]]}
            for chosen in job.objects
            if seen[numbers[chosen.id]]
        }
        job.output.text("meta.json", dumps({"videos": {job.clip: {"objects": objects}}}))
