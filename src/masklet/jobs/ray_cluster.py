"""A batch on many machines: every video is a task of a Ray cluster, whose workers need no disk in common.

The queue is a file of the driver's alone, because SQLite isn't safe on shared disks. Workers tell a desk beside the
driver, which is a Ray actor, how far they are. Each tracks in a scratch folder of its own machine and sends what it
makes to the batch's place, its project every few seconds too: whoever takes over a video goes on from there.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from masklet import __version__
from masklet.errors import BatchError, MaskletError
from masklet.jobs.driver import settle
from masklet.jobs.job import JobPrompt, VideoJob
from masklet.jobs.places import Place, local_path
from masklet.jobs.queue import MOST_STUCK, QUEUE_FILE, JobRow, Queue
from masklet.jobs.report import summary_path, write_summary
from masklet.jobs.work import Beats, Outcome, attempt, project_path, stamp_of
from masklet.masks import rle
from masklet.media import read_mask
from masklet.project.database import copy_database
from masklet.project.file import copy_project
from masklet.project.lock import ProjectLock
from masklet.runtime import threads

#: Memory that Ray keeps free for a worker: PyTorch, a model, frames that are decoded ahead.
WORKER_BYTES = 2 << 30
_COUNTED = 5.0  # seconds that the size of a cluster is believed
_SCRATCH = "masklet-scratch-"


@dataclass(frozen=True)
class Needs:
    """What a video gets of a cluster.

    Attributes:
        cpus: cores, and threads.
        gpus: for videos whose device is CUDA; a part of one (0.5) lets several share it.
        memory: in bytes.
        snapshots: seconds between two copies of an unfinished project in the batch's place.
    """

    cpus: float = 1
    gpus: float = 1
    memory: int = WORKER_BYTES
    snapshots: float = 30

    def of(self, job: VideoJob) -> dict[str, float]:
        """Ray's names for what a job needs."""
        gpus = self.gpus if _on_gpu(job.settings.device) else 0
        return {"num_cpus": self.cpus, "num_gpus": gpus, "memory": self.memory}


class RayTasks:
    """A team of tasks of a Ray cluster; see `masklet.jobs.driver.Team`."""

    def __init__(
        self,
        place: Place,
        address: str = "auto",
        *,
        needs: Needs | None = None,
        workers: int | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Joins a cluster.

        Args:
            address: of its head, or `auto` for the one of this machine.
            workers: videos at a time; by default as many as the cluster has room for.
            defaults: settings for those that jobs leave open.

        Raises BatchError: Ray isn't installed, or there is no cluster.
        """
        try:
            import ray
        except ImportError as problem:
            raise BatchError("batches on many machines need an extra: pip install 'masklet[ray]'") from problem
        self._ray, self._place, self._needs, self._workers = ray, place, needs or Needs(), workers
        self._defaults = dict(defaults or {})
        self._joined = not ray.is_initialized()
        if self._joined:
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as problem:  # Ray has many
                raise BatchError(
                    f"There is no Ray cluster at {address}: {str(problem).rstrip('.')}. "
                    "`ray start --head` begins one on this machine."
                ) from problem
        # On this machine: no node that dies may take it along.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        desk = ray.remote(Desk).options(num_cpus=0, max_task_retries=3, scheduling_strategy=here)
        self._desk: Any = desk.remote()
        self._name = f"ray:{platform.node()}:{os.getpid()}"
        self._given: dict[Any, _Given] = {}  # by what Ray calls them
        self._room, self._counted = 1, -math.inf

    @property
    def busy(self) -> bool:
        return bool(self._given)

    @property
    def working(self) -> dict[int, tuple[str, int, int]]:
        return {given.slot: given.shown for given in self._given.values()}

    def turn(self, queue: Queue, stopping: bool) -> None:
        ended = [task for task in self._given if self._ray.wait([task], timeout=0)[0]]
        news = self._asked(self._desk.news) or {}  # later than their last words
        for given in self._given.values():
            if (told := news.get(given.row.number)) is not None:
                given.hear(told, queue, self._name)
        for task in ended:
            given = self._given.pop(task)
            settle(queue, given.row, self._name, self._outcome(task, given), *given.at)
            self._asked(self._desk.forget, given.row.number)
        if stopping:
            self._asked(self._desk.stop)
            for task, given in self._given.items():
                if not given.begun:
                    self._ray.cancel(task)
            return
        while len(self._given) < self._most() and (row := queue.claim(self._name, lease=math.inf)) is not None:
            self._give(queue, row)

    def wait(self, seconds: float) -> None:
        if self._given:
            self._ray.wait([*self._given], timeout=seconds)

    def disband(self, queue: Queue) -> None:
        for given in self._given.values():
            queue.release(given.row.number, self._name)
        with suppress(Exception):  # where the cluster is gone
            for task in self._given:
                self._ray.cancel(task, force=True)
            self._ray.kill(self._desk)
        self._given.clear()
        if self._joined:
            self._ray.shutdown()

    def _give(self, queue: Queue, row: JobRow) -> None:
        try:
            job = portable(row.job, self._defaults)
        except MaskletError as problem:  # a mask that can't be read
            queue.fail(row.number, self._name, str(problem))
            return
        # Ray tries again for as long as it takes; the desk says when that makes no sense any more.
        task = self._ray.remote(work).options(**self._needs.of(job), max_retries=-1, name=f"masklet {job.name}")
        ahead = replace(row, job=job)
        reference = task.remote(ahead, self._place.address, self._defaults, self._needs, self._desk, __version__)
        slot = next(slot for slot in range(len(self._given) + 1) if slot not in self.working)
        self._given[reference] = _Given(row, slot)

    def _outcome(self, task: Any, given: _Given) -> Outcome:
        errors = self._ray.exceptions
        try:
            outcome, *at = self._ray.get(task)
            given.at = at[0], at[1]
            return outcome
        except errors.TaskCancelledError:
            return Outcome()
        except errors.RayError as problem:
            return Outcome(reason=f"Ray could not finish it: {str(problem).strip().splitlines()[-1]}")

    def _most(self) -> int:
        """How many tasks Ray should have: some more than there is room for, so that no node waits, and clusters that
        grow by themselves see that they should."""
        if self._workers is not None:
            return self._workers
        if time.monotonic() - self._counted > _COUNTED:
            gpus = self._needs.gpus if _on_gpu(self._defaults.get("device")) else 0
            needs = {"CPU": self._needs.cpus, "memory": self._needs.memory, "GPU": gpus}
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            room = (min(node.get(kind, 0) / need for kind, need in needs.items() if need) for node in nodes)
            self._room, self._counted = sum(map(int, room)), time.monotonic()
        return self._room + max(1, self._room // 4)

    def _asked(self, question: Any, *more: object) -> Any:
        """What the desk answers; None where it can't be reached for a while. Raises BatchError: it is gone."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(question.remote(*more), timeout=60)
        except (errors.ActorUnavailableError, errors.GetTimeoutError):
            return None
        except errors.RayError as problem:
            raise BatchError(
                f"The Ray cluster is gone ({problem}). Nothing is lost: once it is back, the same command goes on."
            ) from problem


@dataclass
class _Given:
    """A job that Ray has, as the driver sees it: `slot` is its line on the screen, `at` frames done and in all."""

    row: JobRow
    slot: int
    begun: bool = False
    at: tuple[int, int] = (0, 0)
    safe: int = 0
    written: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[str, int, int]:
        return (self.row.job.name, *self.at) if self.begun else (f"{self.row.job.name} (waits for a node)", 0, 0)

    def hear(self, told: Told, queue: Queue, worker: str) -> None:
        """Keeps in the queue what is safe in the batch's place, and nothing that a dying node would take with it."""
        self.begun, self.at = True, told.at
        if told.safe > self.safe:
            self.safe = told.safe
            queue.beat(self.row.number, worker, told.safe, told.at[1], lease=math.inf)
        for export, digest in told.written.items():
            if self.written.get(export) != digest:
                queue.wrote(self.row.number, worker, export, digest)
        self.written = told.written


class Told(NamedTuple):
    """News of a job: frames done and in all, how many are in the batch's place, and exports by their digests."""

    at: tuple[int, int]
    safe: int
    written: Mapping[str, str]


@dataclass
class _Entry:
    """A job on the desk.

    Attributes:
        row: the job, with what is known of it since it was given out; `done` are the frames in the batch's place.
        begun: how often; whoever began last has it.
        deaths: of workers since it last got further, and one for the worker that has it.
        at: frames done and in all.
    """

    row: JobRow
    begun: int = 0
    deaths: int = 0
    at: tuple[int, int] = (0, 0)


class Desk:
    """Where workers say what they are at, and learn whether they should go on. An actor beside the driver."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._stopping = False

    def begin(self, row: JobRow) -> tuple[int, JobRow] | Outcome:
        """A worker takes a job: the number under which it has it, and the job as it is now; or why it shouldn't."""
        if self._stopping:
            return Outcome()
        entry = self._entries.setdefault(row.number, _Entry(row, at=(row.done, row.total)))
        if entry.deaths >= MOST_STUCK:
            return Outcome(
                reason=f"{entry.deaths} workers died of it at the same place. Is there enough memory (--ray-memory)?"
            )
        entry.begun += 1
        entry.deaths += 1
        return entry.begun, entry.row

    def tell(self, number: int, holder: int, done: int, total: int) -> bool:
        """How far a worker is. False: it should stop, for all stop, or somebody else has the job."""
        entry = self._entries.get(number)
        if entry is None or entry.begun != holder:
            return False
        if total:  # tracking has begun
            entry.at = done, total
        entry.row = replace(entry.row, total=max(total, entry.row.total))
        return not self._stopping

    def saved(self, number: int, holder: int, done: int) -> None:
        """So many frames are in the batch's place."""
        entry = self._entries.get(number)
        if entry is not None and entry.begun == holder and done > entry.row.done:
            entry.deaths = 1
            entry.row = replace(entry.row, anew=False, done=done)

    def wrote(self, number: int, holder: int, export: str, digest: str) -> None:
        """An export is complete, and shows what has this digest."""
        entry = self._entries.get(number)
        if entry is not None and entry.begun == holder:
            entry.row = replace(entry.row, written={**entry.row.written, export: digest})

    def holds(self, number: int, holder: int) -> bool:
        """Whether a worker still has a job, so that it may send what it has made."""
        entry = self._entries.get(number)
        return entry is not None and entry.begun == holder

    def news(self) -> dict[int, Told]:
        return {number: Told(entry.at, entry.row.done, entry.row.written) for number, entry in self._entries.items()}

    def forget(self, number: int) -> None:
        self._entries.pop(number, None)

    def stop(self) -> None:
        self._stopping = True


def portable(job: VideoJob, defaults: Mapping[str, Any]) -> VideoJob:
    """The job as another machine can do it: pictures of masks become run lengths, and the device is the one that Ray
    gives it, which on every machine is the first. Raises MediaError: a mask can't be read."""
    on_gpu = _on_gpu(job.settings.device or defaults.get("device"))
    settings = job.settings.model_copy(update={"device": "cuda" if on_gpu else "cpu"})
    return job.model_copy(update={"prompts": tuple(map(_without_file, job.prompts)), "settings": settings})


def _on_gpu(device: str | None) -> bool:
    return str(device).startswith("cuda")


def _without_file(prompt: JobPrompt) -> JobPrompt:
    if prompt.mask is None:
        return prompt
    return prompt.model_copy(update={"mask": None, "rle": dict(rle.encode(read_mask(prompt.mask)))})


def work(
    row: JobRow, address: str, defaults: Mapping[str, Any], needs: Needs, desk: Any, version: str
) -> tuple[Outcome, int, int]:
    """One job, on whichever machine Ray has chosen; what became of it, and frames done and in all."""
    import ray

    place, node = Place(address), platform.node()
    if version != __version__:
        reason = f"The driver has masklet {version}, and {node} has {__version__}: install the same one."
        return Outcome(reason=reason), row.done, row.total
    if place.folder is not None and not (place.folder / QUEUE_FILE).exists():
        reason = f"{node} doesn't see the folder {place.folder}: share it with all nodes, or use an address (s3://…)."
        return Outcome(reason=reason), row.done, row.total
    began = ray.get(desk.begin.remote(row))
    if isinstance(began, Outcome):
        return began, row.done, row.total
    holder, row = began

    def asked(question: Any, *more: object) -> bool:
        try:
            return ray.get(question.remote(row.number, holder, *more))
        except ray.exceptions.RayError:  # the driver is gone
            return False

    with scratch_folder() as scratch, threads(max(1, int(needs.cpus))):
        parcel = _Parcel(place, row, scratch, needs.snapshots)

        def keep(done: int) -> None:
            if asked(desk.holds) and parcel.keep():
                asked(desk.saved, done)

        def beat(done: int, total: int) -> bool:
            mine = asked(desk.tell, done, total)
            if mine and parcel.due:
                with suppress(MaskletError):  # the next one may get there
                    keep(done)
            return mine

        def wrote(export: str, digest: str) -> None:
            parcel.send_export(export)
            asked(desk.wrote, export, digest)

        beats = Beats(beat, min(1.0, needs.snapshots))
        try:
            parcel.unpack()
            with beats:
                outcome = attempt(
                    row, scratch, beats, tell=parcel.touch, exports=place.folder, defaults=defaults, wrote=wrote
                )
            if outcome.result is None:
                keep(beats.at[0])
            elif asked(desk.holds):
                outcome = Outcome(outcome.result.model_copy(update={"stamp": parcel.deliver()}))
        except MaskletError as problem:
            outcome = Outcome(reason=str(problem))
            with suppress(MaskletError):
                keep(beats.at[0])
        return outcome, *beats.at


class _Parcel:
    """What is made of a job, on its way from a scratch folder to the batch's place; and its project back again.

    An unfinished project has a place of its own there, so that nobody takes it for a finished one, and a finished one
    is never replaced by it.
    """

    def __init__(self, place: Place, row: JobRow, scratch: Path, seconds: float) -> None:
        self._place, self._row, self._scratch, self._seconds = place, row, scratch, seconds
        self._project = project_path(scratch, row.job)
        self._finished = f"projects/{self._project.name}"
        self._unfinished = f"unfinished/{self._project.name}"
        self._changed = False
        self._next = time.monotonic() + seconds

    @property
    def due(self) -> bool:
        """Whether it is time for a copy of the unfinished project."""
        return time.monotonic() >= self._next

    def touch(self, *at: object) -> None:
        """Something was tracked: the project is no longer the one that came."""
        self._changed = True

    def unpack(self) -> None:
        """Fetches the project that somebody began, if it is of this job; once it was tracked, the one that is there."""
        if self._row.anew:
            return
        for name in [self._finished] if self._row.result is not None else [self._unfinished, self._finished]:
            if self._fetch(name):
                self._changed = name == self._unfinished
                return

    def keep(self) -> bool:
        """Sends the project as it is. False: there is nothing to send yet."""
        self._next = time.monotonic() + self._seconds
        if not self._changed or not self._project.exists():
            return False
        self._send(self._unfinished)
        return True

    def send_export(self, export: str) -> None:
        if self._place.folder is None:
            self._place.send_all(self._scratch / "exports" / export, f"exports/{export}")

    def deliver(self) -> str:
        """Sends the finished project, and returns the stamp of the one that is there now; none at an address.

        Raises ProjectInUseError: somebody has the one open that is there.
        """
        folder, job = self._place.folder, self._row.job
        if self._changed and folder is None:
            self._send(self._finished)
        elif self._changed and folder is not None:
            target = folder / self._finished
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = ProjectLock(target)
            lock.acquire()
            try:
                for suffix in ("-wal", "-shm"):  # of an older project
                    target.with_name(target.name + suffix).unlink(missing_ok=True)
                self._send(self._finished)
            finally:
                lock.release()
        if folder is None or local_path(job.source) is None:  # the driver can't see both project and video
            summary = summary_path(self._scratch, job)
            write_summary(self._project, summary)
            self._place.send(summary, summary.relative_to(self._scratch).as_posix())
        self._place.remove(self._unfinished)
        return "" if folder is None else stamp_of(folder / self._finished)

    def _fetch(self, name: str) -> bool:
        self._project.parent.mkdir(parents=True, exist_ok=True)
        if self._place.folder is None:
            return self._place.fetch(name, self._project)
        there = (self._place.folder / name).is_file()
        if there:  # with the log of a process that was killed
            copy_database(self._place.folder / name, self._project)
        return there

    def _send(self, name: str) -> None:
        copy = self._scratch / "copy.masklet"
        copy.unlink(missing_ok=True)
        folder, source = self._place.folder, self._row.job.source
        home = None if folder is None else folder / self._finished
        copy_project(self._project, copy, home=home, source=source if local_path(source) is None else None)
        self._place.send(copy, name)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for one job, removed after it; and with it those of workers that were killed."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{_SCRATCH}*.lock"):
        with suppress(OSError, Timeout), FileLock(left, timeout=0):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink()
    folder = base / f"{_SCRATCH}{secrets.token_hex(6)}"
    with FileLock(base / f"{folder.name}.lock") as lock:
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)
