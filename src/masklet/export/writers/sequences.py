"""Picture sequences: masks and cut-outs as PNG, TIFF and OpenEXR."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from masklet.export.base import FramesExporter, Put, StreamExporter
from masklet.export.imaging import to_16_bit, to_float, write_mask, write_picture
from masklet.export.job import Job, Picture
from masklet.masks import render
from masklet.project.records import ProjectObject

_SRGB_EDGE = 0.04045


class _Sequence(StreamExporter, FramesExporter):
    """A file per frame and object, or per frame: black or clear where an object has no mask, so that no frame is
    missing."""

    group = "sequence"
    template = "{clip}_{object}_{frame:05d}"
    suffix: ClassVar[str] = ".png"
    pixels = False

    merge: bool = Field(default=False, description="All objects in one picture instead of one file per object")
    blank: bool = Field(default=True, description="A picture also where an object was not tracked; off: no file")

    @contextmanager
    def stream(self, job: Job) -> Iterator[Put]:
        def put(picture: Picture) -> None:
            for chosen in [None] if self.merge else job.objects:
                ids = job.ids if chosen is None else [chosen.id]
                if self.blank or not picture.layers.keys().isdisjoint(ids):
                    place = job.output.file(job.path(picture, chosen, self.suffix))
                    self.save(place, self.image(picture, picture.alpha_hw(ids)))

        yield put

    def save(self, path: Path, image: np.ndarray) -> None:
        write_picture(path, image)

    @abstractmethod
    def image(self, picture: Picture, alpha_hw: np.ndarray) -> np.ndarray:
        """What goes into a file, out of an opacity, uint8 0 to 255."""


class PngMask(_Sequence):
    title = "PNG masks"
    description = "8-bit grey PNG per object and frame: white inside, black outside, grey on soft edges"

    def save(self, path: Path, image: np.ndarray) -> None:
        write_mask(path, image)

    def image(self, picture: Picture, alpha_hw: np.ndarray) -> np.ndarray:
        return alpha_hw


class Png16(_Sequence):
    title = "16-bit PNG masks"
    description = "16-bit grey PNG per object and frame, for tools that want 16 bits"

    def image(self, picture: Picture, alpha_hw: np.ndarray) -> np.ndarray:
        return to_16_bit(alpha_hw)


class PngRgba(_Sequence):
    title = "PNG cut-outs"
    description = "RGBA PNG per frame, straight or premultiplied, with 8 or 16 bits"
    pixels = True

    merge: bool = Field(default=True, description="All objects in one picture; off: one file per object")
    alpha: Literal["straight", "premultiplied"] = Field(
        default="straight", description="Colours as they are, or multiplied by opacity as compositing wants them"
    )
    bits: Literal[8, 16] = Field(default=8, description="Bits per channel")
    clear_outside: bool = Field(default=False, description="Straight alpha: black where nothing can be seen")

    def image(self, picture: Picture, alpha_hw: np.ndarray) -> np.ndarray:
        premultiplied = self.alpha == "premultiplied"
        if self.bits == 8:
            return render.cutout(picture.image_hwc, alpha_hw, premultiplied, self.clear_outside)
        opacity = to_16_bit(alpha_hw)
        colours = picture.image_hwc.astype(np.uint32) * 257
        if premultiplied:
            colours = (colours * opacity[..., None].astype(np.uint64) + 32767) // 65535
        elif self.clear_outside:
            colours = np.where(opacity[..., None] > 0, colours, 0)
        return np.dstack((colours.astype(np.uint16), opacity))


class Tiff(_Sequence):
    title = "TIFF sequence"
    description = "TIFF per object and frame, losslessly compressed: masks (8 or 16 bits) or RGBA cut-outs"
    suffix = ".tiff"

    content: Literal["mask", "mask16", "cutout"] = Field(
        default="mask", description="Grey mask with 8 or 16 bits, or RGBA cut-out with straight alpha"
    )

    @property
    def needs_pixels(self) -> bool:
        return self.content == "cutout"

    def image(self, picture: Picture, alpha_hw: np.ndarray) -> np.ndarray:
        if self.content == "cutout":
            return render.cutout(picture.image_hwc, alpha_hw)
        return to_16_bit(alpha_hw) if self.content == "mask16" else alpha_hw


class Exr(FramesExporter):
    title = "OpenEXR layers"
    description = "One EXR per frame with a float channel <object>.A per object, ZIP-compressed scan lines"
    group = "sequence"
    template = "{clip}_{frame:05d}"

    half: bool = Field(default=False, description="16-bit floats instead of 32-bit: half the size")
    rgb: bool = Field(default=False, description="Also write the picture as scene-linear R, G, B, and all objects as A")

    def write(self, job: Job) -> None:
        """Every object is a float layer of its own, as Nuke and its relatives take it."""
        from masklet.media.exr import write_exr

        layers = layer_names(job.objects)
        for picture in job.pictures(job.indices(self.every), pixels=self.rgb):
            together = to_float(picture.alpha_hw())
            channels: dict[str, np.ndarray] = {}
            if self.rgb:
                # EXR holds light, not screen values, and its colours are multiplied by opacity.
                linear = to_linear(picture.image_hwc) * together[..., None]
                channels = {name: linear[..., place] for place, name in enumerate("RGB")}
                channels["A"] = together
            for chosen in job.objects:
                channels[f"{layers[chosen.id]}.A"] = to_float(picture.alpha_hw([chosen.id]))
            write_exr(
                job.output.file(job.path(picture, suffix=".exr")),
                channels,
                half=self.half,
                pixel_aspect=float(job.source.pixel_aspect),
                rate=job.source.rate / self.every,
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
