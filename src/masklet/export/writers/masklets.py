"""masklets.json: every mask as run lengths with its scores, the prompts and settings. docs/cli.md has its fields."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from masklet import __version__
from masklet.export.base import Exporter, FrameOptions
from masklet.export.job import Job

_FORMAT, _VERSION = "masklet.masklets", 1


class MaskletsOptions(FrameOptions):
    folder: str | None = Field(default=None, description="Where PNG masks lie: a folder with one for each object")


class MaskletsJson(Exporter):
    name = "masklets-json"
    title = "masklets.json"
    description = "Every mask as COCO run lengths with its scores, the prompts and the settings"
    group = "dataset"
    extensions = (".json",)
    soft = False
    options: ClassVar[type[MaskletsOptions]] = MaskletsOptions

    def write(self, job: Job, options: MaskletsOptions) -> None:
        # A line a frame, so that long files can be read line by line.
        head = json.dumps(_header(job, options), allow_nan=False, ensure_ascii=False, indent=1)
        with job.output.file().open("w", encoding="utf-8", newline="\n") as file:
            file.write(head.removesuffix("\n}"))
            file.write(',\n "frames": [')
            for picture in job.pictures(job.indices(options.every, tracked_only=True), pixels=False):
                layers = [picture.layers[number] for number in sorted(picture.layers)]
                entry = {
                    "frame": picture.index,
                    "time": round(float(job.source.time_of(picture.index)), 6),
                    "objects": [replace(layer.record, run_lengths=layer.rle).to_json() for layer in layers],
                }
                file.write(",\n  " if picture.number else "\n  ")
                file.write(json.dumps(entry, allow_nan=False, separators=(",", ":")))
            file.write("\n ]\n}\n")


def _header(job: Job, options: MaskletsOptions) -> dict[str, Any]:
    project, source = job.project, job.source
    settings, asked = project.track_settings, project.asked
    said = sorted(project.said().items())
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "masklet": __version__,
        "source": {
            "path": source.path,
            "width": source.width,
            "height": source.height,
            "frame_count": source.frame_count,
            "rate": str(source.rate),
            "duration": round(float(source.time_of(source.frame_count - 1) + 1 / source.rate), 6),
            "fingerprint": source.fingerprint,
        },
        "settings": {
            "model": settings.model,
            "checkpoint": settings.checkpoint,
            "resolution": asked.resolution if asked else settings.resolution,
            "dtype": asked.dtype if asked else settings.dtype,
            "policy": settings.policy,
            "policy_settings": settings.policy_options,
            "direction": asked.direction if asked else None,
            "first_frame": asked.first if asked else job.start,
            "last_frame": asked.last if asked else job.stop - 1,
        },
        "complete": project.run is None,
        "objects": [
            {
                "id": chosen.id,
                "name": chosen.name,
                "color": "#{:02x}{:02x}{:02x}".format(*chosen.color),
                **({} if options.folder is None else {"folder": f"{options.folder}/{job.object_names[chosen.id]}"}),
                "prompts": [
                    {"frame": frame, **prompt.to_json()}
                    for (frame, number), prompts in said
                    for prompt in prompts
                    if number == chosen.id
                ],
            }
            for chosen in job.objects
        ],
    }
