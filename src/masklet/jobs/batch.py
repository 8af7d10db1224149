"""What is made of a batch once its videos are done: data sets over all of them, and the report."""

from __future__ import annotations

import shutil
import tempfile
from itertools import chain
from pathlib import Path, PurePosixPath

from masklet.jobs.merge import MERGERS, merge
from masklet.jobs.places import Place
from masklet.jobs.queue import Queue
from masklet.jobs.report import summary_path, write_report
from masklet.jobs.work import export_path


def finish_batch(place: Place, queue: Queue) -> list[str]:
    """Joins the data sets of all videos that are done, and writes the report. Returns what was written.

    In a batch at an address, what is joined is fetched from there, and what was made of it is sent there.
    """
    if place.folder is not None:
        return [str(path) for path in _finish(place.folder, queue)]
    with tempfile.TemporaryDirectory(prefix="masklet-") as scratch:
        folder = Path(scratch, PurePosixPath(place.address).name)  # the report is called like the batch
        folder.mkdir()
        for row in queue.rows("done"):
            names = [export_path(folder, row.job, export.format) for export in row.job.exports]
            for path in (path for path in names if path.parent.name in MERGERS):
                place.fetch_all(path.relative_to(folder).as_posix(), path)
            summary = summary_path(folder, row.job)
            place.fetch(summary.relative_to(folder).as_posix(), summary)
        written = [(path, path.relative_to(folder).as_posix()) for path in _finish(folder, queue)]
        for path, name in written:
            place.send_all(path, name) if path.is_dir() else place.send(path, name)
        return [f"{place.address}/{name}" for _, name in written]


def _finish(folder: Path, queue: Queue) -> list[Path]:
    if not queue.counts()["running"]:
        _sweep(folder)
    return [*merge(folder, queue.rows("done")), *write_report(folder, queue.rows())]


def _sweep(folder: Path) -> None:
    """Removes what processes that were killed were writing."""
    for left in chain(folder.glob(".*.part"), folder.glob("*/.*.part"), folder.glob("exports/*/.*.part")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
