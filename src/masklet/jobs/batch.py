"""What is made of a batch once its videos are done: data sets over all of them, and the report."""

from __future__ import annotations

from pathlib import Path

from masklet.jobs.merge import merge
from masklet.jobs.queue import Queue
from masklet.jobs.report import write_report


def finish_batch(folder: Path, queue: Queue) -> list[Path]:
    """Joins the data sets of all videos that are done, and writes the report. Returns what was written."""
    return [*merge(folder, queue.rows("done")), *write_report(folder, queue.rows())]
