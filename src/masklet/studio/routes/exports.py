"""Exports in every format of the registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from masklet.errors import ExportError
from masklet.studio import schemas
from masklet.studio.app import Studio
from masklet.studio.problems import BusyError, NotFoundError, StudioError
from masklet.studio.routes.common import PROBLEMS, PROJECT, ProjectOf, StudioOf
from masklet.studio.tasks import ExportJob

router = APIRouter(responses=PROBLEMS, tags=["exports"])


@router.get("/api/formats")
def list_formats() -> list[schemas.FormatState]:
    """All export formats with a JSON schema of their options."""
    from masklet.export import registry

    return [
        schemas.FormatState(
            **{name: getattr(exporter, name) for name in ("name", "title", "description", "group", "extensions")},
            options_schema=exporter.model_json_schema(),
        )
        for exporter in registry.formats()
    ]


@router.post(f"{PROJECT}/exports", status_code=202)
def start_export(studio: StudioOf, project: ProjectOf, given: schemas.StartExport) -> schemas.JobState:
    """Writes masks in one format, below the root."""
    from masklet.export import registry
    from masklet.export.job import choose_objects
    from masklet.export.output import check_free
    from masklet.naming import sanitize

    exporter = registry.get(given.format)
    options = _options(studio, exporter.model_fields, given.options)
    opened = project.project
    chosen = choose_objects(opened, given.objects)
    suffix = exporter.extensions[0] if exporter.extensions else ""
    name = sanitize(f"{opened.source.name}_{exporter.name}")
    target = studio.root.export_target(given.path, opened.path.parent, name, suffix, given.overwrite)
    _check_target(studio, target)
    place = registry.place_of(exporter.parse(options), opened, chosen, target)
    check_free(place.path, folder=place.is_folder, overwrite=given.overwrite)
    job = ExportJob(studio.board, project, given, target, options)
    studio.board.run(job)
    return job.snapshot()


@router.get("/api/jobs/{job}/download", response_class=FileResponse)
def download(studio: StudioOf, job: str) -> FileResponse:
    """What an export wrote: its file, or a zip of its folder."""
    export = _finished(studio, job)
    assert export.folder is not None
    if not all(path.is_file() for path in export.written):
        raise NotFoundError("The files of this export are no longer there.")
    if not export.is_folder and len(export.written) == 1:
        [path] = export.written
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")
    folder = Path(tempfile.mkdtemp(prefix="masklet-zip-"))
    packed = folder / f"{export.folder.name}.zip"
    try:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, strict_timestamps=False) as file:
            for path in export.written:
                file.write(path, Path(export.folder.name) / path.relative_to(export.folder))
    except OSError as problem:
        shutil.rmtree(folder, ignore_errors=True)
        raise ExportError(f"The files can't be packed: {problem.strerror or problem}.") from problem
    clean_up = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(packed, filename=packed.name, media_type="application/zip", background=clean_up)


@router.post("/api/jobs/{job}/reveal")
def reveal(studio: StudioOf, job: str) -> schemas.Done:
    """Opens the folder of an export on the screen of this machine."""
    export = _finished(studio, job)
    if not studio.access.local:
        raise StudioError("Folders are opened only when the studio is bound to this machine alone.")
    assert export.folder is not None
    _open_folder(export.folder)
    return schemas.Done()


def _finished(studio: Studio, number: str) -> ExportJob:
    job = studio.board.get(number)
    if not isinstance(job, ExportJob):
        raise StudioError("This job is no export.")
    if job.state != "done":
        raise BusyError(f"This export is {job.state}.")
    return job


def _options(studio: Studio, known: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Options with paths below the root in the place of what the client called them."""
    options = dict(given)
    for name, field in known.items():
        if field.annotation in (Path, Path | None) and isinstance(options.get(name), str):
            options[name] = studio.root.existing(options[name])
    return options


def _check_target(studio: Studio, target: Path) -> None:
    relative = studio.root.relative(target)
    if any(part.startswith(".") for part in Path(relative).parts):
        raise ExportError(f"{relative} is hidden: choose a name that doesn't begin with a dot.")
    if target.suffix == ".masklet":
        raise ExportError("An export can't take the place of a project.")


def _open_folder(folder: Path) -> None:
    if sys.platform == "win32":
        os.startfile(folder)
        return
    program = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if program is None:
        raise StudioError(f"This machine has no program to show folders. It is at {folder}.")
    subprocess.Popen(
        [program, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
