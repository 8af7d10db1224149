"""COCO instance segmentation: run lengths or polygons, with tracks and scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from masklet import __version__
from masklet.export.base import DatasetExporter, MinArea, Tolerance, nothing_left
from masklet.export.classes import by_class
from masklet.export.job import Job
from masklet.masks import polygons, rle
from masklet.masks.boxes import to_xywh
from masklet.project.finishing import Layer
from masklet.project.records import dumps


class Coco(DatasetExporter):
    title = "COCO instances"
    description = "annotations.json in COCO's instance format (RLE or polygons) with the frames in images/"
    template = "images/{clip}_{frame:05d}"

    segmentation: Literal["rle", "polygons"] = Field(
        default="rle", description="rle is exact; polygons is what some trainers want"
    )
    tolerance: Tolerance = 1.0
    min_area: MinArea = 0.0

    def write(self, job: Job) -> None:
        categories = {name: number for number, name in enumerate(by_class(job.objects), start=1)}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for picture in self.pictures(job, tracked_only=True):
            name = job.path(picture, suffix=self.suffix)
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
            self.write_frame(job, picture, name)
            for layer in picture.layers.values():
                found = self._annotation(layer)
                if found is not None:
                    numbers = {"id": len(annotations) + 1, "image_id": len(images)}
                    annotations.append({**numbers, "category_id": categories[layer.object.label], **found})
        if not annotations:
            raise nothing_left(len(images), self.min_area)
        document = {
            "info": {"description": f"{job.clip}, masks made with masklet {__version__}", "version": "1.0"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        job.output.text("annotations.json", dumps(document))

    def _annotation(self, layer: Layer) -> dict[str, Any] | None:
        area = rle.area(layer.rle)
        box = rle.box(layer.rle)
        if box is None or area < self.min_area:
            return None
        segmentation: Any = layer.rle
        if self.segmentation == "polygons":
            segmentation = polygons.to_coco(polygons.to_polygons(layer.mask_hw, self.tolerance))
        return {
            "segmentation": segmentation,
            "area": area,
            "bbox": to_xywh(box),
            "iscrowd": 0,
            "track_id": layer.object.id,
            "score": layer.record.scores.predicted_iou,
            "name": layer.object.name,
            "attributes": {"lost": layer.record.lost, "painted": layer.record.painted, **layer.object.attributes},
        }
