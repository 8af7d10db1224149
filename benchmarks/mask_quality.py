"""How close outlines come to the truth, as they are tracked and as they are finished.

    python -m benchmarks.mask_quality DAVIS --every 12

DAVIS is a folder of the 2016/2017 layout (JPEGImages/480p, Annotations/480p); objects of a sequence are taken as
one. Nothing of it is kept but the numbers. Coarse masks come from the annotations: averaged over the cells of a
low-resolution mask and turned into logits ("cells"), the same after a blur of 0.8 cells, which is closer to a
network's uncertain outline ("blurred"), the annotation itself ("perfect": refining can only harm it), or from
tracking with nano from the first frame's annotation ("nano").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from masklet.evaluation.boundary import boundary_accuracy
from masklet.evaluation.region import region_similarity
from masklet.masks import edges
from masklet.masks.finish import finish
from masklet.masks.settings import MaskSettings

FOLDERS = ("JPEGImages/480p", "Annotations/480p")


@dataclass(frozen=True)
class Shot:
    """One frame: picture, true mask, and a tracker's logits or a boolean mask of the frame's size."""

    sequence: str
    image_hwc: np.ndarray
    truth_hw: np.ndarray
    source_hw: np.ndarray
    cells: int


Method = Callable[[Shot], np.ndarray]


def frames_of(data: Path, every: int, first: int = 3) -> Iterator[tuple[str, Path, Path]]:
    """(sequence, picture, annotation) of every `every`-th frame."""
    pictures, annotations = (data / folder for folder in FOLDERS)
    for folder in sorted(path for path in annotations.iterdir() if path.is_dir()):
        for annotation in sorted(folder.glob("*.png"))[first::every]:
            yield folder.name, pictures / folder.name / f"{annotation.stem}.jpg", annotation


def read(picture: Path, annotation: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and true mask, both `scale` times as large as on disk."""
    image, truth = np.asarray(Image.open(picture).convert("RGB")), np.asarray(Image.open(annotation)) > 0
    if scale > 1:
        size = (image.shape[1] * scale, image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        truth = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_CUBIC) > 0.5
    return image, truth


def coarse_logits(truth: np.ndarray, cells: int, blur: float) -> np.ndarray:
    share = cv2.resize(truth.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    if blur:
        share = cv2.GaussianBlur(share, (0, 0), blur)
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.log(share / (1 - share)).astype(np.float32)


def made_shots(data: Path, every: int, scale: int, cells: int, blur: float) -> Iterator[Shot]:
    """Shots whose masks come from the annotation; `cells` 0 stands for the annotation itself."""
    for sequence, picture, annotation in frames_of(data, every):
        image, truth = read(picture, annotation, scale)
        if truth.any():
            source = coarse_logits(truth, cells, blur) if cells else truth
            yield Shot(sequence, image, truth, source, cells or 256)


def tracked_shots(data: Path, every: int, model: str, length: int) -> Iterator[Shot]:
    """Shots tracked through the first `length` frames of each sequence from the first frame's annotation."""
    from masklet.tracking.tracker import VideoTracker

    pictures, annotations = (data / folder for folder in FOLDERS)
    for folder in sorted(path for path in annotations.iterdir() if path.is_dir()):
        tracker = VideoTracker(model)
        for index, annotation in enumerate(sorted(folder.glob("*.png"))[:length]):
            image, truth = read(pictures / folder.name / f"{annotation.stem}.jpg", annotation, 1)
            prompts = {1: {"mask": truth}} if index == 0 else None
            logits = tracker.push(image, prompts)[1].low_res_logits_hw.float().cpu().numpy()
            if index and index % every == 0 and truth.any():
                yield Shot(folder.name, image, truth, logits, logits.shape[0])


def as_tracked(source_hw: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A mask of the frame's size (height, width) as the tracker hands it out: linear between the cells."""
    if source_hw.dtype == bool:
        return source_hw
    return cv2.resize(source_hw, size[::-1], interpolation=cv2.INTER_LINEAR) > 0


def guided_filter(shot: Shot, epsilon: float = 1e-4) -> np.ndarray:
    """For comparison: the colour guided filter (He, Sun and Tang 2013) on the upsampled mask."""
    soft = finish(shot.source_hw, MaskSettings(feather=0), size=shot.truth_hw.shape).mask_hw.astype(np.float32)
    image = shot.image_hwc.astype(np.float32) / 255
    radius = max(1, round(edges.radius_for(*shot.truth_hw.shape, shot.cells) / 2))

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values, -1, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    average, target = mean(image), mean(soft)
    with_mask = mean(image * soft[..., None]) - average * target[..., None]
    products = np.stack([mean(image * image[..., k : k + 1]) for k in range(3)], axis=-1)
    spread = products - average[..., :, None] * average[..., None, :] + epsilon * np.eye(3, dtype=np.float32)
    slope = np.linalg.solve(spread, with_mask[..., None])[..., 0].astype(np.float32)
    offset = target - (slope * average).sum(axis=-1)
    return (mean(slope) * image).sum(axis=-1) + mean(offset) > 0.5


def methods(strength: float, with_guided: bool) -> dict[str, Method]:
    """Ways to a mask, by name: as the tracker hands it out, smoothly upsampled, refined from logits, and refined
    from the boolean mask that a project stores."""

    def smooth(shot: Shot) -> np.ndarray:
        return finish(shot.source_hw, MaskSettings(feather=0), size=shot.truth_hw.shape).mask_hw

    def plain(shot: Shot) -> np.ndarray:
        return as_tracked(shot.source_hw, shot.truth_hw.shape)

    def refined(shot: Shot) -> np.ndarray:
        settings = MaskSettings(refine=strength, feather=0)
        return finish(shot.source_hw, settings, shot.image_hwc, cells=shot.cells).mask_hw

    def stored(shot: Shot) -> np.ndarray:
        settings = MaskSettings(refine=strength, feather=0)
        return finish(plain(shot), settings, shot.image_hwc, cells=shot.cells).mask_hw

    found = {"plain": plain, "smooth": smooth, "refined": refined, "stored, refined": stored}
    if with_guided:
        found["guided filter"] = guided_filter
    return found


def measure(shots: Iterator[Shot], ways: dict[str, Method], scale: int) -> dict[str, list[float]]:
    """Per way the mean over sequences of F at 0.8% of the diagonal, at 2 and at 1 pixel (of 480p), and of J."""
    scores: dict[str, dict[str, list[list[float]]]] = {name: {} for name in ways}
    for shot in shots:
        for name, way in ways.items():
            mask = way(shot)
            row = [boundary_accuracy(shot.truth_hw, mask)]
            row += [boundary_accuracy(shot.truth_hw, mask, tolerance=pixels * scale) for pixels in (2, 1)]
            row.append(region_similarity(shot.truth_hw, mask))
            scores[name].setdefault(shot.sequence, []).append(row)
    return {
        name: np.mean([np.mean(rows, axis=0) for rows in by_sequence.values()], axis=0).round(4).tolist()
        for name, by_sequence in scores.items()
        if by_sequence
    }


def main(
    data: Annotated[Path, typer.Argument(help="Folder with JPEGImages/480p and Annotations/480p.")],
    every: Annotated[int, typer.Option(help="Take every so many frames.")] = 12,
    strength: Annotated[float, typer.Option(help="Strength of the refinement, 0 to 1.")] = 1.0,
    sets: Annotated[str, typer.Option(help="Sets of masks: cells, blurred, upscaled, perfect, nano.")] = (
        "cells,blurred,upscaled,perfect,nano"
    ),
    guided: Annotated[bool, typer.Option(help="Measure a guided filter too.")] = True,
    output: Annotated[Path | None, typer.Option("-o", help="JSON to write.")] = None,
) -> None:
    """Measure boundary F (DAVIS) of masks as tracked and as finished."""
    cv2.setNumThreads(1)
    ways = methods(strength, guided)
    plans: list[tuple[str, int, Callable[[], Iterator[Shot]]]] = []
    wanted = [name.strip() for name in sets.split(",")]
    if "cells" in wanted:
        for cells in (64, 128, 256):
            plans.append((f"cells {cells}", 1, lambda c=cells: made_shots(data, every, 1, c, 0.0)))
    if "blurred" in wanted:
        for cells in (64, 128, 256):
            plans.append((f"blurred {cells}", 1, lambda c=cells: made_shots(data, every, 1, c, 0.8)))
    if "upscaled" in wanted:
        for cells in (64, 128, 256):
            plans.append((f"2x, blurred {cells}", 2, lambda c=cells: made_shots(data, every, 2, c, 0.8)))
    if "perfect" in wanted:
        plans.append(("perfect", 1, lambda: made_shots(data, every, 1, 0, 0.0)))
    if "nano" in wanted:
        plans.append(("nano", 1, lambda: tracked_shots(data, max(2, every // 2), "nano", 40)))
    if not plans:
        raise typer.BadParameter("choose from: cells, blurred, upscaled, perfect, nano", param_hint="--sets")
    table = Table("masks", "way", "F", "F 2 px", "F 1 px", "J", title="boundary F and J")
    results = {}
    for title, scale, shots in plans:
        results[title] = measure(shots(), ways, scale)
        for name, row in results[title].items():
            table.add_row(title, name, *(f"{value:.4f}" for value in row))
        table.add_section()
    Console().print(table)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
