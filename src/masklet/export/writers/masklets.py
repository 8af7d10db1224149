"""masklets.json: every mask as run lengths with its scores, the prompts and settings. docs/cli.md has its fields."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pydantic import Field

from masklet import __version__
from masklet.atomic import atomic_path
from masklet.export.base import FramesExporter, Put, StreamExporter
from masklet.export.job import Job, Picture
from masklet.masks.palette import hex_color
from masklet.project.store import Project
from masklet.results import stretches

_FORMAT, _VERSION = "masklet.masklets", 1


class MaskletsJson(StreamExporter, FramesExporter):
    title = "masklets.json"
    description = "Every mask as COCO run lengths with its scores, the prompts and the settings"
    group = "dataset"
    extensions = (".json",)
    soft_edges = False
    pixels = False

    folder: str | None = Field(default=None, description="Where PNG masks lie: a folder with one for each object")

    @contextmanager
    def stream(self, job: Job) -> Iterator[Put]:
        # A line a frame, so that long files can be read line by line. The header is known at the end.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:

            def put(picture: Picture) -> None:
                if picture.layers:
                    lines.write(f"{',' if lines.tell() else ''}\n  {_entry(job, picture)}")

            yield put
            head = json.dumps(_header(job, self.folder), allow_nan=False, ensure_ascii=False, indent=1)
            lines.seek(0)
            with (
                atomic_path(job.output.file()) as temporary,
                temporary.open("w", encoding="utf-8", newline="\n") as file,
            ):
                file.write(head.removesuffix("\n}") + ',\n "frames": [')
                shutil.copyfileobj(lines, file)
                file.write("\n ]\n}\n")


def _entry(job: Job, picture: Picture) -> str:
    layers = [picture.layers[number] for number in sorted(picture.layers)]
    masks = [layer.record if layer.untouched else replace(layer.record, run_lengths=layer.rle) for layer in layers]
    entry = {
        "frame": picture.index,
        "time": round(float(job.source.time_of(picture.index)), 6),
        "objects": [mask.to_json() for mask in masks],
    }
    return json.dumps(entry, allow_nan=False, separators=(",", ":"))


def _header(job: Job, folder: str | None) -> dict[str, Any]:
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
            "shape": settings.shape,
            "zoom": settings.zoom,
            "dtype": asked.dtype if asked else settings.dtype,
            "policy": settings.policy,
            "policy_settings": settings.policy_options,
            "direction": asked.direction if asked else None,
            "first_frame": asked.first if asked else job.frames[0],
            "last_frame": asked.last if asked else job.frames[-1],
        },
        "complete": project.run is None,
        "objects": [
            {
                "id": chosen.id,
                "name": chosen.name,
                "color": hex_color(chosen.color),
                **({"category": chosen.category} if chosen.category else {}),
                **({"attributes": chosen.attributes} if chosen.attributes else {}),
                **_seen(project, chosen.id),
                **({} if folder is None else {"folder": f"{folder}/{job.object_names[chosen.id]}"}),
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


def _seen(project: Project, object_id: int) -> dict[str, Any]:
    """Stretches on which an object could not be seen, and the frames on which it was found again."""
    scores = project.scores(object_id)
    return {
        "lost": stretches([row["frame"] for row in scores if row["lost"]]),
        "found_again": [row["frame"] for row in scores if row["found_again"]],
    }
