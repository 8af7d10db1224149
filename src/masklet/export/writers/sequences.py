"""Picture sequences: masks and cut-outs as PNG and TIFF, a file per frame and object or per frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from masklet.export.base import FrameOptions, Put, StreamExporter
from masklet.export.imaging import to_16_bit, write_mask, write_picture
from masklet.export.job import Job, Picture
from masklet.masks import render


class SequenceOptions(FrameOptions):
    merge: bool = Field(default=False, description="All objects in one picture instead of one file per object")
    blank: bool = Field(default=True, description="A picture also where an object was not tracked; off: no file")


class PngRgbaOptions(SequenceOptions):
    merge: bool = Field(default=True, description="All objects in one picture; off: one file per object")
    alpha: Literal["straight", "premultiplied"] = Field(
        default="straight", description="Colours as they are, or multiplied by opacity as compositing wants them"
    )
    bits: Literal[8, 16] = Field(default=8, description="Bits per channel")
    clear_outside: bool = Field(default=False, description="Straight alpha: black where nothing can be seen")


class TiffOptions(SequenceOptions):
    content: Literal["mask", "mask16", "cutout"] = Field(
        default="mask", description="Grey mask with 8 or 16 bits, or RGBA cut-out with straight alpha"
    )


class _Sequence(StreamExporter):
    """Black or clear where an object has no mask, so that no frame is missing."""

    group = "sequence"
    template = "{clip}_{object}_{frame:05d}"
    suffix: ClassVar[str] = ".png"
    options: ClassVar[type[SequenceOptions]] = SequenceOptions

    @contextmanager
    def stream(self, job: Job, options: SequenceOptions) -> Iterator[Put]:
        def put(picture: Picture) -> None:
            for chosen in [None] if options.merge else job.objects:
                ids = job.ids if chosen is None else [chosen.id]
                if options.blank or not picture.layers.keys().isdisjoint(ids):
                    place = job.output.file(job.path(picture, chosen, self.suffix))
                    self.save(place, self.image(picture, picture.alpha_hw(ids), options))

        yield put

    def needs_pixels(self, options: Any) -> bool:
        return False

    @staticmethod
    def save(path: Path, image: np.ndarray) -> None:
        write_picture(path, image)

    @staticmethod
    @abstractmethod
    def image(picture: Picture, alpha_hw: np.ndarray, options: Any) -> np.ndarray:
        """What goes into a file, out of an opacity, uint8 0 to 255."""


class PngMask(_Sequence):
    name = "png-mask"
    title = "PNG masks"
    description = "8-bit grey PNG per object and frame: white inside, black outside, grey on soft edges"

    @staticmethod
    def save(path: Path, image: np.ndarray) -> None:
        write_mask(path, image)

    @staticmethod
    def image(picture: Picture, alpha_hw: np.ndarray, options: SequenceOptions) -> np.ndarray:
        return alpha_hw


class Png16(_Sequence):
    name = "png16"
    title = "16-bit PNG masks"
    description = "16-bit grey PNG per object and frame, for tools that want 16 bits"

    @staticmethod
    def image(picture: Picture, alpha_hw: np.ndarray, options: SequenceOptions) -> np.ndarray:
        return to_16_bit(alpha_hw)


class PngRgba(_Sequence):
    name = "png-rgba"
    title = "PNG cut-outs"
    description = "RGBA PNG per frame, straight or premultiplied, with 8 or 16 bits"
    options: ClassVar[type[PngRgbaOptions]] = PngRgbaOptions

    def needs_pixels(self, options: PngRgbaOptions) -> bool:
        return True

    @staticmethod
    def image(picture: Picture, alpha_hw: np.ndarray, options: PngRgbaOptions) -> np.ndarray:
        premultiplied = options.alpha == "premultiplied"
        if options.bits == 8:
            return render.cutout(picture.image_hwc, alpha_hw, premultiplied, options.clear_outside)
        opacity = to_16_bit(alpha_hw)
        colours = picture.image_hwc.astype(np.uint32) * 257
        if premultiplied:
            colours = (colours * opacity[..., None].astype(np.uint64) + 32767) // 65535
        elif options.clear_outside:
            colours = np.where(opacity[..., None] > 0, colours, 0)
        return np.dstack((colours.astype(np.uint16), opacity))


class Tiff(_Sequence):
    name = "tiff"
    title = "TIFF sequence"
    description = "TIFF per object and frame, losslessly compressed: masks (8 or 16 bits) or RGBA cut-outs"
    suffix = ".tiff"
    options: ClassVar[type[TiffOptions]] = TiffOptions

    def needs_pixels(self, options: TiffOptions) -> bool:
        return options.content == "cutout"

    @staticmethod
    def image(picture: Picture, alpha_hw: np.ndarray, options: TiffOptions) -> np.ndarray:
        if options.content == "cutout":
            return render.cutout(picture.image_hwc, alpha_hw)
        return to_16_bit(alpha_hw) if options.content == "mask16" else alpha_hw
