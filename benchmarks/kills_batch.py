"""A batch that is killed at random moments: it ends with the masks of one that nobody disturbed, and loses no frame."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.batch import MASKLET, write_table
from benchmarks.kills import Tally
from masklet.jobs.queue import QUEUE_FILE, Queue
from masklet.jobs.table import read_jobs
from masklet.jobs.work import project_path
from masklet.project import Project

_FRAMES = 24
WHO = {"everything": "all of it", "driver": "its command", "worker": "a worker of it"}
#: The longest time from a start to a kill, as a share of what an undisturbed batch takes, and in seconds.
_MOST_SHARE, _MOST_SECONDS = 0.6, 10.0


class KilledBatch:
    """Batches of two workers, one after the other. By chance, everything is killed at once, the driver or a worker."""

    def __init__(self, folder: Path, chance: random.Random, clips: Sequence[Path] = ()) -> None:
        self._chance, self._folder = chance, folder
        self._table = write_table(clips, _FRAMES, folder / "clips.json")
        self._out, whole = folder / "batch", folder / "whole"
        began = time.monotonic()
        _start(self._table, whole).wait()
        self._most = min(_MOST_SHARE * (time.monotonic() - began), _MOST_SECONDS)
        self._wanted = self._masks(whole), _tables(whole), _files(whole)

    def live(self, tally: Tally) -> None:
        driver = _start(self._table, self._out)
        while _lives(driver, self._chance.uniform(0, self._most)):
            victim = self._chance.choice(list(WHO))
            if _kill(driver, victim, self._chance):
                tally.kills[f"a batch went on, {WHO[victim]}"] += 1
            if victim != "worker":
                driver.wait()
                return
        self._check(tally)

    def end(self, tally: Tally) -> None:
        _start(self._table, self._out).wait()
        self._check(tally)

    def _check(self, tally: Tally) -> None:
        """Compares a batch that came to its end with the undisturbed one, and makes room for the next."""
        masks, tables, files = self._wanted
        found = self._masks(self._out)
        tally.runs += len(read_jobs(self._table))
        tally.said["frame"] += len(masks)
        tally.wrong += [f"{key} is lost" for key in masks.keys() - found.keys()]
        tally.wrong += [f"{key} is different" for key, mask in masks.items() if found.get(key, mask) != mask]
        tally.wrong += [f"{name} is different" for name, text in tables.items() if _tables(self._out).get(name) != text]
        tally.wrong += [f"{path} was left over" for path in _files(self._out) - files]
        with Queue(self._out / QUEUE_FILE, read_only=True) as queue:
            tally.wrong += [f"{row.job.name} failed: {row.reason}" for row in queue.rows("failed")]
        shutil.rmtree(self._out)

    def _masks(self, out: Path) -> dict[tuple[str, int, int], object]:
        """Whatever is known of every mask, by video, frame and object."""
        found: dict[tuple[str, int, int], object] = {}
        for job in read_jobs(self._table):
            path = project_path(out, job)
            if path.is_file():
                with Project.open(path, read_only=True) as project:
                    found |= {(job.name, mask.frame, mask.object_id): mask for mask in project.masks()}
        return found


def _start(table: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [*MASKLET, "batch", str(table), "-o", str(out), "--workers", "2", "-f", "csv"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _lives(driver: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits so long; whether the driver hasn't ended by then."""
    try:
        driver.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill(driver: subprocess.Popen[bytes], victim: str, chance: random.Random) -> bool:
    """Whether there was somebody to kill."""
    workers = _workers(driver.pid)
    chosen = [*workers, driver.pid] if victim == "everything" else [driver.pid]
    if victim == "worker":
        chosen = [chance.choice(workers)] if workers else []
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return bool(chosen)


def _workers(driver: int) -> list[int]:
    """Processes that work for a driver (Linux)."""
    found = []
    with suppress(OSError):  # somebody has just ended
        for child in Path(f"/proc/{driver}/task/{driver}/children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def _tables(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (out / "exports" / "csv").glob("*.csv") if path.is_file()}


def _files(out: Path) -> set[Path]:
    """All but what SQLite keeps beside its files while they are open."""
    return {path.relative_to(out) for path in out.rglob("*") if not path.name.endswith(("-wal", "-shm"))}
