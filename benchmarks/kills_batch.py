"""A batch that is killed at random moments ends with the masks of one that nobody disturbed, and loses no frame."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.batch import MASKLET, write_table
from masklet.jobs.local import open_queue
from masklet.jobs.table import read_jobs
from masklet.jobs.work import project_path
from masklet.project import Project

#: The longest time from a start to a kill, as a share of what an undisturbed batch takes, and in seconds.
_MOST_SHARE, _MOST_SECONDS = 0.6, 10.0
_COUNTED = ("batches", "frames", "lost", "different", "exports that differ", "files too many", "failed")
VICTIMS = ("everything", "driver", "worker")


def measure_kills(
    places: Sequence[Path], kills: int, frames: int, say: Callable[[str], None], seed: int = 0
) -> dict[str, Any]:
    """Kills batches of two workers `kills` times in all (`kill -9`), and begins a new one whenever one is through.

    In turn and by chance, everything is killed at once, the driver alone or one worker alone; then the batch goes on.
    Counts frames whose masks, scores or flags differ from the undisturbed run (`different`), frames that have none
    (`lost`), exports that differ, files that should not be there, and videos that failed.
    """
    chance, found = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        table = write_table(places, frames, folder / "clips.json")
        began = time.monotonic()
        _start(table, folder / "whole").wait()
        most = min(_MOST_SHARE * (time.monotonic() - began), _MOST_SECONDS)
        wanted = _masks(table, folder / "whole")
        tables, files = _tables(folder / "whole"), _files(folder / "whole")
        while found["kills"] < kills:
            out = folder / f"batch{found['batches']}"
            while True:
                driver = _start(table, out)
                while found["kills"] < kills and _lives(driver, chance.uniform(0, most)):
                    victim = chance.choice(VICTIMS)
                    if _kill(driver, victim, chance):
                        found.update(["kills", f"kills of {victim}"])
                        say(f"kill {found['kills']} ({victim}), {_frames(out)} frames so far")
                    if victim != "worker":
                        break
                if driver.wait() != -signal.SIGKILL:
                    break
            got = _masks(table, out)
            found["batches"] += 1
            found["frames"] += len(wanted)
            found["lost"] += len(wanted.keys() - got.keys())
            found["different"] += sum(got[key] != mask for key, mask in wanted.items() if key in got)
            found["exports that differ"] += sum(_tables(out).get(name) != text for name, text in tables.items())
            found["files too many"] += len(_files(out) - files)
            with open_queue(out) as queue:
                found["failed"] += queue.counts()["failed"]
            say(f"batch {found['batches']}: {dict(found)}")
    return {name: found[name] for name in ("kills", *(f"kills of {victim}" for victim in VICTIMS))} | {
        name: found[name] for name in _COUNTED
    }


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


def _masks(table: Path, out: Path) -> Mapping[tuple[str, int, int], object]:
    """Whatever is known of every mask, by video, frame and object."""
    found: dict[tuple[str, int, int], object] = {}
    for job in read_jobs(table):
        path = project_path(out, job)
        if path.is_file():
            with Project.open(path, read_only=True) as project:
                found |= {(job.name, mask.frame, mask.object_id): mask for mask in project.masks()}
    return found


def _tables(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (out / "exports" / "csv").glob("*.csv") if path.is_file()}


def _files(out: Path) -> set[Path]:
    """All but what SQLite keeps beside its files while they are open."""
    return {path.relative_to(out) for path in out.rglob("*") if not path.name.endswith(("-wal", "-shm"))}


def _frames(out: Path) -> int:
    if not (out / "batch.sqlite").is_file():
        return 0
    with open_queue(out) as queue:
        return queue.frames()[0]
