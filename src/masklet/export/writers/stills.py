"""One frame: the object on a transparent background, or its outline as vector graphics."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from masklet.errors import ExportError
from masklet.export.base import Exporter, Tolerance
from masklet.export.imaging import write_picture
from masklet.export.job import Job, Picture
from masklet.export.xml import document, element
from masklet.masks import polygons, render
from masklet.masks.boxes import mask_slices
from masklet.masks.palette import hex_color


class _Still(Exporter):
    group = "still"

    frame: int | None = Field(default=None, ge=0, description="Which frame; the first that shows the object by default")

    def picture(self, job: Job, pixels: bool) -> Picture:
        """The frame that was asked for, or the first on which an object can be seen. Raises ExportError for none."""
        frame = self.frame
        if frame is not None and frame not in job.frames:
            raise ExportError(f"Frame {frame} is not among the frames to export, {job.frames[0]} to {job.frames[-1]}.")
        seen = [
            record.frame
            for record in job.project.masks(job.ids, job.frames.start, job.frames.stop)
            if record.area and (frame is None or record.frame == frame)
        ]
        for index in dict.fromkeys(seen):
            [picture] = job.pictures([index], pixels=pixels)
            if picture.alpha_hw().any():
                return picture
        place = f"on frame {frame}" if frame is not None else f"in frames {job.frames[0]} to {job.frames[-1]}"
        raise ExportError(f"Nothing to export: no object can be seen {place}.")


class Cutout(_Still):
    title = "Cut-out still"
    description = "One frame as PNG with transparent background, cut to the object"
    extensions = (".png",)

    crop: bool = Field(default=True, description="Cut the picture to the object; off keeps the whole frame's size")
    margin: int = Field(default=0, ge=0, le=10_000, description="Pixels kept around the object")
    clear_outside: bool = Field(default=True, description="Black where nothing can be seen")

    def write(self, job: Job) -> None:
        picture = self.picture(job, pixels=True)
        opacity = picture.alpha_hw()
        cut = render.cutout(picture.image_hwc, opacity, clear_outside=self.clear_outside)
        if self.crop:
            where = mask_slices(opacity, self.margin)
            assert where is not None
            cut = cut[where]
        write_picture(job.output.file(), cut)


class Svg(_Still):
    title = "SVG outline"
    description = "The outlines of one frame as SVG, one path with holes per object, in pixels of the source"
    soft_edges = False
    extensions = (".svg",)

    tolerance: Tolerance = 0.5
    fill: bool = Field(default=False, description="Fill the shapes instead of drawing their outline")

    def write(self, job: Job) -> None:
        picture = self.picture(job, pixels=False)
        height, width = job.size
        size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
        root = element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size})
        for layer in picture.layers.values():
            shown, outlines = layer.object, polygons.to_polygons(layer.mask_hw, self.tolerance)
            if not outlines:
                continue
            color = hex_color(shown.color)
            paint = {"fill": color} if self.fill else {"fill": "none", "stroke": color, "stroke-width": 2}
            data = "".join(_path(ring) for outline in outlines for ring in outline.rings)
            named = {"id": f"object-{shown.id}", "data-name": shown.name}
            path = element("path", {**named, **paint, "fill-rule": "evenodd", "d": data}, root)
            element("title", parent=path, text=shown.name)
        if not len(root):
            raise ExportError(f"Nothing to export: no object has an outline on frame {picture.index}.")
        job.output.text(None, document(root))


def _path(ring_n2: np.ndarray) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in ring_n2) + "Z"
