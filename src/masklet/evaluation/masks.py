"""Scores of mask predictions: per object, per sequence, per data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np

from masklet.evaluation.boundary import boundary_accuracy
from masklet.evaluation.region import region_similarity
from masklet.evaluation.statistics import Statistics, statistics


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """J and F of one object, frame by frame.

    Attributes:
        sequence: name of the sequence.
        object_id: the object's number in the annotation.
        frames: names of the scored frames, in order.
        region: J of each of them.
        boundary: F of each of them.
        group: part of the data set that is also reported on its own ("seen", "unseen"), or "".
    """

    sequence: str
    object_id: int
    frames: tuple[str, ...]
    region: np.ndarray
    boundary: np.ndarray
    group: str = ""

    @property
    def j(self) -> Statistics:
        return statistics(self.region)

    @property
    def f(self) -> Statistics:
        return statistics(self.boundary)

    @property
    def j_and_f(self) -> float:
        return (self.j.mean + self.f.mean) / 2


@dataclass(frozen=True, slots=True)
class MaskSummary:
    """Means over objects, as the benchmarks report them."""

    objects: int
    j: Statistics
    f: Statistics
    groups: dict[str, tuple[float, float]] = field(default_factory=dict)
    """group -> (mean J, mean F)"""

    @property
    def j_and_f(self) -> float:
        return (self.j.mean + self.f.mean) / 2

    @property
    def overall(self) -> float:
        """With groups (YouTube-VOS: seen, unseen) the mean of their J and F; else J&F."""
        if not self.groups:
            return self.j_and_f
        return float(np.mean([score for pair in self.groups.values() for score in pair]))


class ObjectScorer:
    """Collects the frames of one object.

    Args:
        skip_before_appearance: frames are left out until the object is in the annotation or in the prediction
            (SA-V, MOSE: a video's later objects are not scored before they exist).

    Attributes:
        ever_visible: True when the annotation showed the object in one of the frames added.
    """

    def __init__(self, sequence: str, object_id: int, group: str = "", *, skip_before_appearance: bool = False):
        self.sequence, self.object_id, self.group = sequence, object_id, group
        self._waiting = skip_before_appearance
        self.ever_visible = False
        self._frames: list[str] = []
        self._region: list[float] = []
        self._boundary: list[float] = []

    def add(self, frame: str, truth_hw: np.ndarray, mask_hw: np.ndarray, void_hw: np.ndarray | None = None) -> None:
        """Scores one frame. Masks (H, W) bool."""
        visible = bool(truth_hw.any())
        self.ever_visible |= visible
        if self._waiting and not visible and not mask_hw.any():
            return
        self._waiting = False
        self._frames.append(frame)
        self._region.append(region_similarity(truth_hw, mask_hw, void_hw))
        self._boundary.append(boundary_accuracy(truth_hw, mask_hw, void_hw))

    def scores(self) -> ObjectScores:
        return ObjectScores(
            self.sequence,
            self.object_id,
            tuple(self._frames),
            np.asarray(self._region, dtype=np.float64),
            np.asarray(self._boundary, dtype=np.float64),
            self.group,
        )


def summarize_masks(objects: Iterable[ObjectScores]) -> MaskSummary:
    """Every object counts the same, however long its sequence (DAVIS 2017). Empty objects are left out."""
    scored = [tracked for tracked in objects if len(tracked.frames)]
    groups = {}
    for name in sorted({tracked.group for tracked in scored} - {""}):
        j, f = _j_and_f([tracked for tracked in scored if tracked.group == name])
        groups[name] = j.mean, f.mean
    return MaskSummary(len(scored), *_j_and_f(scored), groups)


def _j_and_f(objects: Sequence[ObjectScores]) -> tuple[Statistics, Statistics]:
    """The means over objects of each statistic of J and of F."""
    if not objects:
        return statistics([]), statistics([])
    j, f = np.mean([(astuple(tracked.j), astuple(tracked.f)) for tracked in objects], axis=0).tolist()
    return Statistics(*j), Statistics(*f)
