"""OpenEXR: every object a float layer of its own, as Nuke and its relatives take it."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
from pydantic import Field

from masklet.export.base import Exporter, FrameOptions
from masklet.export.imaging import to_float
from masklet.export.job import Job
from masklet.project.records import ProjectObject

_SRGB_EDGE = 0.04045


class ExrOptions(FrameOptions):
    half: bool = Field(default=False, description="16-bit floats instead of 32-bit: half the size")
    rgb: bool = Field(default=False, description="Also write the picture as scene-linear R, G, B, and all objects as A")


class Exr(Exporter):
    name = "exr"
    title = "OpenEXR layers"
    description = "One EXR per frame with a float channel <object>.A per object, ZIP-compressed scan lines"
    group = "sequence"
    template = "{clip}_{frame:05d}"
    options: ClassVar[type[ExrOptions]] = ExrOptions

    def write(self, job: Job, options: ExrOptions) -> None:
        from masklet.media.exr import write_exr

        layers = layer_names(job.objects)
        for picture in job.pictures(job.indices(options.every), pixels=options.rgb):
            together = to_float(picture.alpha_hw())
            channels: dict[str, np.ndarray] = {}
            if options.rgb:
                # EXR holds light, not screen values, and its colours are multiplied by opacity.
                linear = to_linear(picture.image_hwc) * together[..., None]
                channels = {name: linear[..., place] for place, name in enumerate("RGB")}
                channels["A"] = together
            for chosen in job.objects:
                channels[f"{layers[chosen.id]}.A"] = to_float(picture.alpha_hw([chosen.id]))
            write_exr(
                job.output.file(job.path(picture, suffix=".exr")),
                channels,
                half=options.half,
                pixel_aspect=float(job.source.pixel_aspect),
                rate=job.source.rate / options.every,
                metadata={"masklet/source": job.source.name, "masklet/frame": str(picture.index)},
            )


def layer_names(objects: list[ProjectObject]) -> dict[int, str]:
    """A layer name for every object by id: what Nuke allows (letters, digits, _), unlike any other."""
    names: dict[int, str] = {}
    for chosen in objects:
        name = re.sub(r"\W+", "_", chosen.name, flags=re.ASCII).strip("_")
        if not name or name[0].isdigit():
            name = f"object_{name or chosen.id}"
        if name.casefold() in {taken.casefold() for taken in names.values()} or name.casefold() in {"rgba", "depth"}:
            name = f"{name}_{chosen.id}"
        names[chosen.id] = name
    return names


def to_linear(image_hwc: np.ndarray) -> np.ndarray:
    """sRGB uint8 as scene-linear float32, 0 to 1."""
    values = np.arange(256, dtype=np.float32) / 255
    table = np.where(values <= _SRGB_EDGE, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[image_hwc]
