"""What smoothing masks in time does, to flicker and to their closeness to the truth.

    python -m benchmarks.mask_flicker DAVIS

The same data as benchmarks.mask_quality, but frames in a row. Masks: made from the annotations on 64 x 64 cells,
once as they are ("steady") and once with noise of its own on every frame ("flickering"), and tracked with nano.
Flicker counts the pixels that differ from the frame before and the frame after while those two agree, per pixel
of outline.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.mask_quality import FOLDERS, as_tracked, coarse_logits, read
from masklet.evaluation.boundary import boundary_accuracy, boundary_map
from masklet.evaluation.region import region_similarity
from masklet.masks.temporal import smooth

CELLS = 64


def clips(data: Path, kind: str, length: int) -> Iterator[tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]]:
    """Pictures, true masks and masks of each sequence's frames 1 to `length`."""
    from masklet.tracking.tracker import VideoTracker

    pictures, annotations = (data / folder for folder in FOLDERS)
    rng = np.random.default_rng(1)
    for folder in sorted(path for path in annotations.iterdir() if path.is_dir()):
        paths = sorted(folder.glob("*.png"))[: length + 1]
        frames = [read(pictures / folder.name / f"{path.stem}.jpg", path, 1) for path in paths]
        tracker = VideoTracker("nano") if kind == "nano" else None
        masks = []
        for index, (image, truth) in enumerate(frames):
            if tracker is not None:
                prompts = {1: {"mask": truth}} if index == 0 else None
                masks.append(tracker.push(image, prompts)[1].mask)
                continue
            logits = coarse_logits(truth, CELLS, 0.8)
            if kind == "flickering":
                noise = cv2.GaussianBlur(rng.standard_normal(logits.shape).astype(np.float32), (0, 0), 2)
                logits += 1.5 * noise / noise.std()
            masks.append(as_tracked(logits, truth.shape))
        images, truths = zip(*frames, strict=True)
        yield list(images[1:]), list(truths[1:]), masks[1:]


def flicker(masks: list[np.ndarray]) -> float:
    found = []
    for (before, now), (_, after) in pairwise(pairwise(masks)):
        outline = int(boundary_map(now).sum())
        if outline:
            found.append(int(((now != before) & (before == after)).sum()) / outline)
    return float(np.mean(found)) if found else 0.0


def main(
    data: Annotated[Path, typer.Argument(help="Folder with JPEGImages/480p and Annotations/480p.")],
    length: Annotated[int, typer.Option(help="Frames of each sequence.")] = 24,
) -> None:
    """Measure F, J and flicker of masks that are smoothed in time over 0, 1 and 2 frames to each side."""
    cv2.setNumThreads(1)
    table = Table("masks", "smooth_frames", "F", "F 1 px", "J", "flicker", title="smoothing in time")
    for kind in ("steady", "flickering", "nano"):
        rows: dict[int, list[list[float]]] = {0: [], 1: [], 2: []}
        for images, truths, masks in clips(data, kind, length):
            for radius, scores in rows.items():
                done = smooth(masks, images, radius) if radius else masks
                pairs = [(truth, mask) for truth, mask in zip(truths, done, strict=True) if truth.any()]
                scores.append(
                    [
                        float(np.mean([boundary_accuracy(*pair) for pair in pairs[::3]])),
                        float(np.mean([boundary_accuracy(*pair, tolerance=1) for pair in pairs[::3]])),
                        float(np.mean([region_similarity(*pair) for pair in pairs])),
                        flicker(done),
                    ]
                )
        for radius, scores in rows.items():
            table.add_row(kind, str(radius), *(f"{value:.4f}" for value in np.mean(scores, axis=0)))
        table.add_section()
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
