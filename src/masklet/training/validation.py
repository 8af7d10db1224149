"""How good a network is while it trains: J and F on clips it doesn't learn from, through the real tracker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from masklet.evaluation.masks import ObjectScorer, ObjectScores, summarize_masks
from masklet.evaluation.run import prompt_of
from masklet.models.sam2 import SAM2
from masklet.results import FrameMasks
from masklet.tracking.policies import Recency
from masklet.tracking.tracker import VideoTracker
from masklet.training.synthesis.clips import Clip

PROMPTS = ("mask", "box", "click")
#: Objects that cover less of the first frame are left out.
_LEAST_AREA = 0.001


@dataclass(frozen=True)
class Validation:
    """J and F (0…1) for each kind of first prompt."""

    j: dict[str, float]
    f: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean J&F over the kinds of prompts."""
        return float(np.mean([(self.j[kind] + self.f[kind]) / 2 for kind in self.j]))


def validate(model: SAM2, clips: Sequence[Clip], *, resolution: int | None = None) -> Validation:
    """Track the objects that a clip's first frame shows, told once about each.

    Args:
        model: in evaluation mode.
        clips: not learned from.
    """
    j, f = {}, {}
    for kind in PROMPTS:
        tracked = (_score(model, clip, str(number), kind, resolution) for number, clip in enumerate(clips))
        summary = summarize_masks(chain.from_iterable(tracked))
        j[kind], f[kind] = summary.j.mean, summary.f.mean
    return Validation(j, f)


def track_clip(
    model: SAM2, clip: Clip, kind: str, *, resolution: int | None = None, name: str = "clip"
) -> Iterator[tuple[np.ndarray, FrameMasks]]:
    """Track the objects that the first frame shows, told once about each; give frames and what was found."""
    labels = clip.labels_thw
    tracker = VideoTracker(model, policy=Recency.name, resolution=resolution)
    prompts = {label: prompt_of(labels[0] == label, kind, name) for label in _shown(labels[0])}
    for image in clip.frames_thwc:
        yield image, tracker.push(image, prompts)
        prompts = {}


def _shown(labels_hw: np.ndarray) -> list[int]:
    return [int(label) for label in np.unique(labels_hw) if label and (labels_hw == label).mean() > _LEAST_AREA]


def _score(model: SAM2, clip: Clip, name: str, kind: str, resolution: int | None) -> list[ObjectScores]:
    labels = clip.labels_thw
    scorers = {label: ObjectScorer(name, label) for label in _shown(labels[0])}
    for t, (_, masks) in enumerate(track_clip(model, clip, kind, resolution=resolution, name=name)):
        # The prompted frame isn't scored, as in DAVIS.
        if t and clip.known_t[t]:
            for label, scorer in scorers.items():
                scorer.add(str(t), labels[t] == label, masks[label].mask)
    return [scorer.scores() for scorer in scorers.values()]
