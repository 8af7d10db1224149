"""YOLO data sets as Ultralytics and its relatives read them: images/, labels/ and data.yaml."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from masklet.export.base import DatasetExporter, DatasetOptions, nothing_left
from masklet.export.classes import by_class
from masklet.export.job import Job
from masklet.masks import polygons, rle
from masklet.project.finishing import Layer
from masklet.project.records import dumps


class YoloOptions(DatasetOptions):
    val_fraction: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the frames, the last ones, that are for validation"
    )
    min_area: float = Field(default=0.0, ge=0, description="Leave out masks of fewer pixels")


class YoloSegOptions(YoloOptions):
    tolerance: float = Field(
        default=1.0, ge=0, le=100, description="How far in pixels polygons may be off; 0 follows every pixel"
    )


class _Yolo(DatasetExporter):
    """A line for each object: class, then numbers in fractions of the picture's width and height."""

    template = "{clip}_{frame:05d}"

    def write(self, job: Job, options: Any) -> None:
        classes = {name: number for number, name in enumerate(by_class(job.objects))}
        indices = job.indices(options.every, tracked_only=True)
        # Neighbouring frames look alike: frames picked at random would put the training set into validation.
        held_back = round(len(indices) * options.val_fraction)
        if options.val_fraction and not held_back and len(indices) > 1:
            held_back = 1
        train = len(indices) - held_back
        written = 0
        for picture in self.pictures(job, options, tracked_only=True):
            part = "train" if picture.number < train else "val"
            name = job.path(picture)
            lines = [
                f"{classes[layer.object.label]} {line}"
                for layer in picture.layers.values()
                if rle.area(layer.rle) >= max(options.min_area, 1)
                for line in [self._line(job, layer, options)]
            ]
            written += len(lines)
            job.output.text(PurePosixPath("labels", part, f"{name}.txt"), "".join(f"{line}\n" for line in lines))
            self.write_frame(job, options, picture, PurePosixPath("images", part, f"{name}{options.suffix}"))
        if not written:
            raise nothing_left(len(indices), options.min_area)
        names = "".join(f"  {number}: {dumps(name)}\n" for name, number in classes.items())
        val = "images/val" if held_back else "images/train"
        # Without a path, trainers look beside data.yaml, wherever the folder is moved to.
        job.output.text("data.yaml", f"train: images/train\nval: {val}\nnames:\n{names}")

    @abstractmethod
    def _line(self, job: Job, layer: Layer, options: Any) -> str:
        """The numbers of one object."""


class YoloSeg(_Yolo):
    name = "yolo-seg"
    title = "YOLO segmentation"
    description = "YOLO labels with one polygon per object; holes and separate parts are joined by cuts of no width"
    options: ClassVar[type[YoloSegOptions]] = YoloSegOptions

    def _line(self, job: Job, layer: Layer, options: YoloSegOptions) -> str:
        ring = polygons.joined([part.bridged() for part in polygons.to_polygons(layer.mask_hw, options.tolerance)])
        height, width = job.size
        return " ".join(f"{value:.6g}" for value in (ring / [width, height]).reshape(-1))


class YoloBoxes(_Yolo):
    name = "yolo-boxes"
    title = "YOLO boxes"
    description = "YOLO labels with one box per object: class, centre, width, height"
    options: ClassVar[type[YoloOptions]] = YoloOptions

    def _line(self, job: Job, layer: Layer, options: YoloOptions) -> str:
        box = rle.box(layer.rle)
        assert box is not None
        left, top, right, bottom = (float(value) for value in box)
        height, width = job.size
        numbers = (
            (left + right) / 2 / width,
            (top + bottom) / 2 / height,
            (right - left) / width,
            (bottom - top) / height,
        )
        return " ".join(f"{value:.6f}" for value in numbers)
