"""What fine-tuning brings: nano tracks a clip before and after `masklet finetune` on ten annotated frames of it.

Ten frames of every sequence, equally spaced, get their true masks in a project, which is what correcting ends in. The
clip is tracked by both networks, from the mask of its first frame alone and from all ten. The other frames count.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.agreement import Clip, find_clips
from benchmarks.batch import MASKLET
from masklet import Session, load_model
from masklet.evaluation.region import region_similarity
from masklet.models.sam2 import SAM2
from masklet.project import Project

ANNOTATED = 10


def measure_tuning(places: Sequence[Path]) -> list[dict[str, Any]]:
    """J (0 to 100) on every sequence of data sets in DAVIS layout, whose masks show one object, and the minutes that
    fine-tuning took."""
    return [_measure(clip, clip.mask.parent) for clip in find_clips(places) if clip.mask is not None]


def _measure(clip: Clip, masks: Path) -> dict[str, Any]:
    truth = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in sorted(masks.glob("*.png"))]
    told = np.linspace(0, len(truth) - 1, ANNOTATED).round().astype(int).tolist()
    with tempfile.TemporaryDirectory(prefix="masklet-tuning-") as folder:
        path, run = Path(folder, "clip.masklet"), Path(folder, "run")
        with Project.create(path, clip.frames) as project:
            for frame in told:
                project.add_prompt(frame, 1, mask=truth[frame])
        begin = time.monotonic()
        subprocess.run([*MASKLET, "finetune", run, "--data", path], check=True, stderr=subprocess.DEVNULL)
        minutes = (time.monotonic() - begin) / 60
        networks = {"before": load_model("nano"), "after": load_model(checkpoint=run / "model.safetensors")}
    scores = {
        f"from {count}, {when}": _accuracy(network, clip.frames, truth, told, count)
        for count in (1, ANNOTATED)
        for when, network in networks.items()
    }
    return {"sequence": clip.name, "frames": len(truth), "minutes": minutes} | scores


def _accuracy(network: SAM2, frames: Path, truth: Sequence[np.ndarray], told: Sequence[int], count: int) -> float:
    """Mean J of the frames that weren't annotated, tracked from the first `count` annotated ones."""
    session = Session(frames, network)
    for frame in told[:count]:
        session.add_prompt(frame, 1, mask=truth[frame])
    tracked = {masks.index: masks[1].mask for masks in session.propagate()}
    rest = set(tracked).difference(told)
    return 100 * float(np.mean([region_similarity(truth[frame], tracked[frame]) for frame in rest]))
