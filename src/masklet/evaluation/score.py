"""Scores results that exist as files, or that a tracker just made, against a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol, BoxScores, BoxSummary, score_boxes, summarize_boxes
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, MaskDataset, MaskSequence
from masklet.evaluation.masks import MaskSummary, ObjectScorer, ObjectScores, summarize_masks
from masklet.evaluation.result_files import MaskResults, find_box_files, read_boxes

PredictedMask = Callable[[int, int], np.ndarray]
"""(frame index, object id) -> (H, W) bool"""
Predicted = Any
"""A `PredictedMask`, or for boxes (N, 4) left, top, width, height"""


@dataclass(frozen=True, slots=True)
class MaskEvaluation:
    """What one run scored on a mask data set. `frames_per_second` is None for results read from files."""

    name: str
    objects: tuple[ObjectScores, ...]
    summary: MaskSummary
    frames_per_second: float | None = None

    @property
    def by_sequence(self) -> dict[str, float]:
        """J&F of every sequence, the mean of its objects'."""
        return _means((tracked.sequence, tracked.j_and_f) for tracked in self.objects)


@dataclass(frozen=True, slots=True)
class BoxEvaluation:
    """What one run scored on a box data set. `frames_per_second` is None for results read from files."""

    name: str
    sequences: tuple[BoxScores, ...]
    summary: BoxSummary
    frames_per_second: float | None = None

    @property
    def by_sequence(self) -> dict[str, float]:
        """Average overlap of every sequence."""
        return _means((scores.sequence, scores.average_overlap) for scores in self.sequences)


Evaluation = MaskEvaluation | BoxEvaluation


def _means(scores: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of all scores of each name."""
    found: dict[str, list[float]] = {}
    for name, score in scores:
        found.setdefault(name, []).append(score)
    return {name: float(np.mean(known)) for name, known in found.items()}


def score_mask_sequence(sequence: MaskSequence, predicted: PredictedMask) -> list[ObjectScores]:
    """Scores every object of a sequence, reading each frame once.

    Raises:
        InputError: a prediction is missing or has another size than the annotation.
    """
    scorers = {
        target.object_id: ObjectScorer(
            sequence.name,
            target.object_id,
            target.group,
            skip_before_appearance=sequence.skip_before_appearance,
        )
        for target in sequence.targets
    }
    wanted: dict[int, list[int]] = {}
    for target in sequence.targets:
        for frame in target.scored:
            wanted.setdefault(frame, []).append(target.object_id)
    for frame, object_ids in sorted(wanted.items()):
        for object_id in object_ids:
            truth, mask = sequence.truth(frame, object_id), predicted(frame, object_id)
            if truth.shape != mask.shape:
                raise InputError(
                    f"{sequence.name}, frame {sequence.frames[frame]}: the result is {mask.shape[1]}x"
                    f"{mask.shape[0]} pixels, the annotation {truth.shape[1]}x{truth.shape[0]}"
                )
            scorers[object_id].add(sequence.frames[frame], truth, mask)
    return [
        scorer.scores() for scorer in scorers.values() if scorer.ever_visible or not sequence.skip_before_appearance
    ]


def score_results(
    dataset: MaskDataset | BoxDataset,
    folder: Path | str,
    *,
    name: str | None = None,
    partial: bool = False,
    finished: Callable[[str], None] | None = None,
) -> Evaluation:
    """Scores a folder of results.

    Masks are PNG files, `<folder>/<sequence>/<frame>.png`, or with one more folder per object. Boxes are text files,
    `<folder>/<sequence>.txt`, or `<folder>/<sequence>/<sequence>_001.txt` (GOT-10k); several files of one sequence are
    repetitions and count together.

    Args:
        name: of the run; by default the folder's.
        partial: skip sequences that have no results, instead of refusing.
        finished: called with the name of each sequence that is done.

    Raises:
        InputError: no such folder, or results are missing or don't fit.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"no folder of results at {place}")

    def read(sequence: MaskSequence | BoxSequence) -> Iterator[Predicted]:
        if isinstance(sequence, BoxSequence):
            files = find_box_files(place, [sequence.name, *sequence.aliases])
            if not files and not partial:
                raise InputError(f"no results for sequence {sequence.name}: there is no {sequence.name}.txt in {place}")
            yield from map(read_boxes, files)
        elif not partial or (place / sequence.name).is_dir():
            yield by_frame_name(sequence, MaskResults(place, sequence.name, merged=sequence.merged))

    evaluation = score_dataset(dataset, name or place.name, read, finished)
    if not (evaluation.objects if isinstance(evaluation, MaskEvaluation) else evaluation.sequences):
        raise InputError(f"{place} holds no results for any sequence of this data set")
    return evaluation


def score_dataset(
    dataset: MaskDataset | BoxDataset,
    name: str,
    predict: Callable[[Any], Iterable[Predicted]],
    finished: Callable[[str], None] | None = None,
    frames_per_second: Callable[[], float | None] = lambda: None,
) -> Evaluation:
    """Scores what `predict` gives for each sequence; more than one prediction are repetitions."""
    scores: list[Any] = []
    protocol = dataset.protocol if isinstance(dataset, BoxDataset) else BoxProtocol()
    for sequence in dataset.sequences:
        for predicted in predict(sequence):
            if isinstance(sequence, BoxSequence):
                scores.append(score_box_sequence(sequence, protocol, predicted))
            else:
                scores += score_mask_sequence(sequence, predicted)
        if finished:
            finished(sequence.name)
    if isinstance(dataset, BoxDataset):
        return BoxEvaluation(name, tuple(scores), summarize_boxes(scores, protocol), frames_per_second())
    return MaskEvaluation(name, tuple(scores), summarize_masks(scores), frames_per_second())


def by_frame_name(sequence: MaskSequence, results: MaskResults) -> PredictedMask:
    """Results from files, asked for by frame index as `score_mask_sequence` does."""
    return lambda frame, object_id: results.mask(sequence.frames[frame], object_id)


def score_box_sequence(sequence: BoxSequence, protocol: BoxProtocol, boxes: np.ndarray) -> BoxScores:
    """Scores one sequence by its data set's rules. Boxes (N, 4): left, top, width, height."""
    return score_boxes(
        sequence.name,
        sequence.boxes,
        boxes,
        visible=sequence.visible,
        protocol=protocol,
        frame_size=sequence.frame_size,
        group=sequence.group,
    )
