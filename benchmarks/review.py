"""How much corrections help where the review queue asks for them, against the same number elsewhere.

A simulated person gives the first frame's mask to nano, tracks, and then corrects frame after frame with clicks, and
tracks again to both sides up to what was decided there. A correction is up to eight clicks, each into the region that
is most wrong then, of which those are kept that gave the best mask. Where none makes it visibly better, the frame is
accepted as it is, which counts as a correction too.

Which frames: those that the queue asks for ("correct here next"), random ones, or equally spaced ones, placed for the
number of corrections that there will be. "Shared out" is the queue over all sequences as one job: every correction goes
to the sequence where most is expected of it. "Everywhere" clicks on every frame and tracks nothing again, which says
what clicks can give at all. "Knowing" tries a quarter of the frames for every correction and keeps the one that truly
helps most, which says what choosing frames can give; it takes longer than all the others together.

Every correction is kept in a CSV, so a measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
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
MOST_FRAMES, MOST_CLICKS, GOOD, VISIBLE = 40, 8, 0.9, 0.02
#: Every so many frames are tried by who knows the truth, others for every correction.
TRIED = 4
#: How many corrections are made in each way, at most.
WAYS = {
    "queue": 10,
    "random": 10,
    **{f"spaced {count}": count for count in COUNTS},
    "everywhere": MOST_FRAMES,
    "knowing": 5,
}
_FIELDS = ("sequence", "way", "done", "frame", "expected", "J")

#: The frame to correct next, and the help expected of it; None where there is nothing left to do. It is told how many
#: corrections were made.
Chooser = Callable[[Project, int], tuple[int, float] | None]


def measure_review(places: Sequence[Path], kept: Path) -> list[dict[str, Any]]:
    """Mean J (0 to 100) over the sequences of data sets in DAVIS layout, after 0, 3, 5 and 10 corrections in each, for
    every way to choose frames. `kept` is the CSV with every correction."""
    done = _read(kept)
    for place in places:
        for masks in sorted(place.glob("Annotations/480p/*/")):
            there = {row["way"] for row in done if row["sequence"] == masks.name}
            missing = [way for way in WAYS if way not in there]
            pictures = place / "JPEGImages" / "480p" / masks.name
            for rows in measure_sequence(pictures, masks, missing) if missing else ():
                done += rows
                _append(kept, rows)
    return summary(done)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mean J after each number of corrections, of the rows of the CSV; None where it wasn't measured."""
    courses: dict[str, dict[str, list[Mapping[str, Any]]]] = {way: {} for way in WAYS}
    for row in rows:
        courses[row["way"]].setdefault(row["sequence"], []).append(row)

    def after(count: int, way: str) -> float:
        return float(np.mean([float(course[: count + 1][-1]["J"]) for course in courses[way].values()]))

    found: dict[str, dict[int, float]] = {
        "queue": {count: after(count, "queue") for count in COUNTS},
        "random": {count: after(count, "random") for count in COUNTS},
        "spaced": {count: after(count, f"spaced {count}") for count in COUNTS},
        "knowing": {count: after(count, "knowing") for count in COUNTS if count <= WAYS["knowing"]},
        "shared out": {count: _shared_out(courses["queue"], count) for count in COUNTS[:-1]},
        "everywhere": {MOST_FRAMES: after(MOST_FRAMES, "everywhere")},
    }
    same = {"sequences": len(courses["queue"]), "J0": after(0, "queue")}
    return [
        {"chooser": way, **same, **{f"J{count}": scores.get(count) for count in (*COUNTS, MOST_FRAMES)}}
        for way, scores in found.items()
    ]


def _shared_out(courses: Mapping[str, Sequence[Mapping[str, Any]]], each: int) -> float:
    """Mean J after so many corrections for each sequence, which go where most is expected of the next one."""
    done = dict.fromkeys(courses, 0)
    for _ in range(each * len(courses)):
        going = {name: course[done[name] + 1] for name, course in courses.items() if done[name] + 1 < len(course)}
        if going:
            done[max(going, key=lambda name: float(going[name]["expected"]))] += 1
    return float(np.mean([float(course[done[name]]["J"]) for name, course in courses.items()]))


def measure_sequence(pictures: Path, masks: Path, ways: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """The corrections of each of these ways, after a row for what was tracked."""
    paths = sorted(pictures.glob("*.jpg"))
    paths = paths[:: -(-len(paths) // MOST_FRAMES)]
    truth = [_mask(masks / f"{path.stem}.png") for path in paths]
    with tempfile.TemporaryDirectory(prefix="masklet-review-") as folder:
        clip = Path(folder, "clip")
        clip.mkdir()
        for index, path in enumerate(paths):
            shutil.copy(path, clip / f"{index:05d}.jpg")
        tracked = Path(folder, "tracked.masklet")
        with Project.create(tracked, clip) as project:
            project.add_prompt(0, 1, mask=truth[0])
            actions.track(project)
        for way in ways:
            mine = Path(shutil.copy(tracked, Path(folder, "corrected.masklet")))
            rows = _tried(mine, truth) if way == "knowing" else _chosen(mine, truth, way, masks.name)
            yield [
                dict(zip(_FIELDS, (masks.name, way, done, *row[:2], f"{100 * row[2]:.2f}"), strict=True))
                for done, row in enumerate(rows)
            ]


def _chosen(path: Path, truth: Sequence[np.ndarray], way: str, name: str) -> list[tuple[Any, Any, float]]:
    """Frame, what was expected, and J, before and after each correction."""
    with Project.open(path) as project:
        person = Person(project, truth)
        rows: list[tuple[Any, Any, float]] = [("", "", person.accuracy())]
        choose = _chooser(way, len(truth), name)
        for done in range(WAYS[way]):
            asked = choose(project, done)
            if asked is None:
                break
            person.correct(asked[0], again=way != "everywhere")
            rows.append((*asked, person.accuracy()))
    return rows


def _tried(path: Path, truth: Sequence[np.ndarray]) -> list[tuple[Any, Any, float]]:
    """The same where each correction is the best of those that were tried."""
    tried, best = path.with_name("tried.masklet"), path.with_name("best.masklet")
    with Project.open(path) as project:
        rows: list[tuple[Any, Any, float]] = [("", "", Person(project, truth).accuracy())]
    for done in range(WAYS["knowing"]):
        frame: int | str = ""
        accuracy = rows[-1][2]
        for other in range(1 + done % TRIED, len(truth), TRIED):
            shutil.copy(path, tried)
            with Project.open(tried) as project:
                person = Person(project, truth)
                person.correct(other)
                found = person.accuracy()
            if found > accuracy:
                frame, accuracy = other, found
                shutil.copy(tried, best)
        if frame != "":
            shutil.copy(best, path)
        rows.append((frame, "", accuracy))
    return rows


class Person:
    """Who corrects a project, and knows the true masks of its object."""

    def __init__(self, project: Project, truth: Sequence[np.ndarray]) -> None:
        self.project, self.truth = project, truth
        self.prompter = Prompter(project)

    def correct(self, frame: int, again: bool = True) -> None:
        """Clicks on a frame and tracks `again` from it, or accepts it."""
        if not self._click(frame):
            judge(self.project, 1, frame, frame, "accepted")
        elif again:
            retrack(self.project, frame, 1, until_agrees=False)

    def accuracy(self) -> float:
        """Mean J of all frames but the first, which was given."""
        masks = {mask.frame: mask.mask for mask in self.project.masks([1])}
        nothing = np.zeros_like(self.truth[0])
        return float(np.mean([region_similarity(t, masks.get(i, nothing)) for i, t in enumerate(self.truth) if i]))

    def _click(self, frame: int) -> bool:
        """Corrects a mask with clicks; whether they made it better."""
        kept, truth_hw = self.project.mask(frame, 1), self.truth[frame]
        mask = np.zeros_like(truth_hw) if kept is None or kept.lost else kept.mask
        before = best = region_similarity(truth_hw, mask)
        clicks = 0
        points, labels = [], []
        while len(points) < MOST_CLICKS and best < GOOD:
            point, label = next_click(truth_hw, mask)
            points.append(point)
            labels.append(label)
            mask = self.prompter.preview(frame, 1, points=points, labels=labels).mask
            accuracy = region_similarity(truth_hw, mask)
            if accuracy > best:
                best, clicks = accuracy, len(points)
        if best < before + VISIBLE:
            return False
        self.prompter.add(frame, 1, points=points[:clicks], labels=labels[:clicks])
        return True


def _chooser(way: str, frames: int, name: str) -> Chooser:
    if way == "queue":
        return _queue
    if way == "everywhere":
        return lambda _, done: (done + 1, 0.0) if done + 1 < frames else None
    if way == "random":
        drawn = np.random.default_rng(list(name.encode())).permutation(np.arange(1, frames))
        return lambda _, done: (int(drawn[done]), 0.0)
    # The first frame is known and a correction reaches to both sides, so the last stands half a step from the end.
    return lambda _, done: (round((done + 1) * (frames - 1) / (WAYS[way] + 0.5)), 0.0)


def _queue(project: Project, _: int) -> tuple[int, float] | None:
    asked = ask_queue(project, review_objects(project))
    return None if asked is None else (asked.frame, asked.gain)


def _mask(path: Path) -> np.ndarray:
    """Some annotations have an alpha channel."""
    mask: np.ndarray = np.asarray(Image.open(path))
    return (mask if mask.ndim == 2 else mask[..., 0]) > 0


def _read(kept: Path) -> list[dict[str, Any]]:
    if not kept.exists():
        return []
    with kept.open(newline="") as file:
        return list(csv.DictReader(file))


def _append(kept: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    new = not kept.exists()
    with kept.open("a", newline="") as file:
        writer = csv.DictWriter(file, _FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(rows)
