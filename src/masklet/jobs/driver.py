"""Drives a batch: gives a team of workers what the queue has, until nothing waits any more.

A team is who does the work: processes of this machine (`local`), or tasks of a cluster (`ray_cluster`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from masklet.errors import BatchError
from masklet.jobs.queue import JobRow, Queue, State
from masklet.jobs.work import Outcome

QUEUE_FILE = "batch.sqlite"
_LOCK_FILE = ".batch.lock"
_TURN = 0.4  # seconds between two looks at the team


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is.

    Attributes:
        counts: jobs by state.
        frames: tracked, and in all of the videos whose length is known.
        working: what every worker is at: its number, the job's name, frames done and in all.
    """

    counts: Mapping[State, int]
    frames: tuple[int, int]
    working: Mapping[int, tuple[str, int, int]]


class Team(Protocol):
    """Who works on a batch."""

    @property
    def busy(self) -> bool:
        """Whether somebody works, or is being told to stop."""

    @property
    def working(self) -> Mapping[int, tuple[str, int, int]]:
        """What everybody is at (see `BatchProgress.working`)."""

    def turn(self, queue: Queue, stopping: bool) -> None:
        """Hears what workers have to say, and sees to it that as many work as should: none any more if `stopping`."""

    def wait(self, seconds: float) -> None:
        """Waits so long, or until somebody is done."""

    def disband(self, queue: Queue) -> None:
        """Ends everybody at once; what they were at waits again."""


def open_queue(folder: str | os.PathLike[str], *, make: bool = True) -> Queue:
    """The queue of the batch in a folder. Raises BatchError."""
    folder = Path(folder)
    if make:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BatchError(f"Can't make the folder {folder}: {problem.strerror or problem}.") from problem
    return Queue(folder / QUEUE_FILE, make=make)


def drive(
    folder: Path,
    team: Team,
    progress: Callable[[BatchProgress], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[State, int]:
    """Lets a team work on the queue in a folder until nothing waits any more, and returns how many jobs are in every
    state.

    Args:
        progress: told about twice a second.
        stopped: asked as often; once it says yes, every worker finishes its frame, and the rest waits.

    Raises BatchError: another process works on this batch, or its queue can't be used.
    """
    with _alone(folder), open_queue(folder, make=False) as queue:
        # Nobody else is there, so whatever runs was left by workers that are gone.
        for row in list(queue.rows("running")):
            queue.release(row.number, str(row.worker))
        try:
            while True:
                stopping = stopped()
                team.turn(queue, stopping)
                if progress is not None:
                    progress(BatchProgress(queue.counts(), queue.frames(), team.working))
                if not team.busy and (stopping or not queue.counts()["waiting"]):
                    return queue.counts()
                team.wait(_TURN)
        finally:
            team.disband(queue)


def settle(queue: Queue, row: JobRow, worker: str, outcome: Outcome, done: int, total: int) -> None:
    """Says in the queue what became of a job. It waits again where it was stopped."""
    if outcome.reason is not None:
        queue.fail(row.number, worker, outcome.reason)
    elif outcome.result is None:
        queue.release(row.number, worker)
    else:
        queue.beat(row.number, worker, done, total)
        queue.finish(row.number, worker, outcome.result)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process drives a batch. Raises BatchError."""
    lock = FileLock(folder / _LOCK_FILE, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BatchError(
            f"Another process works on the batch in {folder}; `masklet batch status` shows how far it is."
        ) from None
    except OSError as problem:
        raise BatchError(f"Can't write in {folder}: {problem.strerror or problem}.") from problem
    try:
        yield
    finally:
        lock.release()
