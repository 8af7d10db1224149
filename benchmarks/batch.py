"""What a batch costs and brings: the queue against one command a clip, two workers against one, and its memory."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from masklet.jobs.driver import open_queue
from masklet.jobs.job import JobResult, VideoJob
from masklet.runtime import usable_cores

_MASKLET = [sys.executable, "-m", "masklet"]
_RESULT = JobResult(model="nano", frames=1, seconds=0.0)


def find_clips(place: Path) -> list[tuple[Path, Path]]:
    """Frames and first mask of every sequence of a data set in DAVIS layout."""
    return [
        (place / "JPEGImages" / "480p" / masks.name, min(masks.glob("*.png")))
        for masks in sorted(place.glob("Annotations/480p/*/"))
    ]


def measure_batch(places: Sequence[Path], rounds: int, frames: int = 12) -> dict[str, Any]:
    """Medians of whole commands over `rounds`, in turns: seconds of one command a clip, and of a batch of them all.

    `memory` is the driver's peak in MB after so many of 2,000 jobs.
    """
    clips = [clip for place in places for clip in find_clips(place)]
    counts = sorted({1, usable_cores()})
    seconds: dict[str, list[float]] = {name: [] for name in ("alone", *(f"{count} workers" for count in counts))}
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        table = folder / "clips.csv"
        lines = [f"{images},{mask},{frames - 1}\n" for images, mask in clips]
        table.write_text("video,mask,end\n" + "".join(lines))
        for _ in range(rounds):
            began = time.perf_counter()
            for images, mask in clips:
                project = folder / "alone" / f"{images.name}.masklet"
                project.parent.mkdir(exist_ok=True)
                prompts = ["--mask", str(mask), "--end", str(frames - 1)]
                _run("track", str(images), *prompts, "--project", str(project))
            seconds["alone"].append(time.perf_counter() - began)
            shutil.rmtree(folder / "alone")
            for count in counts:
                began = time.perf_counter()
                _run("batch", str(table), "-o", str(folder / "out"), "--workers", str(count))
                seconds[f"{count} workers"].append(time.perf_counter() - began)
                shutil.rmtree(folder / "out")
    medians = {name: median(found) for name, found in seconds.items()}
    return {"clips": len(clips), "frames": frames, "seconds": medians, "memory": measure_memory(2000)}


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
    subprocess.run([*_MASKLET, *words], check=True, capture_output=True)
