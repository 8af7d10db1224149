"""One video of a batch from beginning to end: its project, and the files that are made of it.

Whatever ends this, even `kill -9`, the same call goes on with it: a run goes on bit for bit where it was, and exports
that are complete are not written again, unless what they show was changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from masklet.errors import CancelledError, MaskletError
from masklet.export import get, write
from masklet.jobs.detectors import track_detected
from masklet.jobs.job import JobResult, VideoJob
from masklet.jobs.queue import JobRow, Queue
from masklet.naming import sanitize
from masklet.project import Project
from masklet.results import stretches
from masklet.runs import actions
from masklet.runs.engine import Progress, Stopped
from masklet.runs.request import TrackRequest


def project_path(folder: Path, job: VideoJob) -> Path:
    """Where the project of a job lies in the folder of its batch."""
    return folder / "projects" / f"{sanitize(job.name)}.masklet"


def export_path(folder: Path, job: VideoJob, format: str) -> Path:
    """Where an export of a job goes; the format adds its suffix, unless a name such as `shot.v2` seems to have one."""
    name, extensions = sanitize(job.name), get(format).extensions
    return folder / "exports" / format / (name + extensions[0] if "." in name and extensions else name)


def stamp_of(path: Path) -> str:
    """Another one once something was written to a project's file, or to its log; empty where there is none."""
    found = []
    for place in (path, path.with_name(f"{path.name}-wal")):
        try:
            about = place.stat()
        except OSError:
            continue
        if about.st_size:  # a log without anything in it is there while somebody has the project open
            found.append(f"{about.st_mtime_ns} {about.st_size}")
    return ", ".join(found)


def is_outdated(row: JobRow, digest: str) -> bool:
    """Whether exports of a job that is done show something else than its project does now."""
    return row.state == "done" and any(row.written.get(export.format) != digest for export in row.job.exports)


def export_corrected(folder: Path, queue: Queue) -> int:
    """Lets videos whose project was corrected after they were done wait for their exports; returns how many."""
    count = 0
    for row in queue.rows("done"):
        path = project_path(folder, row.job)
        stamp = stamp_of(path)
        if not stamp or not row.job.exports or (row.result and row.result.stamp == stamp):
            continue
        try:
            with Project.open(path, read_only=True) as project:
                digest = project.digest()
        except MaskletError:  # whoever writes its exports says what is wrong
            digest = ""
        if is_outdated(row, digest):
            count += queue.export_again(row.number)
    return count


def run_job(
    job: VideoJob,
    folder: Path,
    *,
    defaults: Mapping[str, Any] | None = None,
    anew: bool = False,
    tracked: bool = False,
    written: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    stopped: Stopped = lambda: False,
    wrote: Callable[[str, str], None] = lambda export, digest: None,
) -> JobResult | None:
    """Tracks a video, or goes on with it, and writes its exports. None: it was stopped; the next call goes on.

    Args:
        folder: of the batch.
        defaults: settings for those that the job leaves open.
        anew: a project that is there already is of something else, and gets replaced.
        tracked: it was tracked to its end before, so that only exports are written. Its project may be open elsewhere.
        written: exports that are complete already, with the digest of what they show.
        progress: told before the first frame and after every one.
        stopped: asked after every frame.
        wrote: told of every export that is complete, and of the digest of what it shows.

    Raises MaskletError: the video can't be read, the prompts don't fit it, …
    """
    path = project_path(folder, job)
    seconds, notes = 0.0, list[str]()
    if not tracked:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = _track(job, path, job.request(defaults), anew, progress, stopped)
        if done is None:
            return None
        seconds, notes = done
    stamp = stamp_of(path)
    with Project.open(path, read_only=True) as project:
        digest = project.digest()
        for export in job.exports:
            if (written or {}).get(export.format) == digest:
                continue
            place = export_path(folder, job, export.format)
            try:
                write(project, export.format, place, overwrite=True, notes=notes, cancel=stopped, **export.options)
            except CancelledError:
                return None
            wrote(export.format, digest)
        return _result(project, seconds, notes, stamp)


def _track(
    job: VideoJob, path: Path, request: TrackRequest, anew: bool, progress: Progress | None, stopped: Stopped
) -> tuple[float, list[str]] | None:
    """Tracks a video to its end; returns the seconds that took and notes, or None where it was stopped."""
    seconds, notes = 0.0, list[str]()
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
    return seconds, notes


def _result(project: Project, seconds: float, notes: list[str], stamp: str) -> JobResult:
    scores = {known.name: project.scores(known.id) for known in project.objects()}
    return JobResult(
        model=project.track_settings.model,
        frames=len({row["frame"] for rows in scores.values() for row in rows}),
        seconds=round(seconds, 3),
        lost={name: stretches([row["frame"] for row in rows if row["lost"]]) for name, rows in scores.items()},
        notes=list(dict.fromkeys(notes)),
        stamp=stamp,
    )
