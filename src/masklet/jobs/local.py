"""A batch on one machine: worker processes that take jobs from the queue until it is empty.

Every worker is a process of its own, with one model in memory for all its videos. Workers end with the process that
began them, also where that was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from masklet.errors import BatchError, MaskletError, ProjectInUseError
from masklet.jobs.job import JobResult
from masklet.jobs.queue import QUEUE_FILE, JobRow, Queue, State
from masklet.jobs.work import run_job
from masklet.runs.request import TrackProgress
from masklet.runtime import threads, usable_cores

_LOCK_FILE = ".batch.lock"
#: Memory that a worker needs for itself, in bytes: PyTorch, a model, frames that are decoded ahead.
_WORKER_BYTES = 2 << 30
_BEAT = 1.0  # seconds between signs of life
_PATIENCE = 20.0  # seconds that the project of a worker that was killed may stay locked
_SPAWN = multiprocessing.get_context("spawn")


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


def open_queue(folder: str | os.PathLike[str], *, make: bool = True) -> Queue:
    """The queue of the batch in a folder. Raises BatchError."""
    folder = Path(folder)
    if make:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise BatchError(f"Can't make the folder {folder}: {problem.strerror or problem}.") from problem
    return Queue(folder / QUEUE_FILE, make=make)


def default_workers() -> int:
    """As many as there are cores, and memory for them: a second worker makes more of a core than a second thread."""
    most = usable_cores()
    if hasattr(os, "sysconf"):  # not on Windows
        most = min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _WORKER_BYTES)
    return max(1, most)


def run_batch(
    folder: str | os.PathLike[str],
    *,
    workers: int | None = None,
    defaults: Mapping[str, Any] | None = None,
    progress: Callable[[BatchProgress], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[State, int]:
    """Works on the queue in a folder until nothing waits any more, and returns how many jobs are in every state.

    Args:
        workers: processes at a time.
        defaults: settings for those that jobs leave open (see `VideoJob.request`).
        progress: told about twice a second.
        stopped: asked as often; once it says yes, every worker finishes its frame, and the rest waits.

    Raises BatchError: another process works on this batch, or its queue can't be used.
    """
    folder = Path(folder).absolute()
    count = workers or default_workers()
    with _alone(folder), open_queue(folder, make=False) as queue:
        queue.abandoned()  # nobody else is there
        team = [
            _Member(number, folder, dict(defaults or {}), max(1, usable_cores() // count)) for number in range(count)
        ]
        try:
            while True:
                asked_to_stop = stopped()
                waiting = queue.counts()["waiting"]
                for member in team:
                    member.hear()
                    if not member.alive:
                        member.bury(queue)
                        if waiting and not asked_to_stop:
                            member.start()
                            waiting -= 1
                    elif asked_to_stop:
                        member.stop()
                if progress is not None:
                    at = {member.number: member.at for member in team if member.alive and member.at}
                    progress(BatchProgress(queue.counts(), queue.frames(), at))
                if not any(member.alive for member in team) and (asked_to_stop or not queue.counts()["waiting"]):
                    return queue.counts()
                wait([member.process.sentinel for member in team if member.process is not None], timeout=0.4)
        finally:
            for member in team:
                member.kill(queue)


class _Member:
    """One worker as the driver sees it."""

    def __init__(self, number: int, folder: Path, defaults: dict[str, Any], cores: int) -> None:
        self.number = number
        self.at: tuple[str, int, int] | None = None
        self.process: SpawnProcess | None = None
        self._given = folder, defaults, cores
        self._pipe: Connection | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    @property
    def name(self) -> str:
        return worker_name(self.process.pid if self.process else None)

    def start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs, *self._given), name=f"masklet-worker-{self.number}")
        self.process.start()
        theirs.close()

    def hear(self) -> None:
        """Takes what the worker told lately."""
        with suppress(EOFError, OSError):
            while self._pipe is not None and self._pipe.poll():
                self.at = self._pipe.recv()

    def stop(self) -> None:
        """Lets it finish its frame."""
        with suppress(OSError):  # it has just ended
            if self._pipe is not None:
                self._pipe.send("stop")

    def kill(self, queue: Queue) -> None:
        """Ends it at once; what it worked on waits as if it had been stopped."""
        if self.alive and self.process is not None:
            self.process.kill()
            self.process.join()
            for row in list(queue.rows("running")):
                if row.worker == self.name:
                    queue.release(row.number, self.name)
        self.bury(queue)

    def bury(self, queue: Queue) -> None:
        """Once it has ended: what it worked on is free again."""
        if self.process is None:
            return
        self.process.join()
        queue.lost(self.name)
        if self._pipe is not None:
            self._pipe.close()
        self.process, self._pipe, self.at = None, None, None


def worker_name(process: int | None = None) -> str:
    """How a worker signs in the queue."""
    return f"{platform.node()}:{process or os.getpid()}"


def _work(pipe: Connection, folder: Path, defaults: dict[str, Any], cores: int) -> None:
    """A worker process: one job after the other until none waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the driver says when to stop
    stop = threading.Event()

    def listen() -> None:
        with suppress(EOFError, OSError):  # the driver is gone
            pipe.recv()
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    with open_queue(folder, make=False) as queue, threads(cores):
        name = worker_name()
        while not stop.is_set() and (row := queue.claim(name)):
            work_on(row, queue, name, folder, defaults, stop.is_set, lambda *at: _tell(pipe, at))


def _tell(pipe: Connection, at: tuple[str, int, int]) -> None:
    with suppress(OSError):
        pipe.send(at)


def work_on(
    row: JobRow,
    queue: Queue,
    worker: str,
    folder: Path,
    defaults: Mapping[str, Any],
    stopped: Callable[[], bool],
    tell: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> None:
    """Does a job that was claimed, and says in the queue what became of it. A broken video fails alone."""
    beats = _Beats(queue, row, worker)

    def show(state: TrackProgress) -> None:
        total, begins = row.total or state.total, not beats.at[1]
        beats.at = total - state.total + state.done, total
        if begins:
            beats.tell()
        tell(row.job.name, *beats.at)

    with beats:
        try:
            result = _patiently(
                lambda: run_job(
                    row.job,
                    folder,
                    defaults=defaults,
                    anew=row.anew,
                    tracked=row.result is not None,
                    written=row.written,
                    progress=show,
                    stopped=lambda: stopped() or beats.over,
                    wrote=lambda export, digest: queue.wrote(row.number, worker, export, digest),
                )
            )
        except ProjectInUseError as problem:  # a worker that was left alone is at a long frame, or somebody opened it
            queue.stuck(row.number, worker, str(problem))
            return
        except MaskletError as problem:
            queue.fail(row.number, worker, str(problem))
            return
        except Exception as problem:  # a bug of ours or of a library: this video fails, the others go on
            queue.fail(row.number, worker, f"{type(problem).__name__}: {problem}")
            return
    if result is None:
        queue.release(row.number, worker)
    else:
        queue.beat(row.number, worker, *beats.at)
        queue.finish(row.number, worker, result)


class _Beats:
    """Tells the queue that a worker is alive, and how far it is, from a thread of its own.

    Attributes:
        at: frames done and in all, 0 until tracking begins.
        over: the job is somebody else's now.
    """

    def __init__(self, queue: Queue, row: JobRow, worker: str) -> None:
        self.at = 0, 0
        self.over = False
        self._queue, self._number, self._worker = queue, row.number, worker
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, name="masklet-beats", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def tell(self) -> None:
        with suppress(BatchError):  # busy, or the disk is full: the lease is long enough to try again
            self.over = not self._queue.beat(self._number, self._worker, *self.at)

    def _go(self) -> None:
        while not self._ended.wait(_BEAT):
            self.tell()


def _patiently(work: Callable[[], JobResult | None]) -> JobResult | None:
    """Waits a little for a project that another process has: a worker that was left alone finishes its frame."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return work()
        except ProjectInUseError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


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
