"""YouTube-VOS: DAVIS-like indexed PNGs, and meta.json with where each object is seen."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from masklet.export.base import DatasetExporter, DatasetOptions
from masklet.export.imaging import write_indexed_png
from masklet.export.job import Job
from masklet.export.labels import label_map, numbered
from masklet.project.records import dumps


class YouTubeVosOptions(DatasetOptions):
    every: int = Field(default=1, ge=1, description="Take every n-th frame (the data set itself has every 5th)")


class YouTubeVos(DatasetExporter):
    name = "youtube-vos"
    title = "YouTube-VOS"
    description = "Indexed PNG masks, JPEG frames and meta.json in YouTube-VOS's folders"
    template = "{clip}/{frame:05d}"
    options: ClassVar[type[YouTubeVosOptions]] = YouTubeVosOptions

    def write(self, job: Job, options: YouTubeVosOptions) -> None:
        numbers = numbered(job.objects)
        seen: dict[int, list[str]] = {number: [] for number in numbers.values()}
        for picture in self.pictures(job, options):
            name = job.path(picture)
            labels = label_map(picture, numbers)
            for number, frames in seen.items():
                if (labels == number).any():
                    frames.append(name.name)
            place = job.output.file(PurePosixPath("Annotations", f"{name}.png"))
            write_indexed_png(place, labels)
            self.write_frame(job, options, picture, PurePosixPath("JPEGImages", f"{name}{options.suffix}"))
        objects: dict[str, Any] = {
            str(numbers[chosen.id]): {"category": chosen.label, "frames": seen[numbers[chosen.id]]}
            for chosen in job.objects
            if seen[numbers[chosen.id]]
        }
        job.output.text("meta.json", dumps({"videos": {job.clip: {"objects": objects}}}))
