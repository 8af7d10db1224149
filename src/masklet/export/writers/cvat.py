"""CVAT: XML 1.1 for its import, masks on pictures or boxes and polygons as tracks of a video."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal
from xml.etree import ElementTree

import numpy as np
from pydantic import Field

from masklet.export.base import DatasetExporter, DatasetOptions, nothing_seen
from masklet.export.classes import attribute_text, attribute_values, by_class
from masklet.export.job import Job
from masklet.masks import polygons, rle
from masklet.masks.boxes import mask_slices
from masklet.project.finishing import Layer
from masklet.project.records import ProjectObject


class CvatOptions(DatasetOptions):
    kind: Literal["masks", "polygons", "boxes"] = Field(
        default="masks", description="Masks for an image task; polygons or boxes as tracks for a video task"
    )
    tolerance: float = Field(default=1.0, ge=0, le=100, description="How far in pixels polygons may be off")


class Cvat(DatasetExporter):
    name = "cvat"
    title = "CVAT"
    description = "annotations.xml for CVAT: 'for images 1.1' with masks, or 'for video 1.1' with tracks"
    template = "images/frame_{frame:06d}"
    options: ClassVar[type[CvatOptions]] = CvatOptions

    def write(self, job: Job, options: CvatOptions) -> None:
        if options.kind == "masks":
            kind, body = "annotation", self._images(job, options)
        else:
            kind, body = "interpolation", self._tracks(job, options)
        if not any(len(element) for element in body):
            raise nothing_seen()
        root = ElementTree.Element("annotations")
        ElementTree.SubElement(root, "version").text = "1.1"
        root.append(_meta(job, kind, len(job.indices(options.every)), options.kind))
        root.extend(body)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        job.output.text("annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')

    def _images(self, job: Job, options: CvatOptions) -> list[ElementTree.Element]:
        height, width = job.size
        images = []
        for picture in self.pictures(job, options):
            name = job.path(picture, suffix=options.suffix)
            self.write_frame(job, options, picture, name)
            image = _element(
                "image",
                id=picture.number,
                name=name.as_posix().removeprefix("images/"),
                width=width,
                height=height,
            )
            for layer in picture.layers.values():
                where = mask_slices(layer.mask_hw)
                if where is None:
                    continue
                rows, columns = where
                mask = _element(
                    "mask",
                    image,
                    label=layer.object.label,
                    source="semi-auto",
                    occluded=0,
                    rle=", ".join(str(run) for run in runs_by_row(layer.mask_hw[where])),
                    left=columns.start,
                    top=rows.start,
                    width=columns.stop - columns.start,
                    height=rows.stop - rows.start,
                    z_order=0,
                    group_id=layer.object.id,
                )
                _attributes(mask, layer.object)
            images.append(image)
        return images

    def _tracks(self, job: Job, options: CvatOptions) -> list[ElementTree.Element]:
        tracks = {
            chosen.id: _element("track", id=number, label=chosen.label, source="semi-auto")
            for number, chosen in enumerate(job.objects)
        }
        shape = "polygon" if options.kind == "polygons" else "box"
        shown: dict[int, dict[str, Any]] = {}
        for picture in self.pictures(job, options):
            self.write_frame(job, options, picture, job.path(picture, suffix=options.suffix))
            for number, track in tracks.items():
                layer = picture.layers.get(number)
                where = None if layer is None else rle.box(layer.rle)
                if layer is not None and where is not None:
                    shown[number] = _shape(layer, where, options)
                    drawn = _element(shape, track, **_state(picture.index, outside=False), **shown[number])
                    _attributes(drawn, layer.object)
                elif number in shown:
                    # "Outside" ends the track here; without it CVAT would draw the last shape on.
                    _element(shape, track, **_state(picture.index, outside=True), **shown.pop(number))
        return [track for track in tracks.values() if len(track)]


def runs_by_row(mask_hw: np.ndarray) -> Iterator[int]:
    """Run lengths along the rows, the first one outside the mask (0 when the first pixel is inside)."""
    flat = mask_hw.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    if flat[0]:
        yield 0
    yield from np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()


def _shape(layer: Layer, box: np.ndarray, options: CvatOptions) -> dict[str, Any]:
    if options.kind == "boxes":
        return dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{value:.2f}" for value in box), strict=True))
    ring = polygons.joined([part.bridged() for part in polygons.to_polygons(layer.mask_hw, options.tolerance)])
    return {"points": ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)}


def _state(frame: int, outside: bool) -> dict[str, Any]:
    return {"frame": frame, "keyframe": 1, "outside": int(outside), "occluded": 0, "z_order": 0}


def _meta(job: Job, mode: str, size: int, kind: str) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    # A video task counts the frames of the source, an image task the pictures that are there.
    count = job.source.frame_count if mode == "interpolation" else size
    for name, value in (
        ("name", job.clip),
        ("size", count),
        ("mode", mode),
        ("start_frame", 0),
        ("stop_frame", count - 1),
    ):
        ElementTree.SubElement(task, name).text = str(value)
    labels = ElementTree.SubElement(task, "labels")
    for name, together in by_class(job.objects).items():
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = _plain(name)
        ElementTree.SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*together[0].color)
        ElementTree.SubElement(label, "type").text = {"masks": "mask", "polygons": "polygon", "boxes": "rectangle"}[
            kind
        ]
        specifications = ElementTree.SubElement(label, "attributes")
        for attribute, values in attribute_values(together).items():
            specification = ElementTree.SubElement(specifications, "attribute")
            # What CVAT would fill in for shapes that don't say it stands first.
            choices = "\n".join(dict.fromkeys(["", *values])) if len(together) > 1 else "\n".join(values)
            for part, text in (
                ("name", attribute),
                ("mutable", "False"),
                ("input_type", "select"),
                ("default_value", choices.partition("\n")[0]),
                ("values", choices),
            ):
                ElementTree.SubElement(specification, part).text = _plain(text, "\n")
    if mode == "interpolation":
        original = ElementTree.SubElement(task, "original_size")
        ElementTree.SubElement(original, "width").text = str(job.source.width)
        ElementTree.SubElement(original, "height").text = str(job.source.height)
    return meta


def _attributes(shape: ElementTree.Element, chosen: ProjectObject) -> None:
    for name, value in chosen.attributes.items():
        _element("attribute", shape, name=name).text = _plain(attribute_text(value))


def _element(tag: str, parent: ElementTree.Element | None = None, **attributes: Any) -> ElementTree.Element:
    texts = {name: _plain(str(value)) for name, value in attributes.items()}
    return ElementTree.Element(tag, texts) if parent is None else ElementTree.SubElement(parent, tag, texts)


def _plain(text: str, kept: str = "") -> str:
    # Control characters can't be in XML at all.
    return "".join(c if c.isprintable() or c in kept else " " for c in text)
