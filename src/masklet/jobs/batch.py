"""What is made of a batch once its videos are done: data sets over all of them, and the report."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path

from masklet.jobs.merge import merge
from masklet.jobs.queue import Queue
from masklet.jobs.report import write_report


def finish_batch(folder: Path, queue: Queue) -> list[Path]:
    """Joins the data sets of all videos that are done, and writes the report. Returns what was written."""
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
