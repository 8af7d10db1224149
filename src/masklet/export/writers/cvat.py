"""CVAT: XML 1.1 for its import, masks on pictures or boxes and polygons as tracks of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from xml.etree.ElementTree import Element

import numpy as np
from pydantic import Field

from masklet.export.base import DatasetExporter, Tolerance, nothing_seen
from masklet.export.classes import attribute_text, attribute_values, by_class
from masklet.export.job import Job
from masklet.export.xml import document, element
from masklet.masks import polygons, rle
from masklet.masks.boxes import mask_slices
from masklet.masks.palette import hex_color
from masklet.project.finishing import Layer
from masklet.project.records import ProjectObject

_LABEL_TYPES = {"masks": "mask", "polygons": "polygon", "boxes": "rectangle"}


class Cvat(DatasetExporter):
    title = "CVAT"
    description = "annotations.xml for CVAT: 'for images 1.1' with masks, or 'for video 1.1' with tracks"
    template = "images/frame_{frame:06d}"

    kind: Literal["masks", "polygons", "boxes"] = Field(
        default="masks", description="Masks for an image task; polygons or boxes as tracks for a video task"
    )
    tolerance: Tolerance = 1.0

    def write(self, job: Job) -> None:
        body = self._images(job) if self.kind == "masks" else self._tracks(job)
        if not any(len(part) for part in body):
            raise nothing_seen()
        root = element("annotations")
        element("version", parent=root, text="1.1")
        self._add_meta(job, root)
        root.extend(body)
        job.output.text("annotations.xml", document(root))

    def _images(self, job: Job) -> list[Element]:
        height, width = job.size
        images = []
        for picture in self.pictures(job):
            name = job.path(picture, suffix=self.suffix)
            self.write_frame(job, picture, name)
            shown = name.as_posix().removeprefix("images/")
            image = element("image", {"id": picture.number, "name": shown, "width": width, "height": height})
            for layer in picture.layers.values():
                where = mask_slices(layer.mask_hw)
                if where is None:
                    continue
                rows, columns = where
                mask = {
                    "label": layer.object.label,
                    "source": "semi-auto",
                    "occluded": 0,
                    "rle": ", ".join(map(str, rle.row_runs(layer.mask_hw[where]))),
                    "left": columns.start,
                    "top": rows.start,
                    "width": columns.stop - columns.start,
                    "height": rows.stop - rows.start,
                    "z_order": 0,
                    "group_id": layer.object.id,
                }
                _add_attributes(element("mask", mask, image), layer.object)
            images.append(image)
        return images

    def _tracks(self, job: Job) -> list[Element]:
        tracks = {
            chosen.id: element("track", {"id": number, "label": chosen.label, "source": "semi-auto"})
            for number, chosen in enumerate(job.objects)
        }
        tag = "polygon" if self.kind == "polygons" else "box"
        shown: dict[int, dict[str, Any]] = {}
        for picture in self.pictures(job):
            self.write_frame(job, picture, job.path(picture, suffix=self.suffix))
            for number, track in tracks.items():
                layer = picture.layers.get(number)
                box = None if layer is None else rle.box(layer.rle)
                state = {"frame": picture.index, "keyframe": 1, "outside": 0, "occluded": 0, "z_order": 0}
                if layer is not None and box is not None:
                    shown[number] = self._shape(layer, box)
                    _add_attributes(element(tag, {**state, **shown[number]}, track), layer.object)
                elif number in shown:
                    # "Outside" ends the track here; without it CVAT would draw the last shape on.
                    element(tag, {**state, "outside": 1, **shown.pop(number)}, track)
        return [track for track in tracks.values() if len(track)]

    def _shape(self, layer: Layer, box: np.ndarray) -> dict[str, Any]:
        if self.kind == "boxes":
            return dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{value:.2f}" for value in box), strict=True))
        ring = polygons.single_ring(layer.mask_hw, self.tolerance)
        return {"points": ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)}

    def _add_meta(self, job: Job, root: Element) -> None:
        task = element("task", parent=element("meta", parent=root))
        # A video task counts the frames of the source, an image task the pictures that are there.
        video = self.kind != "masks"
        count = job.source.frame_count if video else len(job.indices(self.every))
        mode = "interpolation" if video else "annotation"
        frames = {"size": count, "mode": mode, "start_frame": 0, "stop_frame": count - 1}
        _add_texts(task, {"name": job.clip, **frames})
        labels = element("labels", parent=task)
        for name, together in by_class(job.objects).items():
            told = {"name": name, "color": hex_color(together[0].color), "type": _LABEL_TYPES[self.kind]}
            label = _add_texts(element("label", parent=labels), told)
            specifications = element("attributes", parent=label)
            for attribute, values in attribute_values(together).items():
                # What CVAT would fill in for shapes that don't say it stands first.
                choices = list(dict.fromkeys(["", *values])) if len(together) > 1 else values
                told = {"name": attribute, "mutable": "False", "input_type": "select", "default_value": choices[0]}
                _add_texts(element("attribute", parent=specifications), {**told, "values": "\n".join(choices)})
        if video:
            size = {"width": job.source.width, "height": job.source.height}
            _add_texts(element("original_size", parent=task), size)


def _add_texts(parent: Element, texts: Mapping[str, Any]) -> Element:
    for tag, text in texts.items():
        element(tag, parent=parent, text=text)
    return parent


def _add_attributes(shape: Element, chosen: ProjectObject) -> None:
    for name, value in chosen.attributes.items():
        element("attribute", {"name": name}, shape, attribute_text(value))
