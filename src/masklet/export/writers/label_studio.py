"""Label Studio: files for its import, as brush masks on pictures or boxes on the video."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from pydantic import Field

from masklet.export.base import DatasetExporter, nothing_seen
from masklet.export.classes import attribute_text, attribute_values, by_class
from masklet.export.job import Job, Picture
from masklet.export.xml import document, element
from masklet.masks import rle
from masklet.masks.boxes import to_xywh
from masklet.masks.palette import hex_color
from masklet.project.records import ProjectObject, dumps

_RUN_BITS = (4, 8, 12, 16)  # the lengths of run lengths that one mask may use


class LabelStudio(DatasetExporter):
    title = "Label Studio"
    description = "tasks.json for Label Studio's import with the labelling setup in config.xml"
    template = "images/{clip}_{frame:05d}"

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

    def write(self, job: Job) -> None:
        view = element("View")
        if self.kind == "boxes":
            tasks = self._boxes(job)
            labels = element("Labels", {"name": "label", "toName": "video"}, view)
            video = {"name": "video", "value": "$video", "framerate": f"{float(job.source.rate):g}"}
            element("Video", video, view)
            element("VideoRectangle", {"name": "box", "toName": "video"}, view)
        else:
            tasks = self._masks(job)
            element("Image", {"name": "image", "value": "$image", "zoom": "true"}, view)
            labels = element("BrushLabels", {"name": "label", "toName": "image"}, view)
        for name, (chosen, *_) in by_class(job.objects).items():
            element("Label", {"value": name, "background": hex_color(chosen.color)}, labels)
        about = "video" if self.kind == "boxes" else "image"
        for name, values in attribute_values(job.objects).items():
            said = element("Choices", {"name": _control(name), "toName": about, "perRegion": "true"}, view)
            for value in values:
                element("Choice", {"value": value}, said)
        job.output.text("tasks.json", dumps(tasks))
        job.output.text("config.xml", document(view))

    def _masks(self, job: Job) -> list[dict[str, Any]]:
        tasks = []
        for picture in self.pictures(job, tracked_only=True):
            name = job.path(picture, suffix=self.suffix)
            self.write_frame(job, picture, name)
            data = {"image": self.url + quote(name.as_posix()), "frame": picture.index}
            tasks.append(self._task(job, data, self._regions(job, picture)))
        if not any(task[self.result][0]["result"] for task in tasks):
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

    def _boxes(self, job: Job) -> list[dict[str, Any]]:
        source = job.source
        shares = 100 / np.array([source.width, source.height] * 2)
        sequences: dict[int, list[dict[str, Any]]] = {number: [] for number in job.ids}
        for picture in job.pictures(job.indices(self.every), pixels=False):
            moment = {"frame": picture.index + 1, "time": float(source.time_of(picture.index))}
            for number, sequence in sequences.items():
                layer = picture.layers.get(number)
                box = None if layer is None else rle.box(layer.rle)
                if box is not None:
                    place = dict(zip(("x", "y", "width", "height"), (shares * to_xywh(box)).tolist(), strict=True))
                    sequence.append({**moment, **place, "rotation": 0, "enabled": True})
                elif sequence:
                    sequence[-1]["enabled"] = False  # the box isn't drawn on until the next key frame
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
        video = self.url + quote(PurePosixPath(source.path.replace("\\", "/")).name)
        return [self._task(job, {"video": video}, results)]

    def _task(self, job: Job, data: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
        by = {} if self.result == "annotations" else {"model_version": f"masklet {job.project.track_settings.model}"}
        return {"data": data, self.result: [{**by, "result": results}]}


def _control(attribute: str) -> str:
    """What the setup calls the choices of an attribute, beside its own parts."""
    return f"{attribute}_" if attribute in ("box", "image", "label", "video") else attribute


def _choices(chosen: ProjectObject) -> list[dict[str, Any]]:
    """An object's attributes, as what was chosen about its region."""
    return [
        {"type": "choices", "from_name": _control(name), "value": {"choices": [attribute_text(value)]}}
        for name, value in chosen.attributes.items()
    ]


def pack_brush(mask_hw: np.ndarray) -> list[int]:
    """A mask in Label Studio's own run lengths, bytes as a list.

    They describe an RGBA picture, row by row, as a stream of bits: the number of values (32 bits), the bits
    of a value less one (5), four lengths of run lengths less one (4 each); then for each run a 1, which of
    the four lengths it uses (2), the run length less one, and the value.
    """
    bits = [f"{mask_hw.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    for number, length in enumerate(rle.row_runs(mask_hw)):
        rest = 4 * length
        while rest:
            run = min(rest, 1 << _RUN_BITS[-1])
            which = next(i for i, size in enumerate(_RUN_BITS) if run <= 1 << size)
            bits.append(f"1{which:02b}{run - 1:0{_RUN_BITS[which]}b}{255 * (number % 2):08b}")
            rest -= run
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))
