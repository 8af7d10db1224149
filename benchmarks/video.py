"""Whole runs: frames a second from file to overlay, cost and memory over thousands of frames, start-up."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

BUNNY = Path(__file__).resolve().parent.parent / "src" / "masklet" / "data" / "bunny.mp4"
BUNNY_BOX = (153, 219, 571, 558)


def _masklet(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "masklet", *arguments]


def measure_track_command(dtype: str, rounds: int) -> dict[str, Any]:
    """``masklet track`` on the packaged 720p clip: decode, network, masks, overlay; frames a second without start-up.

    Start-up is taken off by running one frame as well.
    """
    from masklet.media import open_media

    with open_media(BUNNY) as video:
        frames = len(video)
    seconds = {}
    for stop in (0, frames - 1):
        runs = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                box = ",".join(map(str, BUNNY_BOX))
                command = _masklet("track", str(BUNNY), "--box", box, "--dtype", dtype, "--end", str(stop))
                subprocess.run([*command, "-o", f"{folder}/out"], check=True, capture_output=True)
                runs.append(time.perf_counter() - start)
        seconds[stop] = statistics.median(runs)
    rate = (frames - 1) / (seconds[frames - 1] - seconds[0])
    return {"dtype": dtype, "frames": frames, "seconds": seconds[frames - 1], "one frame": seconds[0], "fps": rate}


def measure_start_up(rounds: int) -> dict[str, float]:
    """Seconds until ``masklet --help`` has printed, and until a cold process has its first mask of ``nano``."""
    first_mask = (
        "import masklet; s = masklet.Session(__import__('sys').argv[1], 'nano'); "
        "print(s.add_prompt(0, box=(153, 219, 571, 558))[1].mask.sum())"
    )
    commands = {"help": _masklet("--help"), "first mask": [sys.executable, "-c", first_mask, str(BUNNY)]}
    result = {}
    for name, command in commands.items():
        runs = []
        for _ in range(rounds):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            runs.append(time.perf_counter() - start)
        result[name] = statistics.median(runs)
    return result


def make_long_video(path: Path, frames: int, width: int = 640, height: int = 360) -> None:
    """The packaged clip there and back again, until there are enough frames."""
    from masklet.media import VideoWriter, open_media

    with open_media(BUNNY) as clip, VideoWriter(path, width, height, rate=Fraction(25)) as writer:
        import cv2

        pictures = [cv2.resize(frame.image_hwc, (width, height), interpolation=cv2.INTER_AREA) for frame in clip]
        order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
        for i in range(frames):
            writer.write(pictures[order[i % len(order)]])
        writer.commit()


def track_and_watch(path: Path, objects: int, every: int = 50) -> dict[str, Any]:
    """Track a long video in this process; resident memory and seconds a frame as they go."""
    import psutil

    from masklet import Session

    process = psutil.Process(os.getpid())
    with Session(path, "nano") as session:
        scale = session.size.width / 1280
        for i in range(objects):
            box = np.array(BUNNY_BOX) * scale + 3 * i
            session.add_prompt(0, i + 1, box=box)
        memory, seconds, marks = [], [], []
        start = time.perf_counter()
        for masks in session.propagate():
            for found in masks:
                found.mask.any()
            if masks.index % every == 0 and masks.index:
                now = time.perf_counter()
                marks.append(masks.index)
                memory.append(process.memory_info().rss / 2**20)
                seconds.append((now - start) / every)
                start = now
    return {"frames": marks, "resident MB": memory, "seconds a frame": seconds}


def measure_long_video(frames: int, objects: int = 1) -> dict[str, Any]:
    """Resident memory and cost a frame over a long video, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        make_long_video(path, frames + 1)
        program = (
            "import json, sys; from pathlib import Path; from benchmarks.video import track_and_watch; "
            "print(json.dumps(track_and_watch(Path(sys.argv[1]), int(sys.argv[2]))))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), str(objects)], check=True, capture_output=True, text=True
        )
    result = json.loads(done.stdout.splitlines()[-1])
    at = dict(zip(result["frames"], result["resident MB"], strict=True))
    early, late = min(200, frames // 2 // 50 * 50), result["frames"][-1]
    result |= {"objects": objects, "early": early, "late": late, "growth": at[late] / at[early] - 1}
    return result
