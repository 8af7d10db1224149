"""How much corrections help where the review queue asks for them, against the same number elsewhere.

A simulated person gives the first frame's mask to nano, tracks, and then corrects frame after frame: looks at it,
clicks into the largest wrong region, up to five times, until the mask is good (IoU 0.9) or the next click would make
it worse, and tracks again to both sides up to what was decided there. Which frames: those that the queue asks for
("correct here next"), random ones (the mean of two draws), or equally spaced ones, placed for the number of corrections
that there will be. A frame where no click helps counts as a correction too.

Every row is kept in a CSV at once, so a measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.evaluation.first_mask import next_click
from masklet.evaluation.region import region_similarity
from masklet.project import Project
from masklet.project.review import judge
from masklet.project.review import next_click as ask_queue
from masklet.runs import actions
from masklet.runs.prompting import Prompter

COUNTS = (3, 5, 10)
CHOOSERS = {"queue", "random", "spaced"}
MOST_FRAMES, MOST_CLICKS, GOOD = 40, 5, 0.9
_FIELDS = ("sequence", "frames", "chooser", *(f"J{count}" for count in (0, *COUNTS)))

#: The frame to correct next, of a project and how many were corrected; None where there is nothing left to do.
Chooser = Callable[[Project, int], int | None]


def measure_review(places: Sequence[Path], kept: Path) -> list[dict[str, Any]]:
    """Mean J (0 to 100) of every chooser over the sequences of data sets in DAVIS layout, after 0, 3, 5, 10
    corrections. `kept` is the CSV with a row for every sequence and chooser."""
    done = _read(kept)
    for place in places:
        for masks in sorted(place.glob("Annotations/480p/*/")):
            missing = CHOOSERS - {row["chooser"] for row in done if row["sequence"] == masks.name}
            for row in measure_sequence(place / "JPEGImages" / "480p" / masks.name, masks, missing) if missing else ():
                done.append(row)
                _append(kept, row)
    return [
        {
            "chooser": chooser,
            "sequences": len({row["sequence"] for row in done}),
            **{name: float(np.mean([float(r[name]) for r in done if r["chooser"] == chooser])) for name in _FIELDS[3:]},
        }
        for chooser in sorted(CHOOSERS & {row["chooser"] for row in done})
    ]


def measure_sequence(pictures: Path, annotations: Path, choosers: Set[str]) -> Iterator[dict[str, Any]]:
    """A row for each of these choosers."""
    paths = sorted(pictures.glob("*.jpg"))
    paths = paths[:: -(-len(paths) // MOST_FRAMES)]
    truth = [np.asarray(Image.open(annotations / f"{path.stem}.png")) > 0 for path in paths]
    with tempfile.TemporaryDirectory(prefix="masklet-review-") as folder:
        clip = Path(folder, "clip")
        clip.mkdir()
        for index, path in enumerate(paths):
            shutil.copy(path, clip / f"{index:05d}.jpg")
        tracked = Path(folder, "tracked.masklet")
        with Project.create(tracked, clip) as project:
            project.add_prompt(0, 1, mask=truth[0])
            actions.track(project)
            before = _accuracy(project, truth)

        def corrected(choose: Chooser, counts: Sequence[int] = COUNTS) -> list[float]:
            mine = Path(shutil.copy(tracked, Path(folder, "corrected.masklet")))
            with Project.open(mine) as project:
                return _correct(project, truth, choose, counts)

        measures: dict[str, Callable[[], list[float]]] = {
            "queue": lambda: corrected(_queue),
            "random": lambda: np.mean([corrected(_random(len(paths), seed)) for seed in (1, 2)], axis=0).tolist(),
            "spaced": lambda: [corrected(_spaced(len(paths), count), [count])[0] for count in COUNTS],
        }
        for chooser in sorted(choosers):
            numbers = [f"{100 * value:.2f}" for value in (before, *measures[chooser]())]
            yield dict(zip(_FIELDS, [annotations.name, len(paths), chooser, *numbers], strict=True))


def _correct(project: Project, truth: Sequence[np.ndarray], choose: Chooser, counts: Sequence[int]) -> list[float]:
    """J after each number of corrections."""
    prompter = Prompter(project)
    scores = []
    for count in range(1, max(counts) + 1):
        frame = choose(project, count - 1)
        if frame is not None:
            _correct_frame(project, prompter, frame, truth[frame])
        if count in counts:
            scores.append(_accuracy(project, truth))
    return scores


def _correct_frame(project: Project, prompter: Prompter, frame: int, truth_hw: np.ndarray) -> None:
    kept = project.mask(frame, 1)
    mask = np.zeros_like(truth_hw) if kept is None or kept.lost else kept.mask
    accuracy, clicked = region_similarity(truth_hw, mask), False
    for _ in range(MOST_CLICKS):
        if accuracy >= GOOD:
            break
        point, label = next_click(truth_hw, mask)
        offered = prompter.preview(frame, 1, points=[point], labels=[label]).mask
        better = region_similarity(truth_hw, offered)
        if better <= accuracy:
            break
        prompter.add(frame, 1, points=[point], labels=[label])
        mask, accuracy, clicked = offered, better, True
    if clicked:
        actions.finish(actions.follow_steps(project, frame, 1, "both"))
    else:
        judge(project, 1, frame, frame, "accepted")


def _queue(project: Project, _: int) -> int | None:
    asked = ask_queue(project)
    return None if asked is None else asked.frame


def _random(frames: int, seed: int) -> Chooser:
    drawn = np.random.default_rng(seed).permutation(np.arange(1, frames))
    return lambda _, done: int(drawn[done])


def _spaced(frames: int, count: int) -> Chooser:
    """The first frame is known and a correction reaches to both sides, so the last one stands half a step from the
    end."""
    return lambda _, done: round((done + 1) * (frames - 1) / (count + 0.5))


def _accuracy(project: Project, truth: Sequence[np.ndarray]) -> float:
    """Mean J of all frames but the first, which was given."""
    masks = {mask.frame: mask.mask for mask in project.masks([1])}
    nothing = np.zeros_like(truth[0])
    return float(np.mean([region_similarity(t, masks.get(i, nothing)) for i, t in enumerate(truth) if i]))


def _read(kept: Path) -> list[dict[str, Any]]:
    if not kept.exists():
        return []
    with kept.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(kept: Path, row: dict[str, Any]) -> None:
    new = not kept.exists()
    with kept.open("a", newline="") as file:
        writer = csv.DictWriter(file, _FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)
