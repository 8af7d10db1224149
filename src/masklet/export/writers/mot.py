"""MOTChallenge: boxes through time, and MOTS: masks through time, as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pydantic import Field

from masklet.errors import ExportError
from masklet.export.base import DatasetExporter, nothing_seen
from masklet.export.job import Job
from masklet.export.labels import label_map, numbered
from masklet.masks import rle
from masklet.masks.boxes import to_xywh
from masklet.masks.rle import RLE
from masklet.project.records import ProjectObject

# The classes that MOTChallenge and MOTS have; other names get numbers that neither uses.
_MOT_CLASSES = {"pedestrian": 1, "person": 1, "car": 3, "bicycle": 4, "motorbike": 5}
_MOTS_CLASSES = {"car": 1, "pedestrian": 2, "person": 2}
_FIRST_FREE = 14


class _MotExporter(DatasetExporter):
    template = "{number:06d}"

    first_frame: int = Field(default=1, ge=0, le=1, description="Number of the first frame (KITTI counts from 0)")
    classes: dict[str, int] = Field(
        default_factory=dict, description="Class numbers by object name, where the usual ones don't fit"
    )

    def instances(self, job: Job, apart: bool = False) -> Iterator[tuple[int, int, list[float], RLE]]:
        """(frame number, object id, box, run-length mask) of everything that can be seen; writes the frames too.

        Boxes are left, top, width, height. Where objects are to be `apart`, no pixel belongs to two of them.
        """
        numbers = numbered(job.objects)
        for picture in self.pictures(job):
            # Pictures are called 000001.jpg for frame 1.
            shown = PurePosixPath("img1", f"{picture.number + self.first_frame:06d}{self.suffix}")
            self.write_frame(job, picture, shown)
            labels = label_map(picture, numbers) if apart else None
            for object_id, layer in picture.layers.items():
                mask = layer.rle if labels is None else rle.encode(labels == numbers[object_id])
                box = rle.box(mask)
                if box is not None:
                    yield picture.number + self.first_frame, object_id, to_xywh(box), mask

    def _finish(self, job: Job, lines: list[str]) -> None:
        if not lines:
            raise nothing_seen()
        frames = len(job.indices(self.every))
        rate = float(job.source.rate / self.every)
        height, width = job.size
        job.output.text("gt/gt.txt", "".join(f"{line}\n" for line in lines))
        job.output.text(
            "seqinfo.ini",
            f"[Sequence]\nname={job.clip}\nimDir=img1\nframeRate={rate:g}\nseqLength={frames}\n"
            f"imWidth={width}\nimHeight={height}\nimExt={self.suffix}\n",
        )


class Mot(_MotExporter):
    title = "MOTChallenge boxes"
    description = "gt/gt.txt with a box per object and frame, seqinfo.ini, and the frames in img1/"

    def write(self, job: Job) -> None:
        classes = class_numbers(job.objects, self.classes, _MOT_CLASSES)
        lines = []
        for number, object_id, (left, top, width, height), _ in self.instances(job):
            # MOTChallenge counts pixels from 1.
            box = f"{left + 1:g},{top + 1:g},{width:g},{height:g}"
            lines.append(f"{number},{object_id},{box},1,{classes[object_id]},1")
        self._finish(job, lines)


class Mots(_MotExporter):
    title = "MOTS masks"
    description = "gt/gt.txt with a run-length mask per object and frame; objects don't overlap"

    def write(self, job: Job) -> None:
        classes = class_numbers(job.objects, self.classes, _MOTS_CLASSES)
        instances = numbered(job.objects)
        if len(instances) > 999:
            raise ExportError(f"MOTS tells at most 999 objects of a class apart, but there are {len(instances)}.")
        height, width = job.size
        lines = [
            f"{number} {classes[object_id] * 1000 + instances[object_id]} {classes[object_id]} "
            f"{height} {width} {mask['counts']}"
            for number, object_id, _, mask in self.instances(job, apart=True)
        ]
        self._finish(job, lines)


def class_numbers(objects: list[ProjectObject], given: dict[str, int], usual: dict[str, int]) -> dict[int, int]:
    """A class for every object by id: as given, as usual for its class, or the next free number."""
    classes: dict[int, int] = {}
    named: dict[str, int] = {}
    for chosen in objects:
        name = chosen.label.casefold()
        if chosen.label in given:
            classes[chosen.id] = given[chosen.label]
        elif name in usual:
            classes[chosen.id] = usual[name]
        else:
            taken = {*given.values(), *named.values()}
            named.setdefault(name, next(n for n in range(_FIRST_FREE, 10_000) if n not in taken))
            classes[chosen.id] = named[name]
    return classes
