"""The queue of a batch: one SQLite file beside what it makes, with a row for every video.

Whoever works takes a job with `claim` and shows with `beat` that it is alive. A job whose worker has been silent for
longer than its lease is taken over by the next one, so any process may be killed at any moment.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from masklet.errors import BatchError
from masklet.jobs.job import JobResult, VideoJob

State = Literal["waiting", "running", "done", "failed"]
STATES: tuple[State, ...] = ("waiting", "running", "done", "failed")

#: The file of the queue, in the folder of its batch.
QUEUE_FILE = "batch.sqlite"
#: Seconds after which a silent worker's job is free again.
LEASE = 30.0
#: Tries in a row without getting further after which a job has failed. Where tracking hadn't begun yet, or that isn't
#: known, more are allowed: somebody may have ended the batch while models were loading.
MOST_STUCK, MOST_STUCK_EARLY = 3, 9
_DIED = "The process that worked on it died"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    asked TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    anew INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    stuck INTEGER NOT NULL DEFAULT 0,
    begun INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    lease REAL,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    written TEXT NOT NULL DEFAULT '{}',
    result TEXT,
    reason TEXT,
    began REAL,
    ended REAL
) STRICT;
CREATE INDEX IF NOT EXISTS job_state ON job (state, stuck, number);
PRAGMA user_version = 1;
"""
#: What a job becomes that is to be done again from the beginning, or (without `_ANEW`) whose exports are to be written.
#: Its result stays then: what was tracked once is not tracked again.
_EXPORTED_LATER = (
    "state = 'waiting', written = '{}', attempts = 0, stuck = 0, worker = NULL, lease = NULL, reason = NULL, "
    "began = NULL, ended = NULL"
)
_ANEW = f"anew = 1, done = 0, total = 0, result = NULL, {_EXPORTED_LATER}"
#: The job that a worker has.
_MINE = "WHERE number = ? AND worker = ? AND state = 'running'"


@dataclass(frozen=True)
class JobRow:
    """A job as the queue knows it.

    Attributes:
        state: one of `STATES`.
        anew: its project, if there is one, is of what was asked before, and gets replaced.
        attempts: tries so far, with the one under way; those that the user stopped don't count.
        worker: who works on it, or did last.
        lease: until when it is the worker's, in seconds since 1970; None where nobody works on it.
        done, total: frames of its run; total is 0 until that is known.
        written: the exports that are complete, each with the digest of what it shows (`Project.digest`).
        result: what became of it when it was done last, also while its exports are written anew.
        reason: why it failed, or why it is tried again.
        began, ended: seconds since 1970.
    """

    number: int
    job: VideoJob
    state: State
    anew: bool
    attempts: int
    worker: str | None
    lease: float | None
    done: int
    total: int
    written: Mapping[str, str]
    result: JobResult | None
    reason: str | None
    began: float | None
    ended: float | None

    @property
    def silent(self) -> bool:
        """Nobody works on it any more, though it was begun: its worker is gone."""
        return self.state == "running" and (self.lease or 0) < time.time()

    @property
    def retried(self) -> bool:
        """Whether an earlier try failed, or ended with its process."""
        return self.attempts > (self.state != "waiting")


class Queue:
    """The jobs of one batch. Every method may be called from any thread or process, and is durable when it returns."""

    def __init__(self, path: str | os.PathLike[str], *, make: bool = True, read_only: bool = False) -> None:
        """Opens the queue, or begins one. `read_only` never makes anybody wait who writes to it.

        Raises BatchError where that isn't possible.
        """
        self.path = Path(path)
        self._mutex = threading.RLock()
        if (read_only or not make) and not self.path.is_file():
            raise BatchError(f"There is no batch in {self.path.parent}: {self.path.name} isn't there.")
        with self._explained():
            address = f"{self.path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._connection = sqlite3.connect(
                address, uri=True, timeout=60, check_same_thread=False, isolation_level=None
            )
            self._connection.row_factory = sqlite3.Row
            if not read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            [version] = self._connection.execute("PRAGMA user_version").fetchone()
            if version > 1:
                raise BatchError(f"{self.path} was made by a newer masklet. Update masklet to go on with it.")
            if not version and not read_only:
                self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, jobs: Iterable[VideoJob], *, again: bool = False) -> int:
        """Puts jobs at the end of the queue and returns how many there are to do. Those that it has already are left as
        they are; where only the exports differ, those are written. `again` lets jobs begin anew that are asked for
        differently now.

        Raises BatchError: a job of that name is there already and asks for something else, or is being worked on.
        """
        new = 0
        with self._writing():
            for job in jobs:
                asked = job.model_dump_json(exclude_defaults=True)
                there = self._execute("SELECT * FROM job WHERE name = ?", job.name).fetchone()
                if there is None:
                    self._execute("INSERT INTO job (name, asked) VALUES (?, ?)", job.name, asked)
                    new += 1
                    continue
                # Which shots have no prompt is nothing to track.
                before = self._row(there).job.model_copy(update={"unprompted": job.unprompted})
                if before == job:
                    again_from = ""
                elif there["state"] == "running" and there["lease"] > time.time():
                    raise BatchError(f"{job.name} is being tracked with other prompts, settings or formats right now.")
                elif before.model_copy(update={"exports": job.exports}) == job:
                    again_from = f", {_EXPORTED_LATER}"
                elif again:
                    again_from = f", {_ANEW}"
                else:
                    raise BatchError(
                        f"{job.name} is in this batch already with other prompts or settings. Give it another name, "
                        "choose another folder for the batch, or use --overwrite to track it anew."
                    )
                self._execute(f"UPDATE job SET asked = ?{again_from} WHERE name = ?", asked, job.name)
                new += bool(again_from)
        return new

    def claim(self, worker: str, *, number: int | None = None, lease: float = LEASE) -> JobRow | None:
        """Takes the next job that waits (or that one), or whose worker has gone; None where there is nothing to do.

        Jobs that got stuck come last.
        """
        now = time.time()
        with self._writing():
            self._set_back("lease < ?", now)
            first = "state = 'waiting' AND number = coalesce(?, number) ORDER BY stuck, number LIMIT 1"
            taken = self._execute(
                "UPDATE job SET state = 'running', attempts = attempts + 1, begun = 0, worker = ?, lease = ?, "
                f"began = coalesce(began, ?) WHERE number = (SELECT number FROM job WHERE {first}) RETURNING *",
                worker,
                now + lease,
                now,
                number,
            ).fetchall()
            return self._row(taken[0]) if taken else None

    def beat(self, number: int, worker: str, done: int = 0, total: int = 0, *, lease: float = LEASE) -> bool:
        """Says that a worker is alive and how far it is. False: the job isn't its own any more, so it should stop.

        `total` is 0 until tracking begins.
        """
        with self._writing():
            mine = self._execute(
                "UPDATE job SET lease = ?1, done = max(done, ?2), total = max(total, ?3), anew = anew AND ?2 = 0, "
                "begun = begun OR ?3 > 0, stuck = iif(?2 > done, 0, stuck) "
                "WHERE number = ?4 AND worker = ?5 AND state = 'running'",
                time.time() + lease,
                done,
                total,
                number,
                worker,
            )
            return mine.rowcount == 1

    def wrote(self, number: int, worker: str, export: str, digest: str) -> None:
        """Notes that an export of a job is complete, and the digest of what it shows."""
        with self._writing():
            [written] = self._execute("SELECT written FROM job WHERE number = ?", number).fetchone()
            now = json.dumps({**json.loads(written), export: digest})
            self._execute(f"UPDATE job SET written = ? {_MINE}", now, number, worker)

    def finish(self, number: int, worker: str, result: JobResult) -> None:
        """Everything is tracked and written. The seconds of earlier times are added to those of the result."""
        with self._writing():
            [before] = self._execute("SELECT seconds FROM job WHERE number = ?", number).fetchone()
            result = result.model_copy(update={"seconds": round(before + result.seconds, 3)})
            became = "state = 'done', reason = NULL, result = ?, seconds = ?"
            self._end(number, worker, became, result.model_dump_json(), result.seconds)

    def fail(self, number: int, worker: str, reason: str) -> None:
        """It can't be done, and why."""
        with self._writing():
            self._end(number, worker, "state = 'failed', reason = ?", reason)

    def release(self, number: int, worker: str) -> None:
        """Gives a job back that the user stopped; it waits, and goes on from where it was."""
        with self._writing():
            waits = f"UPDATE job SET state = 'waiting', attempts = attempts - 1, lease = NULL {_MINE}"
            self._execute(waits, number, worker)

    def stuck(self, number: int, worker: str, reason: str) -> None:
        """It can't be done now, and why: it waits behind the others, or has failed if that happened too often."""
        with self._writing():
            self._set_back("number = ? AND worker = ?", number, worker, reason=reason)

    def lost(self, worker: str) -> None:
        """A worker died by itself: its job waits behind the others, or has failed if that happened too often."""
        with self._writing():
            self._set_back("worker = ?", worker, most_early=MOST_STUCK)

    def abandoned(self) -> None:
        """Every worker is gone, and whoever began them: what they worked on waits, or has failed, as above."""
        with self._writing():
            self._set_back("true")

    def export_again(self, number: int) -> bool:
        """Lets a job that is done wait for its exports to be written anew. False: it isn't done."""
        with self._writing():
            done = f"UPDATE job SET {_EXPORTED_LATER} WHERE number = ? AND state = 'done'"
            return self._execute(done, number).rowcount == 1

    def retry(self) -> int:
        """Lets jobs that failed wait again; returns how many."""
        with self._writing():
            again = "state = 'waiting', stuck = 0, ended = NULL"
            return self._execute(f"UPDATE job SET {again} WHERE state = 'failed'").rowcount

    def counts(self) -> dict[State, int]:
        """How many jobs are in every state."""
        with self._mutex, self._explained():
            found = dict(self._execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def frames(self) -> tuple[int, int]:
        """Frames that are tracked, and frames of all jobs whose length is known."""
        with self._mutex, self._explained():
            done, total = self._execute("SELECT sum(done), sum(max(done, total)) FROM job").fetchone()
        return done or 0, total or 0

    def rows(self, *states: State, after: int = -1, skip: int = 0, search: str = "") -> Iterator[JobRow]:
        """The jobs in these states (all by default) in their order, a few at a time.

        Those that come after a number, without the first `skip`, and with `search` in their name.
        """
        wanted = json.dumps(states or STATES)
        while True:
            with self._mutex, self._explained():
                found = self._execute(
                    "SELECT * FROM job WHERE number > ? AND state IN (SELECT value FROM json_each(?)) "
                    "AND instr(lower(name), lower(?)) ORDER BY number LIMIT 100 OFFSET ?",
                    after,
                    wanted,
                    search,
                    skip,
                ).fetchall()
            if not found:
                return
            yield from map(self._row, found)
            after, skip = found[-1]["number"], 0

    def _end(self, number: int, worker: str, became: str, *values: Any) -> None:
        end = f"UPDATE job SET {became}, lease = NULL, ended = ? {_MINE}"
        self._execute(end, *values, time.time(), number, worker)

    def _set_back(
        self, where: str, *values: Any, reason: str | None = None, most_early: int = MOST_STUCK_EARLY
    ) -> None:
        """Running jobs wait again, behind the others; those that got no further too often have failed."""
        chosen = f"UPDATE job SET stuck = stuck + 1 WHERE state = 'running' AND {where} RETURNING number, stuck, begun"
        for number, stuck, begun in self._execute(chosen, *values).fetchall():
            if stuck >= (MOST_STUCK if begun else most_early):
                state, ended = "failed", time.time()
                why = reason or f"{_DIED} {stuck} times without getting further. Is there enough memory?"
            else:
                state, ended, why = "waiting", None, reason or f"{_DIED}."
            again = "state = ?, lease = NULL, reason = ?, ended = ?"
            self._execute(f"UPDATE job SET {again} WHERE number = ?", state, why, ended, number)

    def _row(self, row: Mapping[str, Any]) -> JobRow:
        try:
            job = VideoJob.model_validate_json(row["asked"])
            result = None if row["result"] is None else JobResult.model_validate_json(row["result"])
        except ValidationError as problem:
            raise BatchError(f"{self.path} is damaged: the job {row['name']!r:.80} can't be read.") from problem
        return JobRow(
            job=job,
            result=result,
            written=json.loads(row["written"]),
            anew=bool(row["anew"]),
            **{name: row[name] for name in ("number", "state", "attempts", "worker", "lease", "done", "total")},
            **{name: row[name] for name in ("reason", "began", "ended")},
        )

    def _execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._mutex, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise BatchError(f"The queue {self.path} can't be used: {problem}.") from problem
