"""Drives a batch: gives a team of workers what the queue has, until nothing waits any more.

A team is who does the work: processes of this machine (`local`), or tasks of a cluster (`ray_cluster`).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import platformdirs
from filelock import FileLock, Timeout

from masklet.atomic import atomic_path
from masklet.errors import BatchError, explained
from masklet.jobs.places import Place
from masklet.jobs.queue import QUEUE_FILE, JobRow, Queue, State
from masklet.jobs.work import Outcome
from masklet.naming import sanitize
from masklet.project.database import copy_database

_LOCK_FILE = ".batch.lock"
_DRIVER_FILE = "driver"
_KEPT, _SHARE = 5.0, 10  # seconds between two copies of a queue, and how much more than it takes
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


class QueueHome:
    """Where the queue of a batch lies: in the batch's folder. If that is an address, in a folder of this user's, and a
    copy of it in the batch's place, from which another machine can go on. Whoever begins last drives.

    Attributes:
        place: of the batch.
        folder: in which the queue's file lies.
    """

    def __init__(self, place: Place) -> None:
        """Raises BatchError: the place can't be reached, or nothing can be written here."""
        self.place = place
        self._due = 0.0
        if place.folder is not None:
            self.folder = place.folder
            return
        name = f"{sanitize(place.address)[-40:]}-{hashlib.sha256(place.address.encode()).hexdigest()[:12]}"
        home = os.environ.get("MASKLET_HOME", "").strip()
        base = Path(home).expanduser() if home else platformdirs.user_state_path("masklet", appauthor=False)
        self.folder = base.absolute() / "batches" / name
        self._own = self.folder / _DRIVER_FILE
        if not self._drives():  # another machine drove it since, or this one never did
            place.fetch(QUEUE_FILE, self.folder / QUEUE_FILE)
            for suffix in ("-wal", "-shm"):
                (self.folder / f"{QUEUE_FILE}{suffix}").unlink(missing_ok=True)
        with atomic_path(self._own, error=BatchError) as new:
            new.write_text(secrets.token_hex(16))
        place.send(self._own, _DRIVER_FILE)

    def keep(self, *, now: bool = False) -> None:
        """Copies the queue to the batch's place every few seconds, or now.

        Raises BatchError: another machine drives this batch by now, or the place can't be reached.
        """
        began = time.monotonic()
        if self.place.folder is not None or (began < self._due and not now):
            return
        try:
            drives = self._drives()
            if drives:
                with tempfile.TemporaryDirectory() as scratch:
                    copy = Path(scratch, QUEUE_FILE)
                    copy_database(self.folder / QUEUE_FILE, copy)
                    self.place.send(copy, QUEUE_FILE)
        except BatchError:
            if now:
                raise
            drives = True  # as far as is known; the next time may get there
        if not drives:
            raise BatchError(f"Another machine drives the batch in {self.place.address} now, so this one has stopped.")
        self._due = time.monotonic() + max(_KEPT, (time.monotonic() - began) * _SHARE)

    def _drives(self) -> bool:
        """Whether this machine was the last that began."""
        with tempfile.TemporaryDirectory() as scratch:
            there = Path(scratch, _DRIVER_FILE)
            if not self._own.is_file() or not self.place.fetch(_DRIVER_FILE, there):
                return False
            return there.read_text() == self._own.read_text()


def open_queue(folder: str | os.PathLike[str], *, make: bool = True) -> Queue:
    """The queue of the batch in a folder. Raises BatchError."""
    folder = Path(folder)
    if make:
        with explained(BatchError, f"Can't make the folder {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
    return Queue(folder / QUEUE_FILE, make=make)


@contextmanager
def look_at_queue(place: Place) -> Iterator[Queue]:
    """The queue of a batch that another process may drive: that of a folder, or the copy at an address."""
    with tempfile.TemporaryDirectory() as scratch:
        if place.folder is None and not place.fetch(QUEUE_FILE, Path(scratch, QUEUE_FILE)):
            raise BatchError(f"There is no batch in {place.address}.")
        with Queue(Path(place.folder or scratch, QUEUE_FILE), read_only=True) as queue:
            yield queue


def drive(
    home: QueueHome,
    team: Team,
    progress: Callable[[BatchProgress], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[State, int]:
    """Lets a team work on a batch until nothing waits any more, and returns how many jobs are in every state.

    Args:
        progress: told about twice a second.
        stopped: asked as often; once it says yes, every worker finishes its frame, and the rest waits.

    Raises BatchError: another process works on this batch, or its queue can't be used.
    """
    with _alone(home.folder), open_queue(home.folder, make=False) as queue:
        queue.abandoned()  # nobody else is there
        try:
            while True:
                stopping = stopped()
                team.turn(queue, stopping)
                if progress is not None:
                    progress(BatchProgress(queue.counts(), queue.frames(), team.working))
                counts = queue.counts()
                # A worker may have died since its team looked: its job still counts as running, and waits again soon.
                if not team.busy and (stopping or not counts["waiting"] + counts["running"]):
                    return counts
                home.keep()
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
