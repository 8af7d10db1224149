"""Batches that are looked at: which video is how far, which deserve a look, and what is next.

Their queues are only read, and nothing is kept open: a batch may run, end and begin again meanwhile. What projects say
is remembered for as long as their files stay as they are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from masklet.errors import MaskletError
from masklet.jobs.overview import summarise_objects
from masklet.jobs.queue import QUEUE_FILE, JobRow, Queue, State
from masklet.jobs.work import is_outdated, project_path, stamp_of
from masklet.project import Project
from masklet.project.review import rank
from masklet.project.source import is_there
from masklet.studio import schemas
from masklet.studio.files import Root, place_id
from masklet.studio.problems import BusyError, NotFoundError

#: Seconds that an answer waits for what projects say, before it goes without; and that one search takes at most.
_PATIENCE, _SEARCH = 0.3, 1.0


@dataclass(frozen=True)
class Look:
    """What a project said when its file had this stamp: its review, its digest, and whether its video is there."""

    stamp: str
    review: schemas.VideoReview | None
    digest: str = ""
    source_there: bool = False


class Looks:
    """Looks into projects, one after the other in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: dict[Path, Look] = {}
        self._asked: dict[Path, Future[Look | None]] = {}
        self._mutex = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "masklet-looks")

    def at(self, path: Path) -> Look | None:
        """What a project says, read now if its file has changed; None where there is none that may be read."""
        stamp = self._stamp(path)
        if not stamp:
            return None
        known = self._known.get(path)
        if known is None or known.stamp != stamp:
            known = self._known[path] = _look(path, stamp, self._root)
        return known

    def ask(self, path: Path) -> Future[Look | None]:
        """The same without waiting. Whoever asks while nobody has looked yet gets the same answer."""
        with self._mutex:
            asked = self._asked.get(path)
            if asked is None or (asked.done() and not self._is_current(asked, path)):
                self._asked[path] = asked = self._thread.submit(self.at, path)
            return asked

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _stamp(self, path: Path) -> str:
        """Of the file as it is now; empty where there is none that may be read."""
        try:
            return stamp_of(path) if self._root.holds(path.resolve()) else ""
        except (OSError, RuntimeError):  # a link to itself
            return ""

    def _is_current(self, answer: Future[Look | None], path: Path) -> bool:
        look = None if answer.exception() else answer.result()
        return look is not None and look.stamp == self._stamp(path)


def _look(path: Path, stamp: str, root: Root) -> Look:
    try:
        with Project.open(path, read_only=True) as project:
            objects = summarise_objects(project)
            names = {known.id: known.name for known in project.objects()}
            doubtful = [stretch for known in objects for stretch in known.doubtful]
            worst = min(doubtful, key=rank, default=None)
            review = schemas.VideoReview(
                stretches=len(doubtful),
                frames=len({frame for found in doubtful for frame in range(found.first, found.last + 1)}),
                worst=worst,
                object=None if worst is None else names[worst.object_id],
            )
            source = Path(project.source.path)
            there = root.holds(source.resolve()) and is_there(source)
            return Look(stamp, review, project.digest(), there)
    except (MaskletError, OSError):  # opening it says what is wrong
        return Look(stamp, None)


class Batch:
    """A batch in a folder below the root."""

    def __init__(self, folder: Path, root: Root, looks: Looks) -> None:
        self.id, self.folder = place_id(folder), folder
        self._root, self._looks = root, looks

    @contextmanager
    def queue(self, *, read_only: bool = True) -> Iterator[Queue]:
        """Raises BatchError, or OutsideRootError where its file is a link that leads out of the root."""
        with Queue(self._root.path(self._root.relative(self.folder / QUEUE_FILE)), read_only=read_only) as queue:
            yield queue

    def state(self) -> schemas.BatchState:
        with self.queue() as queue:
            return self._state(queue)

    def videos(
        self, open_ids: dict[Path, str], start: int, count: int, states: list[State], search: str
    ) -> schemas.BatchVideos:
        """A part of the list. What projects say may be missing at first (`pending`)."""
        with self.queue() as queue:
            rows = list(islice(queue.rows(*states, skip=start, search=search), count + 1))
            batch = self._state(queue)
        shown = rows[:count]
        seen = [row for row in shown if row.ended or row.result]  # a result stays while files are written again
        asked = {row.number: self._looks.ask(project_path(self.folder, row.job)) for row in seen}
        waiting = wait(asked.values(), _PATIENCE).not_done
        looks = {number: look.result() for number, look in asked.items() if look not in waiting}
        return schemas.BatchVideos(
            batch=batch,
            start=start,
            videos=[self.video(row, looks.get(row.number), open_ids) for row in shown],
            more=len(rows) > count,
            pending=bool(waiting),
        )

    def next_doubtful(self, open_ids: dict[Path, str], after: int) -> schemas.NextDoubtful:
        """The next video of which something deserves a look, as far as one search gets."""
        until = time.monotonic() + _SEARCH
        with self.queue() as queue:
            for row in queue.rows("done", "failed", after=after):
                found = self._looks.at(project_path(self.folder, row.job))
                if found and found.review and found.review.worst:
                    return schemas.NextDoubtful(video=self.video(row, found, open_ids))
                if time.monotonic() > until:
                    return schemas.NextDoubtful(video=None, go_on_after=row.number)
        return schemas.NextDoubtful(video=None)

    def row(self, number: int) -> JobRow:
        """Raises NotFoundError."""
        with self.queue() as queue:
            row = next(queue.rows(after=number - 1), None)
        if row is None or row.number != number:
            raise NotFoundError(f"There is no video {number} in the batch {self.folder.name}.")
        return row

    def video(self, row: JobRow, look: Look | None, open_ids: dict[Path, str]) -> schemas.BatchVideo:
        path = project_path(self.folder, row.job)
        relative = self._root.relative(path)
        picture = f"/api/recent/thumbnail.jpg?path={quote(relative)}"
        return schemas.BatchVideo(
            number=row.number,
            name=row.job.name,
            state=row.state,
            retried=row.retried,
            silent=row.silent,
            done=row.done,
            total=row.total,
            seconds=None if row.result is None else row.result.seconds,
            reason=None if row.reason is None else row.reason.replace(row.job.source, Path(row.job.source).name),
            formats=[export.format for export in row.job.exports],
            project=relative if (row.ended or row.result) and path.is_file() else None,
            open_id=open_ids.get(path),
            thumbnail=picture if look is not None and look.source_there else None,
            review=None if look is None else look.review,
            outdated=look is not None and bool(look.digest) and is_outdated(row, look.digest),
        )

    def _state(self, queue: Queue) -> schemas.BatchState:
        done, total = queue.frames()
        return schemas.BatchState(
            id=self.id,
            name=self.folder.name,
            path="" if self.folder == self._root.folder else self._root.relative(self.folder),
            counts=schemas.BatchCounts(**queue.counts()),
            frames_done=done,
            frames_total=total,
            workers=sum(not row.silent for row in queue.rows("running")),
        )


class Batches:
    """The batches that were opened in a studio."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._open: dict[str, Batch] = {}
        self._looks = Looks(root)

    def all(self) -> list[Batch]:
        return list(self._open.values())

    def get(self, batch: str) -> Batch:
        """An open batch by its id. Raises NotFoundError."""
        found = self._open.get(batch)
        if found is None:
            raise NotFoundError(f"No batch {batch[:40]!r} is open. Open it first: POST /api/batches.")
        return found

    def open(self, path: str) -> Batch:
        """The batch in a folder. Raises NotFoundError, OutsideRootError, BatchError."""
        return self._opened(self._root.existing(path))

    def place_of(self, project: Path) -> schemas.BatchPlace | None:
        """Which video of which batch a project is, if it is one.

        Raises BusyError for one that a worker has or is about to have.
        """
        folder = project.parent.parent
        if project.parent.name != "projects" or not self._root.holds(folder) or not (folder / QUEUE_FILE).is_file():
            return None
        try:
            batch = self._opened(folder)
            with batch.queue() as queue:
                row = next((row for row in queue.rows() if project_path(folder, row.job) == project), None)
                working = any(not running.silent for running in queue.rows("running"))
        except MaskletError:  # a queue that can't be read is no reason not to open a project
            return None
        if row is None:
            return None
        if row.state == "running" and not row.silent:
            raise BusyError(f"{row.job.name} is being worked on by its batch right now. Open it when that is done.")
        if row.state == "waiting" and working:
            raise BusyError(f"{row.job.name} waits for its turn in a batch that is running. Open it when it is done.")
        return schemas.BatchPlace(id=batch.id, name=batch.folder.name, path=batch.state().path, number=row.number)

    def close(self) -> None:
        self._looks.close()

    def _opened(self, folder: Path) -> Batch:
        batch = Batch(folder, self._root, self._looks)
        batch.state()  # raises where there is none
        return self._open.setdefault(batch.id, batch)
