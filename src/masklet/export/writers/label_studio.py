"""Label Studio: files for its import, as brush masks on pictures or boxes on the video."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from pydantic import Field

from masklet.export.base import DatasetExporter, DatasetOptions, nothing_seen
from masklet.export.classes import attribute_text, attribute_values, by_class
from masklet.export.job import Job, Picture
from masklet.masks import rle
from masklet.project.records import ProjectObject, dumps

_RUN_BITS = (4, 8, 12, 16)  # the lengths of run lengths that one mask may use


class LabelStudioOptions(DatasetOptions):
    kind: Literal["masks", "boxes"] = Field(
        default="masks", description="Brush masks on pictures, or tracked boxes on the video"
    )
    result: Literal["predictions", "annotations"] = Field(
        default="predictions", description="To be checked by a person, or as finished work"
    )
    url: str = Field(
        default="/data/local-files/?d=",
        max_length=1000,
        description="What Label Studio finds the files by, before the file's relative name",
    )

    @property
    def shows(self) -> str:
        """What a task is about, as its setup calls it."""
        return "video" if self.kind == "boxes" else "image"


class LabelStudio(DatasetExporter):
    name = "label-studio"
    title = "Label Studio"
    description = "tasks.json for Label Studio's import with the labelling setup in config.xml"
    template = "images/{clip}_{frame:05d}"
    options: ClassVar[type[LabelStudioOptions]] = LabelStudioOptions

    def write(self, job: Job, options: LabelStudioOptions) -> None:
        tasks = self._boxes(job, options) if options.kind == "boxes" else self._masks(job, options)
        job.output.text("tasks.json", dumps(tasks))
        labels = "".join(
            f'    <Label value={quoteattr(name)} background="#{"{:02x}{:02x}{:02x}".format(*chosen.color)}"/>\n'
            for name, (chosen, *_) in by_class(job.objects).items()
        )
        said = "".join(
            f'  <Choices name={quoteattr(_control(name))} toName="{options.shows}" perRegion="true">\n'
            + "".join(f"    <Choice value={quoteattr(value)}/>\n" for value in values)
            + "  </Choices>\n"
            for name, values in attribute_values(job.objects).items()
        )
        if options.kind == "boxes":
            setup = (
                f'<View>\n  <Labels name="label" toName="video">\n{labels}  </Labels>\n'
                f'  <Video name="video" value="$video" framerate="{float(job.source.rate):g}"/>\n'
                f'  <VideoRectangle name="box" toName="video"/>\n{said}</View>\n'
            )
        else:
            setup = (
                '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
                f'  <BrushLabels name="label" toName="image">\n{labels}  </BrushLabels>\n{said}</View>\n'
            )
        job.output.text("config.xml", setup)

    def _masks(self, job: Job, options: LabelStudioOptions) -> list[dict[str, Any]]:
        tasks = []
        found = 0
        for picture in self.pictures(job, options, tracked_only=True):
            name = job.path(picture, suffix=options.suffix)
            self.write_frame(job, options, picture, name)
            results = self._regions(job, picture)
            found += len(results)
            data = {"image": options.url + quote(name.as_posix()), "frame": picture.index}
            tasks.append({"data": data, options.result: [_answer(job, results, options)]})
        if not found:
            raise nothing_seen()
        return tasks

    @staticmethod
    def _regions(job: Job, picture: Picture) -> list[dict[str, Any]]:
        picture_size = {
            "to_name": "image",
            "original_width": job.source.width,
            "original_height": job.source.height,
            "image_rotation": 0,
        }
        regions = []
        for layer in picture.layers.values():
            if not layer.mask_hw.any():
                continue
            region = {"id": f"object{layer.object.id}_{picture.index}", **picture_size}
            value = {"format": "rle", "rle": pack_brush(layer.mask_hw), "brushlabels": [layer.object.label]}
            score = layer.record.scores.predicted_iou
            regions.append({**region, "type": "brushlabels", "from_name": "label", "score": score, "value": value})
            regions += [region | said for said in _choices(layer.object)]
        return regions

    def _boxes(self, job: Job, options: LabelStudioOptions) -> list[dict[str, Any]]:
        source = job.source
        sequences: dict[int, list[dict[str, Any]]] = {number: [] for number in job.ids}
        for picture in job.pictures(job.indices(options.every), pixels=False):
            for number, sequence in sequences.items():
                layer = picture.layers.get(number)
                box = None if layer is None else rle.box(layer.rle)
                if box is None:
                    if sequence:
                        sequence[-1]["enabled"] = False  # the box isn't drawn on until the next key frame
                    continue
                left, top, right, bottom = (float(value) for value in box)
                sequence.append(
                    {
                        "frame": picture.index + 1,
                        "time": float(source.time_of(picture.index)),
                        "x": 100 * left / source.width,
                        "y": 100 * top / source.height,
                        "width": 100 * (right - left) / source.width,
                        "height": 100 * (bottom - top) / source.height,
                        "rotation": 0,
                        "enabled": True,
                    }
                )
        results = []
        for chosen in job.objects:
            if not sequences[chosen.id]:
                continue
            region = {"id": f"object{chosen.id}", "to_name": "video"}
            value = {
                "framesCount": source.frame_count,
                "duration": float(source.frame_count / source.rate),
                "sequence": sequences[chosen.id],
                "labels": [chosen.label],
            }
            results.append({**region, "type": "videorectangle", "from_name": "box", "value": value})
            results += [region | said for said in _choices(chosen)]
        if not results:
            raise nothing_seen()
        video = options.url + quote(PurePosixPath(source.path.replace("\\", "/")).name)
        return [{"data": {"video": video}, options.result: [_answer(job, results, options)]}]


def _control(attribute: str) -> str:
    """What the setup calls the choices of an attribute, beside its own parts."""
    return f"{attribute}_" if attribute in ("box", "image", "label", "video") else attribute


def _choices(chosen: ProjectObject) -> list[dict[str, Any]]:
    """An object's attributes, as what was chosen about its region."""
    return [
        {"type": "choices", "from_name": _control(name), "value": {"choices": [attribute_text(value)]}}
        for name, value in chosen.attributes.items()
    ]


def _answer(job: Job, results: list[dict[str, Any]], options: LabelStudioOptions) -> dict[str, Any]:
    if options.result == "annotations":
        return {"result": results}
    return {"model_version": f"masklet {job.project.track_settings.model}", "result": results}


def pack_brush(mask_hw: np.ndarray) -> list[int]:
    """A mask in Label Studio's own run lengths, bytes as a list.

    They describe an RGBA picture, row by row, as a stream of bits: the number of values (32 bits), the bits
    of a value less one (5), four lengths of run lengths less one (4 each); then for each run a 1, which of
    the four lengths it uses (2), the run length less one, and the value.
    """
    flat = mask_hw.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))) * 4
    value = int(flat[0])
    bits = [f"{flat.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    longest = 1 << _RUN_BITS[-1]
    for length in lengths.tolist():
        rest = length
        while rest:
            run = min(rest, longest)
            which = next(i for i, size in enumerate(_RUN_BITS) if run <= 1 << size)
            bits.append(f"1{which:02b}{run - 1:0{_RUN_BITS[which]}b}{255 * value:08b}")
            rest -= run
        value = 1 - value
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))
