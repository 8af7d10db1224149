"""How much corrections help where the review queue asks for them, against the same number elsewhere.

A simulated person gives the first frame's mask to nano, tracks, and then corrects frame after frame, and tracks again
to both sides up to what was decided there. A correction is up to eight clicks, each into the region that is most wrong
then, of which those are kept that gave the best mask ("clicks"), or the true mask ("paint"), which leaves out how well
the network takes clicks. Which frames: those that the queue asks for ("correct here next"), random ones, or equally
spaced ones, placed for the number of corrections that there will be. A frame where no click helps counts too.

Every row is kept in a CSV at once, so a measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.evaluation.first_mask import next_click
from masklet.evaluation.region import region_similarity
from masklet.project import Project
from masklet.project.review import judge, review_objects
from masklet.project.review import next_click as ask_queue
from masklet.runs import actions
from masklet.runs.corrections import retrack
from masklet.runs.prompting import Prompter

COUNTS = (3, 5, 10)
WAYS = [(by, chooser) for by in ("clicks", "paint") for chooser in ("queue", "random", "spaced")]
MOST_FRAMES, MOST_CLICKS, GOOD = 40, 8, 0.9
_FIELDS = ("sequence", "frames", "by", "chooser", *(f"J{count}" for count in (0, *COUNTS)))

#: The frame to correct next, of a project and how many were corrected; None where there is nothing left to do.
Chooser = Callable[[Project, int], int | None]


def measure_review(places: Sequence[Path], kept: Path) -> list[dict[str, Any]]:
    """Mean J (0 to 100) of every way to correct over the sequences of data sets in DAVIS layout, after 0, 3, 5, 10
    corrections. `kept` is the CSV with a row for every sequence and way."""
    done = _read(kept)
    for place in places:
        for masks in sorted(place.glob("Annotations/480p/*/")):
            there = [(row["by"], row["chooser"]) for row in done if row["sequence"] == masks.name]
            missing = [way for way in WAYS if way not in there]
            for row in measure_sequence(place / "JPEGImages" / "480p" / masks.name, masks, missing) if missing else ():
                done.append(row)
                _append(kept, row)
    ways = {way: [row for row in done if (row["by"], row["chooser"]) == way] for way in WAYS}
    return [
        {"by": by, "chooser": chooser, "sequences": len(rows)}
        | {name: float(np.mean([float(row[name]) for row in rows])) for name in _FIELDS[4:]}
        for (by, chooser), rows in ways.items()
        if rows
    ]


def measure_sequence(pictures: Path, masks: Path, ways: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """A row for each of these ways."""
    paths = sorted(pictures.glob("*.jpg"))
    paths = paths[:: -(-len(paths) // MOST_FRAMES)]
    truth = [np.asarray(Image.open(masks / f"{path.stem}.png")) > 0 for path in paths]
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
        for by, chooser in ways:
            scores = []
            # Equally spaced frames depend on how many there will be.
            for counts in [(count,) for count in COUNTS] if chooser == "spaced" else [COUNTS]:
                mine = Path(shutil.copy(tracked, Path(folder, "corrected.masklet")))
                choose = {
                    "queue": _queue,
                    "random": _random(len(paths), masks.name),
                    "spaced": _spaced(len(paths), counts[-1]),
                }[chooser]
                with Project.open(mine) as project:
                    scores += _correct(project, truth, choose, counts, by)
            numbers = [f"{100 * value:.2f}" for value in (before, *scores)]
            yield dict(zip(_FIELDS, [masks.name, len(paths), by, chooser, *numbers], strict=True))


def _correct(
    project: Project, truth: Sequence[np.ndarray], choose: Chooser, counts: Sequence[int], by: str
) -> list[float]:
    """J after each number of corrections."""
    prompter = Prompter(project)
    scores = []
    for count in range(1, max(counts) + 1):
        frame = choose(project, count - 1)
        if frame is not None:
            if by == "paint":
                prompter.paint(frame, 1, truth[frame])
            if by == "paint" or _click(project, prompter, frame, truth[frame]):
                retrack(project, frame, 1, until_agrees=False)
            else:
                judge(project, 1, frame, frame, "accepted")
        if count in counts:
            scores.append(_accuracy(project, truth))
    return scores


def _click(project: Project, prompter: Prompter, frame: int, truth_hw: np.ndarray) -> bool:
    """Corrects a mask with clicks; whether they made it better."""
    kept = project.mask(frame, 1)
    mask = np.zeros_like(truth_hw) if kept is None or kept.lost else kept.mask
    best, clicks = region_similarity(truth_hw, mask), 0
    points, labels = [], []
    while len(points) < MOST_CLICKS and best < GOOD:
        point, label = next_click(truth_hw, mask)
        points.append(point)
        labels.append(label)
        mask = prompter.preview(frame, 1, points=points, labels=labels).mask
        accuracy = region_similarity(truth_hw, mask)
        if accuracy > best:
            best, clicks = accuracy, len(points)
    if clicks:
        prompter.add(frame, 1, points=points[:clicks], labels=labels[:clicks])
    return bool(clicks)


def _queue(project: Project, _: int) -> int | None:
    asked = ask_queue(project, review_objects(project))
    return None if asked is None else asked.frame


def _random(frames: int, name: str) -> Chooser:
    drawn = np.random.default_rng(list(name.encode())).permutation(np.arange(1, frames))
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
