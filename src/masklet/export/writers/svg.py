"""Outlines as vector graphics."""

from __future__ import annotations

from typing import ClassVar
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from pydantic import Field

from masklet.errors import ExportError
from masklet.export.base import Exporter
from masklet.export.job import Job
from masklet.export.writers.cutout import StillOptions, still
from masklet.masks import polygons


class SvgOptions(StillOptions):
    tolerance: float = Field(
        default=0.5, ge=0, le=100, description="How far in pixels outlines may be off; 0 follows every pixel"
    )
    fill: bool = Field(default=False, description="Fill the shapes instead of drawing their outline")


class Svg(Exporter):
    name = "svg"
    title = "SVG outline"
    description = "The outlines of one frame as SVG, one path with holes per object, in pixels of the source"
    group = "still"
    soft = False
    extensions = (".svg",)
    options: ClassVar[type[SvgOptions]] = SvgOptions

    def write(self, job: Job, options: SvgOptions) -> None:
        picture = still(job, options.frame, pixels=False)
        height, width = job.size
        shapes = []
        for layer in picture.layers.values():
            outlines = polygons.to_polygons(layer.mask_hw, options.tolerance)
            if not outlines:
                continue
            data = "".join(_path(ring) for outline in outlines for ring in outline.rings)
            color = "#{:02x}{:02x}{:02x}".format(*layer.object.color)
            paint = f'fill="{color}"' if options.fill else f'fill="none" stroke="{color}" stroke-width="2"'
            shapes.append(
                f'  <path id="object-{layer.object.id}" data-name={_attribute(layer.object.name)} {paint} '
                f'fill-rule="evenodd" d="{data}"><title>{_text(layer.object.name)}</title></path>\n'
            )
        if not shapes:
            raise ExportError(f"Nothing to export: no object has an outline on frame {picture.index}.")
        job.output.text(
            None,
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">\n{"".join(shapes)}</svg>\n',
        )


def _path(ring_n2: np.ndarray) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in ring_n2) + "Z"


def _text(name: str) -> str:
    # Control characters can't be in XML at all.
    return escape("".join(c if c.isprintable() else " " for c in name))


def _attribute(name: str) -> str:
    return quoteattr("".join(c if c.isprintable() else " " for c in name))
