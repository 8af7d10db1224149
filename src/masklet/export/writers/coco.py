"""COCO instance segmentation: run lengths or polygons, with tracks and scores."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from masklet import __version__
from masklet.export.base import DatasetExporter, DatasetOptions, nothing_left
from masklet.export.classes import by_class
from masklet.export.job import Job, Picture
from masklet.masks import polygons, rle
from masklet.project.finishing import Layer
from masklet.project.records import dumps


class CocoOptions(DatasetOptions):
    segmentation: Literal["rle", "polygons"] = Field(
        default="rle", description="rle is exact; polygons is what some trainers want"
    )
    tolerance: float = Field(
        default=1.0, ge=0, le=100, description="How far in pixels polygons may be off; 0 follows every pixel"
    )
    min_area: float = Field(default=0.0, ge=0, description="Leave out masks of fewer pixels")


class Coco(DatasetExporter):
    name = "coco"
    title = "COCO instances"
    description = "annotations.json in COCO's instance format (RLE or polygons) with the frames in images/"
    template = "images/{clip}_{frame:05d}"
    options: ClassVar[type[CocoOptions]] = CocoOptions

    def write(self, job: Job, options: CocoOptions) -> None:
        categories = {name: number for number, name in enumerate(by_class(job.objects), start=1)}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for picture in self.pictures(job, options, tracked_only=True):
            name = job.path(picture, suffix=options.suffix)
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": name.as_posix().removeprefix("images/"),
                    "width": job.source.width,
                    "height": job.source.height,
                    "frame_index": picture.index,
                    "time": float(job.source.time_of(picture.index)),
                }
            )
            self.write_frame(job, options, picture, name)
            for layer in picture.layers.values():
                found = self._annotation(picture, layer, options)
                if found is not None:
                    category = categories[layer.object.label]
                    annotations.append(
                        {"id": len(annotations) + 1, "image_id": len(images), "category_id": category, **found}
                    )
        if not annotations:
            raise nothing_left(len(images), options.min_area)
        document = {
            "info": {"description": f"{job.clip}, masks made with masklet {__version__}", "version": "1.0"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        job.output.text("annotations.json", dumps(document))

    @staticmethod
    def _annotation(picture: Picture, layer: Layer, options: CocoOptions) -> dict[str, Any] | None:
        area = rle.area(layer.rle)
        box = rle.box(layer.rle)
        if box is None or area < options.min_area:
            return None
        segmentation: Any = layer.rle
        if options.segmentation == "polygons":
            segmentation = polygons.to_coco(polygons.to_polygons(layer.mask_hw, options.tolerance))
        left, top, right, bottom = (float(value) for value in box)
        return {
            "segmentation": segmentation,
            "area": area,
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
            "track_id": layer.object.id,
            "score": layer.record.scores.predicted_iou,
            "name": layer.object.name,
            "attributes": {"lost": layer.record.lost, "painted": layer.record.painted, **layer.object.attributes},
        }
