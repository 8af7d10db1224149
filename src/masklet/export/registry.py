"""Which formats there are, and the one way to write them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from masklet.errors import ExportError, MediaError
from masklet.export.base import Exporter
from masklet.export.job import Cancel, Job, Progress, choose_objects, frames_between, require_masks
from masklet.export.output import Output
from masklet.naming import NameTemplate, sanitize
from masklet.project.finishing import Finishing
from masklet.project.records import ProjectObject
from masklet.project.store import Project
from masklet.sources import Sources

_FORMATS = "masklet.export.writers"

#: Name of a format: where its class is. In the order in which they are shown.
REGISTRY: dict[str, str] = {
    "prores4444": "videos:ProRes4444",
    "vp9-alpha": "videos:Vp9Alpha",
    "ffv1-alpha": "videos:Ffv1Alpha",
    "h264-matte": "videos:H264Matte",
    "h265-matte": "videos:H265Matte",
    "overlay": "videos:Overlay",
    "screen": "videos:Screen",
    "blur": "videos:Blur",
    "background": "videos:Background",
    "grey-out": "videos:GreyOut",
    "png-mask": "sequences:PngMask",
    "png16": "sequences:Png16",
    "png-rgba": "sequences:PngRgba",
    "exr": "sequences:Exr",
    "tiff": "sequences:Tiff",
    "coco": "coco:Coco",
    "yolo-seg": "yolo:YoloSeg",
    "yolo-boxes": "yolo:YoloBoxes",
    "davis": "vos:Davis",
    "youtube-vos": "vos:YouTubeVos",
    "mot": "mot:Mot",
    "mots": "mot:Mots",
    "masklets-json": "masklets:MaskletsJson",
    "label-studio": "label_studio:LabelStudio",
    "cvat": "cvat:Cvat",
    "csv": "tables:Csv",
    "npz": "tables:Npz",
    "cutout": "stills:Cutout",
    "svg": "stills:Svg",
    "gif": "animation:Gif",
    "webp": "animation:Webp",
}


def get(name: str) -> type[Exporter]:
    """The format with this name, without its options. Raises ExportError that names similar ones."""
    place = REGISTRY.get(name)
    if place is None:
        near = difflib.get_close_matches(name, REGISTRY, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else f"There are: {', '.join(REGISTRY)}."
        raise ExportError(f"There is no export format {name!r}. {hint}")
    module, _, kind = place.partition(":")
    exporter: type[Exporter] = getattr(import_module(f"{_FORMATS}.{module}"), kind)
    exporter.name = name
    return exporter


def formats() -> list[type[Exporter]]:
    """Every format, in the order in which they are shown."""
    return [get(name) for name in REGISTRY]


def write(
    project: Project | str | os.PathLike[str],
    format: str,
    path: str | os.PathLike[str],
    *,
    objects: Sequence[int | str] | None = None,
    start: int | None = None,
    end: int | None = None,
    settings: Mapping[str, Any] | None = None,
    template: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    notes: list[str] | None = None,
    **options: Any,
) -> list[Path]:
    """Writes a project's masks in one format and returns the files, complete; or raises and leaves nothing.

    `path` is a file, or a folder for formats with many files; a folder is taken for a single file too, which
    is then named by the template. `objects` are ids or names, all visible ones by default. `start` and `end`
    are the first and the last frame, both included. `settings` finish every mask (fields of `MaskSettings`)
    in place of those that the project has for each object. `template` names files, see
    `masklet.naming`. `progress` is called with (frames done, frames in all); `cancel` is an event or a
    function that returns True to stop. `notes` gets what the user should know about the files. `options` are
    the format's own, see `masklet formats`.

    Raises ExportError where nothing would be written or files are in the way, SourceError where it would write over a
    source (a file that is read or that a project is about), CancelledError when it was stopped, UnknownObjectError,
    ProjectError (the source isn't found), MediaError (it can't be read).
    """
    exporter = get(format).parse(options)
    output = None
    with ExitStack() as stack:
        stack.enter_context(Sources(*(value for _, value in exporter if isinstance(value, Path))))
        if not isinstance(project, Project):
            project = stack.enter_context(Project.open(project, read_only=True))
        try:
            chosen = choose_objects(project, objects)
            frames = frames_between(project.source, start, end)
            place = place_of(exporter, project, chosen, path, template)
            output = Output(place.path, folder=place.is_folder, overwrite=overwrite)
            stack.callback(output.discard)
            finishing = Finishing(project, chosen, settings, soft=exporter.soft_edges)
            job = Job(project, format, chosen, frames, finishing, place.template, output, progress, cancel)
            require_masks(job)
            exporter.write(job)
            written = output.commit()
            if notes is not None:
                notes.extend(job.notes)
            return written
        except MediaError as problem:
            # Its message names the place where the file was being made, which is gone.
            raise MediaError(str(problem) if output is None else output.public(str(problem))) from problem
        except OSError as problem:
            reason = problem.strerror or problem
            raise ExportError(f"Can't write {path}: {reason}. Nothing of it was kept.") from problem


class ExportPlace(NamedTuple):
    """Where an export goes: one file, or a folder whose files are named by the template."""

    path: Path
    is_folder: bool
    template: str


def place_of(
    exporter: Exporter,
    project: Project,
    objects: Sequence[ProjectObject],
    path: str | os.PathLike[str],
    template: str | None = None,
) -> ExportPlace:
    """Where an export of these objects goes that was asked for at `path`. Raises ExportError for a wrong suffix."""
    many = exporter.splits and len(objects) > 1
    pattern = template or (f"{exporter.template}_{{object}}" if many else exporter.template)
    target = Path(path)
    if not exporter.extensions or many:
        return ExportPlace(target, True, pattern)
    if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        named = NameTemplate(pattern).fill({"clip": sanitize(project.source.name), "format": exporter.name})
        return ExportPlace(target / f"{named}{exporter.extensions[0]}", False, pattern)
    if not target.suffix:
        return ExportPlace(target.with_name(target.name + exporter.extensions[0]), False, pattern)
    if target.suffix.lower() not in exporter.extensions:
        allowed = " or ".join(exporter.extensions)
        raise ExportError(f"{target.name} has the wrong suffix: the format {exporter.name} writes {allowed}.")
    return ExportPlace(target, False, pattern)
