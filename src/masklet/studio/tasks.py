"""Jobs that take a while: tracking, exports, downloads. The page sees them come along, pauses and cancels them."""

from __future__ import annotations

import itertools
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from masklet.errors import CancelledError, ExportError, MaskletError, ProjectError
from masklet.runs.engine import RunStep, RunSteps
from masklet.runs.request import RunReport
from masklet.studio.problems import BusyError, NotFoundError, describe
from masklet.studio.schemas import JobChanged, JobState, Problem, StartExport
from masklet.studio.worker import Worker

if TYPE_CHECKING:
    from masklet.jobs.queue import JobRow
    from masklet.studio.batches import Batch
    from masklet.studio.files import Root
    from masklet.studio.sockets import Hub
    from masklet.studio.workspace import OpenProject
    from masklet.weights.registry import ReleasedCheckpoint

_JOBS_KEPT = 100
_NEWS_SECONDS = 0.2
_RATE_SECONDS = 5.0
_FILES_TOLD = 200
State = Literal["waiting", "running", "paused", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")


class StudioJob(ABC):
    """One job. `snapshot` is what the API says of it."""

    kind: Literal["track", "export", "download"]

    def __init__(self, board: Board, title: str, project: OpenProject | None = None) -> None:
        self.board, self.title, self.project = board, title, project
        self.id = board.next_id()
        self.state: State = "waiting"
        self.done, self.total = 0, None  # type: int, int | None
        self.frame: int | None = None
        self.notes: list[str] = []
        self.error: Problem | None = None
        self.files: list[str] = []
        self.written: list[Path] = []
        self.folder: Path | None = None
        self.model: str | None = None
        self.ended = threading.Event()
        self._cancel = threading.Event()
        self._marks: deque[tuple[float, int]] = deque()
        self._told = 0.0

    @abstractmethod
    def cancel(self) -> None:
        """Ask it to stop; what it did so far stays."""

    def pause(self) -> None:
        raise BusyError("Only tracking can be paused; an export or a download can be cancelled.")

    def resume(self) -> None:
        raise BusyError("This job is not paused.")

    def progress(self, done: int, total: int | None) -> None:
        """Note how far it is, and say so now and then."""
        now = time.monotonic()
        self.done, self.total = done, total
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_SECONDS:
            self._marks.popleft()
        self.tell(now - self._told >= _NEWS_SECONDS)

    def become(self, state: State, error: BaseException | None = None) -> None:
        """Change its state and tell everybody."""
        self.state = state
        self.error = None if error is None else Problem(**describe(error)[1])
        if state != "running":
            self._marks.clear()
        self.tell()
        if state in ENDED or state == "paused":
            self.ended.set()
        else:
            self.ended.clear()

    def tell(self, now: bool = True) -> None:
        if now:
            self._told = time.monotonic()
            self.board.hub.tell(JobChanged(job=self.snapshot()))

    def snapshot(self) -> JobState:
        rate = self._rate()
        left = None if rate is None or self.total is None else max(0, self.total - self.done) / rate
        return JobState(
            id=self.id,
            kind=self.kind,
            title=self.title,
            project=None if self.project is None else self.project.id,
            state=self.state,
            done=self.done,
            total=self.total,
            rate=None if rate is None else round(rate, 2),
            seconds_left=None if left is None else round(left, 1),
            frame=self.frame,
            notes=list(self.notes),
            error=self.error,
            files=self.files,
            folder=None if self.folder is None else self.board.root.relative(self.folder),
            model=self.model,
        )

    def _rate(self) -> float | None:
        marks = list(self._marks)
        if len(marks) < 2 or marks[-1][1] <= marks[0][1]:
            return None
        return (marks[-1][1] - marks[0][1]) / max(1e-3, marks[-1][0] - marks[0][0])


class TrackJob(StudioJob):
    """Tracking in a project, one frame at a time in the worker."""

    kind = "track"
    project: OpenProject

    def __init__(self, board: Board, title: str, project: OpenProject, make: Callable[[], RunSteps]) -> None:
        super().__init__(board, title, project)
        self._make = make
        self._steps: RunSteps | None = None
        self._wish: Literal["pause", "cancel"] | None = None
        self._mutex = threading.Lock()

    def start(self) -> None:
        self.board.worker.steps(self._step)

    def pause(self) -> None:
        with self._mutex:
            if self.state not in ("waiting", "running"):
                raise BusyError(f"This track is {self.state}, so it can't be paused.")
            self._wish = "pause"

    def cancel(self) -> None:
        with self._mutex:
            if self.state in ENDED:
                return
            was_paused = self.state == "paused"
            self._wish = "cancel"
        if was_paused:
            # The project is the worker's while it tracks, so that it ends there too.
            self.ended.clear()
            self.start()

    def resume(self) -> None:
        from masklet.runs.actions import resume

        with self._mutex:
            if self.state != "paused":
                raise BusyError(f"This track is {self.state}, so there is nothing to go on with.")
            if self.project.project.run is None:
                raise ProjectError("Something was changed meanwhile: start to track anew from this frame.")
            self._wish = None
            project, device = self.project.project, self.board.device
            self._make = lambda: resume.steps(project, device)
            self.become("waiting")
        self.start()

    def supersede(self) -> None:
        """Another run takes the place of this one, which is paused."""
        if self.state == "paused":
            self.notes.append("Another run took its place.")
            self.become("cancelled")

    def _step(self) -> bool:
        """One frame, in the worker; whether there are more."""
        try:
            with self._mutex:
                wish = self._wish
            if wish is not None:
                return self._stop(wish)
            if self._steps is None:
                self._steps = self._make()
                self.become("running")
                self.project.changed("run", "history")
                return True
            step = next(self._steps)
        except StopIteration as end:
            self._finish(end.value)
        except BaseException as error:  # a bug must not end the worker
            self._steps = None
            self.become("failed", error)
            self._changed()
        else:
            self._show(step)
            return True
        return False

    def _stop(self, wish: Literal["pause", "cancel"]) -> bool:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
        if wish == "cancel":
            self.project.project.finish_run()
            self.become("cancelled")
        else:
            self.become("paused")
        self._changed()
        return False

    def _show(self, step: RunStep) -> None:
        if not step.total:
            return
        self.frame = step.frame
        self.progress(step.done, step.total)
        if step.masks:
            self.project.tell_masks(self.id, step.frame, step.masks)

    def _finish(self, report: RunReport) -> None:
        self._steps = None
        self.model = report.model
        self.notes += report.notes
        if report.problem is not None:
            self.become("failed", report.problem)
        elif report.complete:
            self.become("done")
        else:  # an edit ended a run that did not know of it: there is nothing to go on with
            self.become("paused" if self.project.project.run else "cancelled")
        self._changed()

    def _changed(self) -> None:
        self.project.changed("masks", "run", "history")


class ThreadJob(StudioJob):
    """A job that runs from beginning to end in a thread of its own."""

    def start(self) -> None:
        self.board.threads.submit(self._run)

    def cancel(self) -> None:
        self._cancel.set()

    @abstractmethod
    def work(self) -> None:
        """Do it. Raises CancelledError when it was asked to stop."""

    def _run(self) -> None:
        if self._cancel.is_set():
            self.become("cancelled")
            return
        self.become("running")
        try:
            self.work()
        except CancelledError:
            self.become("cancelled")
        except BaseException as error:  # told to whoever looks at the job
            self.become("failed", error)
        else:
            self.become("done")


class ExportJob(ThreadJob):
    """An export of a project, with the format's own options as it takes them."""

    kind = "export"
    project: OpenProject

    def __init__(
        self, board: Board, project: OpenProject, given: StartExport, target: Path, options: dict[str, Any]
    ) -> None:
        super().__init__(board, f"Export {given.format}", project)
        self._given, self._target, self._options = given, target, options

    def work(self) -> None:
        from masklet.export import registry

        given = self._given
        self.written = registry.write(
            self.project.project,
            given.format,
            self._target,
            objects=given.objects,
            start=given.start,
            end=given.end,
            overwrite=given.overwrite,
            progress=self.progress,
            cancel=self._cancel,
            notes=self.notes,
            **self._options,
        )
        # One file per object makes a folder of what was meant as a file.
        self.folder = self._target if self._target.is_dir() else self._target.parent
        self.files = [self.board.root.relative(path) for path in self.written[:_FILES_TOLD]]

    @property
    def is_folder(self) -> bool:
        """Whether the result is a folder with files, not one file."""
        return self._target.is_dir()


class BatchExportJob(ThreadJob):
    """All exports of one video of a batch, written again: here, or by the batch where it runs and takes it first."""

    kind = "export"

    def __init__(self, board: Board, batch: Batch, row: JobRow) -> None:
        super().__init__(board, f"Export {row.job.name}")
        self._batch, self._number = batch, row.number

    def work(self) -> None:
        from masklet.jobs.local import work_on, worker_name

        worker = f"{worker_name()} studio"
        with self._batch.queue(read_only=False) as queue:
            if not queue.export_again(self._number):
                raise BusyError("This video is not done, so there is nothing to export again.")
            row = queue.claim(worker, number=self._number)
            if row is None:
                self.notes.append("The batch, which is running, writes these files itself.")
                return
            work_on(row, queue, worker, self._batch.folder, {}, self._cancel.is_set)
        became = self._batch.row(self._number)
        if became.state == "failed":
            raise ExportError(became.reason or "This export failed.")
        if became.state == "waiting":
            raise CancelledError("The export was stopped; the batch writes it when it runs next.")
        self.folder = self._batch.folder / "exports"


class DownloadJob(ThreadJob):
    """A checkpoint being fetched; what has arrived stays when it is cancelled."""

    kind = "download"

    def __init__(self, board: Board, checkpoint: ReleasedCheckpoint) -> None:
        super().__init__(board, f"Download {checkpoint.name}")
        self._checkpoint = checkpoint
        self.model = checkpoint.name

    def work(self) -> None:
        from masklet.weights.download import fetch

        fetch(self._checkpoint, on_progress=self._arrived, on_note=self._note, sleep=self._sleep)

    def _arrived(self, done: int, total: int | None) -> None:
        self._check()
        self.progress(done, total)

    def _note(self, text: str) -> None:
        self.notes = [*self.notes[-9:], text]
        self.tell()
        self._check()

    def _sleep(self, seconds: float) -> None:
        self._cancel.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._cancel.is_set():
            raise CancelledError("The download was stopped; what has arrived is kept.")


class Board:
    """All jobs of a studio, the latest hundred that have ended among them."""

    def __init__(self, hub: Hub, worker: Worker, root: Root, device: str | None) -> None:
        self.hub, self.worker, self.root, self.device = hub, worker, root, device
        self.threads = ThreadPoolExecutor(2, "masklet-job")
        self._jobs: dict[str, StudioJob] = {}
        self._numbers = itertools.count(1)
        self._mutex = threading.Lock()

    def next_id(self) -> str:
        return str(next(self._numbers))

    def all(self) -> list[StudioJob]:
        with self._mutex:
            return list(self._jobs.values())

    def of(self, project: OpenProject) -> list[StudioJob]:
        """The jobs of a project that have not ended."""
        return [job for job in self.all() if job.project is project and job.state not in ENDED]

    def get(self, job_id: str) -> StudioJob:
        with self._mutex:
            found = self._jobs.get(job_id)
        if found is None:
            raise NotFoundError(f"There is no job {job_id[:40]!r}.")
        return found

    def track(self, title: str, project: OpenProject, make: Callable[[], RunSteps]) -> TrackJob:
        """Start to track. Raises BusyError while the project is being tracked."""
        with self._mutex:
            for job in self._jobs.values():
                if isinstance(job, TrackJob) and job.project is project:
                    if job.state in ("waiting", "running"):
                        raise BusyError("This project is being tracked. Pause or cancel that first.")
                    job.supersede()
            started = TrackJob(self, title, project, make)
            self._add(started)
        started.tell()
        started.start()
        return started

    def run(self, job: ThreadJob) -> None:
        """Start an export or a download."""
        with self._mutex:
            self._add(job)
        job.tell()
        job.start()

    def downloading(self, model: str) -> DownloadJob | None:
        """The download of a model that is going on."""
        for job in self.all():
            if isinstance(job, DownloadJob) and job.model == model and job.state not in ENDED:
                return job
        return None

    def leave(self, project: OpenProject, timeout: float = 60) -> None:
        """Stop all jobs of a project that is about to be closed; a track can be gone on with later."""
        for job in self.of(project):
            try:
                job.pause()
            except MaskletError:
                if job.state != "paused":
                    job.cancel()
        for job in self.of(project):
            job.ended.wait(timeout)
            if job.state == "paused":
                job.become("cancelled")

    def close(self) -> None:
        for job in self.all():
            if isinstance(job, ThreadJob) and job.state not in ENDED:
                job.cancel()
        self.threads.shutdown(wait=True, cancel_futures=True)

    def _add(self, job: StudioJob) -> None:
        self._jobs[job.id] = job
        ended = [job.id for job in self._jobs.values() if job.state in ENDED]
        for number in ended[: max(0, len(ended) - _JOBS_KEPT)]:
            del self._jobs[number]
