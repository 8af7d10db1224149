"""One video of a batch from beginning to end: its project, and the files that are made of it.

Whatever ends this, even `kill -9`, the same call goes on with it: a run goes on bit for bit where it was, and exports
that are complete are not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from masklet.errors import CancelledError
from masklet.export import get, write
from masklet.jobs.detectors import track_detected
from masklet.jobs.job import JobResult, VideoJob
from masklet.naming import sanitize
from masklet.project import Project
from masklet.results import stretches
from masklet.runs import actions
from masklet.runs.engine import Progress, Stopped


def project_path(folder: Path, job: VideoJob) -> Path:
    """Where the project of a job lies in the folder of its batch."""
    return folder / "projects" / f"{sanitize(job.name)}.masklet"


def export_path(folder: Path, job: VideoJob, format: str) -> Path:
    """Where an export of a job goes; the format adds its suffix, unless a name such as `shot.v2` seems to have one."""
    name, extensions = sanitize(job.name), get(format).extensions
    return folder / "exports" / format / (name + extensions[0] if "." in name and extensions else name)


def run_job(
    job: VideoJob,
    folder: Path,
    *,
    defaults: Mapping[str, Any] | None = None,
    anew: bool = False,
    written: Collection[str] = (),
    progress: Progress | None = None,
    stopped: Stopped = lambda: False,
    wrote: Callable[[str], None] = lambda export: None,
) -> JobResult | None:
    """Tracks a video, or goes on with it, and writes its exports. None: it was stopped; the next call goes on.

    Args:
        folder: of the batch.
        defaults: settings for those that the job leaves open.
        anew: a project that is there already is of something else, and gets replaced.
        written: exports that are complete already.
        progress: told before the first frame and after every one.
        stopped: asked after every frame.
        wrote: told of every export that is complete.

    Raises MaskletError: the video can't be read, the prompts don't fit it, …
    """
    path = project_path(folder, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    request = job.request(defaults)
    seconds, notes = 0.0, []
    if job.detector is not None:
        there = path.exists() and not anew
        wanted = replace(request, overwrite=anew)
        report = track_detected(path, wanted, job.detector, resume=there, progress=progress, stopped=stopped)
        if not report.complete:
            return None
        seconds, notes = report.seconds, report.notes
    elif anew or not path.exists():
        report = actions.begin(path, replace(request, overwrite=anew), progress=progress, stopped=stopped)
        seconds, notes = report.seconds, report.notes
    with Project.open(path) as project:
        if project.run is not None and not stopped():
            report = actions.resume(project, request.device, progress=progress, stopped=stopped)
            seconds, notes = seconds + report.seconds, [*notes, *report.notes]
        if project.run is not None or stopped():
            return None
        for known in project.objects():
            category = job.classes.get(known.name) or job.classes.get(str(known.id))
            if known.category is None and category:
                project.update_object(known.id, category=category)
        for export in job.exports:
            if export.format in written:
                continue
            place = export_path(folder, job, export.format)
            try:
                write(project, export.format, place, overwrite=True, notes=notes, cancel=stopped, **export.options)
            except CancelledError:
                return None
            wrote(export.format)
        return _result(project, seconds, notes)


def _result(project: Project, seconds: float, notes: list[str]) -> JobResult:
    scores = {known.name: project.scores(known.id) for known in project.objects()}
    return JobResult(
        model=project.track_settings.model,
        frames=len({row["frame"] for rows in scores.values() for row in rows}),
        seconds=round(seconds, 3),
        lost={name: stretches([row["frame"] for row in rows if row["lost"]]) for name, rows in scores.items()},
        notes=list(dict.fromkeys(notes)),
    )
