"""A batch on one machine: a team of worker processes that take jobs from the queue until it is empty.

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from masklet.cores import usable_cores
from masklet.errors import ProjectInUseError
from masklet.jobs.driver import BatchProgress, QueueHome, drive, open_queue, settle
from masklet.jobs.places import Place
from masklet.jobs.queue import JobRow, Queue, State
from masklet.jobs.work import Beats, attempt

#: Memory that a worker needs for itself, in bytes: PyTorch, a model, frames that are decoded ahead.
_WORKER_BYTES = 2 << 30
_PATIENCE = 20.0  # seconds that the project of a worker that was killed may stay locked
_SPAWN = multiprocessing.get_context("spawn")


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
    return drive(QueueHome(Place(folder)), Processes(folder, workers, defaults), progress, stopped)


class Processes:
    """A team of worker processes; see `masklet.jobs.driver.Team`."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        workers: int | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        count = workers or default_workers()
        given = Path(folder).absolute(), dict(defaults or {}), max(1, usable_cores() // count)
        self._members = [_Member(number, *given) for number in range(count)]

    @property
    def busy(self) -> bool:
        return any(member.alive for member in self._members)

    @property
    def working(self) -> dict[int, tuple[str, int, int]]:
        return {member.number: member.at for member in self._members if member.alive and member.at}

    def turn(self, queue: Queue, stopping: bool) -> None:
        waiting = queue.counts()["waiting"]
        for member in self._members:
            member.hear()
            if not member.alive:
                member.bury(queue)
                if waiting and not stopping:
                    member.start()
                    waiting -= 1
            elif stopping:
                member.stop()

    def wait(self, seconds: float) -> None:
        wait([member.process.sentinel for member in self._members if member.process is not None], timeout=seconds)

    def disband(self, queue: Queue) -> None:
        for member in self._members:
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
    from masklet.runtime import threads  # with PyTorch, which the driver doesn't need

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
    beats = Beats(lambda done, total: queue.beat(row.number, worker, done, total))
    until = time.monotonic() + _PATIENCE
    with beats:
        while True:
            try:
                outcome = attempt(
                    row,
                    folder,
                    beats,
                    defaults=defaults,
                    stopped=stopped,
                    wrote=lambda export, digest: queue.wrote(row.number, worker, export, digest),
                    tell=tell,
                )
                break
            except ProjectInUseError as problem:
                # A worker that was left alone finishes its frame, or is at a long one, or somebody opened it.
                if time.monotonic() < until:
                    time.sleep(0.2)
                    continue
                queue.stuck(row.number, worker, str(problem))
                return
    settle(queue, row, worker, outcome, *beats.at)
