"""YOLO data sets as Ultralytics and its relatives read them: images/, labels/ and data.yaml."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePosixPath

from pydantic import Field

from masklet.export.base import DatasetExporter, MinArea, Tolerance, nothing_left
from masklet.export.classes import by_class
from masklet.export.job import Job
from masklet.masks import polygons, rle
from masklet.masks.boxes import to_xywh
from masklet.project.finishing import Layer
from masklet.project.records import dumps


class _Yolo(DatasetExporter):
    """A line for each object: class, then numbers in fractions of the picture's width and height."""

    template = "{clip}_{frame:05d}"

    val_fraction: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the frames, the last ones, that are for validation"
    )
    min_area: MinArea = 0.0

    def write(self, job: Job) -> None:
        classes = {name: number for number, name in enumerate(by_class(job.objects))}
        indices = job.indices(self.every, tracked_only=True)
        # Neighbouring frames look alike: frames picked at random would put the training set into validation.
        held_back = round(len(indices) * self.val_fraction)
        if self.val_fraction and not held_back and len(indices) > 1:
            held_back = 1
        train = len(indices) - held_back
        written = 0
        for picture in self.pictures(job, tracked_only=True):
            part = "train" if picture.number < train else "val"
            name = job.path(picture)
            lines = [
                f"{classes[layer.object.label]} {self._line(job, layer)}\n"
                for layer in picture.layers.values()
                if rle.area(layer.rle) >= max(self.min_area, 1)
            ]
            written += len(lines)
            job.output.text(PurePosixPath("labels", part, f"{name}.txt"), "".join(lines))
            self.write_frame(job, picture, PurePosixPath("images", part, f"{name}{self.suffix}"))
        if not written:
            raise nothing_left(len(indices), self.min_area)
        names = "".join(f"  {number}: {dumps(name)}\n" for name, number in classes.items())
        val = "images/val" if held_back else "images/train"
        # Without a path, trainers look beside data.yaml, wherever the folder is moved to.
        job.output.text("data.yaml", f"train: images/train\nval: {val}\nnames:\n{names}")

    @abstractmethod
    def _line(self, job: Job, layer: Layer) -> str:
        """The numbers of one object."""


class YoloSeg(_Yolo):
    title = "YOLO segmentation"
    description = "YOLO labels with one polygon per object; holes and separate parts are joined by cuts of no width"

    tolerance: Tolerance = 1.0

    def _line(self, job: Job, layer: Layer) -> str:
        ring = polygons.single_ring(layer.mask_hw, self.tolerance)
        height, width = job.size
        return " ".join(f"{value:.6g}" for value in (ring / [width, height]).reshape(-1))


class YoloBoxes(_Yolo):
    title = "YOLO boxes"
    description = "YOLO labels with one box per object: class, centre, width, height"

    def _line(self, job: Job, layer: Layer) -> str:
        left, top, wide, high = to_xywh(rle.box(layer.rle))
        height, width = job.size
        numbers = ((left + wide / 2) / width, (top + high / 2) / height, wide / width, high / height)
        return " ".join(f"{value:.6f}" for value in numbers)
