"""What a batch costs and brings: the queue against a bare loop and against one command a clip, several workers against
one, and the memory of its driver."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.agreement import find_clips
from benchmarks.video import BUNNY
from masklet.cores import usable_cores
from masklet.jobs.driver import open_queue
from masklet.jobs.job import JobResult, VideoJob
from masklet.jobs.table import read_jobs
from masklet.jobs.work import project_path
from masklet.runs import actions

MASKLET = [sys.executable, "-m", "masklet"]
_RESULT = JobResult(model="nano", frames=1, seconds=0.0)


def write_table(places: Sequence[Path], frames: int, path: Path) -> Path:
    """A table of the first frames of every sequence of data sets in DAVIS layout, each with its first mask; without
    any, of four stretches of the packaged clip."""
    entries: list[dict[str, Any]] = [
        {"video": str(clip.frames.absolute()), "mask": str(clip.mask.absolute()), "frame": 0, "end": frames - 1}
        for clip in find_clips(places)
        if clip.mask is not None
    ]
    for number in range(0 if entries else 4):
        bunny = {"video": str(BUNNY), "mask": str(BUNNY.with_name("bunny_frame48.png")), "frame": 48}
        entries.append(bunny | {"name": f"bunny{number}", "start": 48 + number, "end": 47 + number + frames})
    path.write_text(json.dumps(entries))
    return path


def measure_batch(places: Sequence[Path], rounds: int, frames: int = 24) -> dict[str, Any]:
    """Medians over `rounds`, in turns, of the seconds of whole commands: of one a clip (`alone`), of a process that
    tracks clip after clip and does nothing else (`loop`), and of a batch of them all.

    `queue` is what the queue costs: for a bare loop and for a batch of one worker, the seconds from the beginning of
    the first clip to the end of the last one, when processes are started already. `memory` is the driver's peak in MB
    after so many of 2,000 jobs.
    """
    counts = sorted({1, usable_cores()})
    seconds: dict[str, list[float]] = {name: [] for name in ("alone", "loop", *(f"{n} workers" for n in counts))}
    inside: dict[str, list[float]] = {"loop": [], "batch": []}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        out = folder / "out"
        table = write_table(places, frames, folder / "clips.json")
        jobs = read_jobs(table)
        for turn in range(rounds):
            if turn == 0:  # it takes long
                began = time.perf_counter()
                for job in jobs:
                    [prompt], own = job.prompts, job.settings
                    place = ["--frame", str(prompt.frame), "--start", own.start or "0", "--end", str(own.end)]
                    _run("track", job.source, "--mask", str(prompt.mask), *place, "-o", str(out / job.name))
                seconds["alone"].append(time.perf_counter() - began)
                shutil.rmtree(out)
            began = time.perf_counter()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                inside["loop"].append(pool.submit(_loop, jobs, out).result())
            seconds["loop"].append(time.perf_counter() - began)
            shutil.rmtree(out)
            for count in counts:
                began = time.perf_counter()
                _run("batch", str(table), "-o", str(out), "--workers", str(count))
                seconds[f"{count} workers"].append(time.perf_counter() - began)
                if count == 1:
                    with open_queue(out) as queue:
                        rows = list(queue.rows("done"))
                    inside["batch"].append(max(row.ended or 0 for row in rows) - min(row.began or 0 for row in rows))
                shutil.rmtree(out)
    return {
        "clips": len(jobs),
        "frames": frames,
        "seconds": {name: median(found) for name, found in seconds.items()},
        "queue": {name: median(found) for name, found in inside.items()},
        "memory": measure_memory(2000),
    }


def _loop(jobs: Sequence[VideoJob], folder: Path) -> float:
    """Tracks one job after the other into a project; returns the seconds that took."""
    project_path(folder, jobs[0]).parent.mkdir(parents=True)
    began = time.perf_counter()
    for job in jobs:
        actions.begin(project_path(folder, job), job.request())
    return time.perf_counter() - began


def measure_memory(jobs: int) -> Sequence[tuple[int, float]]:
    """Peak memory of this process in MB, as a queue goes from the first of `jobs` to the last."""
    found = []
    with tempfile.TemporaryDirectory() as folder, open_queue(folder) as queue:
        queue.add(VideoJob(name=f"{number}", source="x.mp4", prompts=({"points": [(1, 1)]},)) for number in range(jobs))
        for number in range(jobs):
            row = queue.claim("one")
            assert row is not None
            queue.beat(row.number, "one", 1, 1)
            queue.finish(row.number, "one", _RESULT)
            if number % max(1, jobs // 8) == 0 or number == jobs - 1:
                queue.counts(), queue.frames(), sum(1 for _ in queue.rows())
                found.append((number + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return found


def _run(*words: str) -> None:
    subprocess.run([*MASKLET, *words], check=True, capture_output=True)
