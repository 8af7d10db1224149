"""Scores of box predictions: one-pass evaluation (OTB, LaSOT, UAV123, NFS) and GOT-10k's AO and SR.

Boxes are (left, top, width, height) in pixels, (N, 4) float64. The rules are those of the toolkits that the
published numbers come from; where toolkits differ, `BoxProtocol` says which rule a data set uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from masklet.errors import InputError

OVERLAP_THRESHOLDS = np.linspace(0.0, 1.0, 21)
CENTER_THRESHOLDS = np.arange(0, 51, dtype=np.float64)  # pixels
NORMALISED_THRESHOLDS = np.arange(0, 51, dtype=np.float64) / 100  # of the box's width and height
AVERAGE_OVERLAP_THRESHOLDS = np.linspace(0.0, 1.0, 101)  # GOT-10k draws its curve finer
PRECISION_AT = 20  # index into both threshold lists: 20 px, and 0.2


@dataclass(frozen=True, slots=True)
class BoxProtocol:
    """What a data set does with frames whose target is absent (no box, or marked as out of sight).

    AO and SR leave them out, as GOT-10k does. For success they stay in the denominator and count as a miss. The
    centre error is where toolkits differ: `absent_center_hit` and `absent_normalised_hit` count such frames as hits
    (UAV123 does). `average_overlap` selects GOT-10k's measures instead of success and precision.
    """

    absent_center_hit: bool = False
    absent_normalised_hit: bool = False
    average_overlap: bool = False


@dataclass(frozen=True, slots=True)
class BoxScores:
    """One sequence's scores.

    Attributes:
        sequence: name.
        overlap: IoU per scored frame, -1 where the target is absent.
        success: share of frames whose IoU is above each of the overlap thresholds.
        precision: share of frames whose centre error is at most 0, 1 … 50 pixels.
        normalised_precision: the same with the error in box sizes, 0, 0.01 … 0.5.
        group: part of the data set (class), or "".
    """

    sequence: str
    overlap: np.ndarray
    success: np.ndarray
    precision: np.ndarray
    normalised_precision: np.ndarray
    group: str = ""

    @property
    def success_auc(self) -> float:
        return float(self.success.mean())

    @property
    def precision_20(self) -> float:
        return float(self.precision[PRECISION_AT]) if self.precision.size else float("nan")

    @property
    def normalised_precision_20(self) -> float:
        return float(self.normalised_precision[PRECISION_AT]) if self.precision.size else float("nan")

    @property
    def average_overlap(self) -> float:
        """AO: mean overlap of the frames that show the target; NaN where none does."""
        present = self._present
        return float(present.mean()) if present.size else float("nan")

    def success_rate(self, threshold: float) -> float:
        """SR: share of the frames that show the target whose overlap is above a threshold; NaN where none does."""
        present = self._present
        return float((present > threshold).mean()) if present.size else float("nan")

    @property
    def _present(self) -> np.ndarray:
        return self.overlap[self.overlap >= 0]


@dataclass(frozen=True, slots=True)
class BoxSummary:
    """A data set's scores: means over sequences; for GOT-10k means over all frames together."""

    sequences: int
    success_auc: float
    precision: float
    normalised_precision: float
    average_overlap: float
    success_rate_50: float
    success_rate_75: float
    success: np.ndarray = field(repr=False)
    precision_curve: np.ndarray = field(repr=False)
    normalised_precision_curve: np.ndarray = field(repr=False)


def overlap_xywh(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of boxes row by row, (N,) in [0, 1]; rows with NaN give NaN, two boxes without area give 0."""
    left_top = np.maximum(first[:, :2], second[:, :2])
    right_bottom = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = np.prod(np.clip(right_bottom - left_top, 0, None), axis=1)
    union = np.prod(first[:, 2:], axis=1) + np.prod(second[:, 2:], axis=1) - shared
    overlap = np.divide(shared, union, out=np.where(np.isnan(union), np.nan, 0.0), where=union > 0)
    return np.minimum(overlap, 1.0)  # rounding may lift equal boxes above one


def center_errors(truth: np.ndarray, boxes: np.ndarray, *, normalised: bool = False) -> np.ndarray:
    """Distance of the box centres, in pixels, or in units of the annotated width and height, (N,).

    A box of width w covers the pixels 0 … w-1, so its centre is at (w - 1) / 2, as in the toolkits.
    """
    difference = (boxes[:, :2] + (boxes[:, 2:] - 1) / 2) - (truth[:, :2] + (truth[:, 2:] - 1) / 2)
    if normalised:
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = difference / truth[:, 2:]
    return np.sqrt((difference**2).sum(axis=1))


def score_boxes(
    sequence: str,
    truth: np.ndarray,
    boxes: np.ndarray,
    *,
    visible: np.ndarray | None = None,
    protocol: BoxProtocol | None = None,
    frame_size: tuple[int, int] | None = None,
    group: str = "",
) -> BoxScores:
    """Scores one sequence.

    The first frame is given to every tracker, so there the annotation is taken for the prediction (and for
    GOT-10k it is left out). A prediction without area repeats the previous one (not for GOT-10k). A
    prediction that is longer is cut; one that is shorter misses the rest.

    Args:
        truth: annotation, (N, 4) left, top, width, height; NaN or no area where the target is absent.
        boxes: prediction, (M, 4).
        visible: (N,) bool, False where the annotation says that the target can't be seen.
        protocol: the data set's rule for absent targets.
        frame_size: (width, height); GOT-10k clips boxes to it.

    Raises:
        InputError: wrong shapes, NaN or a negative size in the prediction.
    """
    protocol = protocol or BoxProtocol()
    truth = np.array(truth, dtype=np.float64)
    predicted = np.array(boxes, dtype=np.float64)
    if truth.ndim != 2 or truth.shape[1] != 4 or predicted.ndim != 2 or predicted.shape[1] != 4:
        raise InputError(
            f"{sequence}: boxes must be rows of left, top, width, height; "
            f"got arrays of shape {truth.shape} and {predicted.shape}"
        )
    if np.isnan(predicted).any() or (predicted[:, 2:] < 0).any():
        bad = int(np.flatnonzero(np.isnan(predicted).any(axis=1) | (predicted[:, 2:] < 0).any(axis=1))[0])
        raise InputError(f"{sequence}: the predicted box of frame {bad} is {predicted[bad].tolist()}")
    seen = np.ones(len(truth), bool) if visible is None else np.asarray(visible).astype(bool)
    if seen.shape != (len(truth),):
        raise InputError(f"{sequence}: {len(truth)} annotated boxes but {len(seen)} visibility marks")
    predicted = _complete(predicted, truth, repeat_empty=not protocol.average_overlap)
    present = seen & ~np.isnan(truth).any(axis=1) & (truth[:, 2:] > 0).all(axis=1)
    if protocol.average_overlap:
        return _average_overlap(sequence, truth, predicted, present, frame_size=frame_size, group=group)

    overlap = np.where(present, overlap_xywh(truth, predicted), -1.0)
    hit = {True: -1.0, False: np.inf}
    center = np.where(present, center_errors(truth, predicted), hit[protocol.absent_center_hit])
    normalised = np.where(
        present, center_errors(truth, predicted, normalised=True), hit[protocol.absent_normalised_hit]
    )
    return BoxScores(
        sequence,
        overlap,
        (overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0),
        (center[:, None] <= CENTER_THRESHOLDS).mean(axis=0),
        (normalised[:, None] <= NORMALISED_THRESHOLDS).mean(axis=0),
        group,
    )


def _complete(predicted: np.ndarray, truth: np.ndarray, *, repeat_empty: bool) -> np.ndarray:
    """As many predictions as annotations, the first one given, boxes without area filled from before."""
    count = len(truth)
    predicted = predicted[:count].copy()
    if repeat_empty:
        for index in range(1, len(predicted)):
            if (predicted[index, 2:] == 0).any() and not np.isnan(truth[index]).any():
                predicted[index] = predicted[index - 1]
    predicted = np.vstack([predicted, np.zeros((count - len(predicted), 4))])
    if count:
        predicted[0] = truth[0]
    return predicted


def _average_overlap(
    sequence: str,
    truth: np.ndarray,
    predicted: np.ndarray,
    present: np.ndarray,
    *,
    frame_size: tuple[int, int] | None,
    group: str,
) -> BoxScores:
    """GOT-10k, section 5: frames after the first that show the target; boxes clipped to the picture."""
    if frame_size is not None:
        truth, predicted = _clip(truth, frame_size), _clip(predicted, frame_size)
    overlap = overlap_xywh(truth[1:], predicted[1:])[present[1:]]
    success = (overlap[:, None] > AVERAGE_OVERLAP_THRESHOLDS).mean(axis=0) if overlap.size else np.zeros(101)
    return BoxScores(sequence, overlap, success, np.zeros(0), np.zeros(0), group)


def _clip(boxes: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    size = np.asarray(frame_size, dtype=np.float64)
    left_top = np.clip(boxes[:, :2], 0, size)
    # the toolkit moves the corner first and keeps the size, then cuts the size at the far edge
    return np.hstack([left_top, np.clip(boxes[:, 2:], 0, size - left_top)])


def summarize_boxes(scores: Iterable[BoxScores], protocol: BoxProtocol | None = None) -> BoxSummary:
    """Every sequence counts the same, except for GOT-10k, where every frame does."""
    protocol = protocol or BoxProtocol()
    parts = list(scores)
    nan = float("nan")
    if not parts:
        empty = np.zeros(0)
        return BoxSummary(0, nan, nan, nan, nan, nan, nan, empty, empty, empty)
    if protocol.average_overlap:
        frames = np.concatenate([part.overlap for part in parts])
        curve = (frames[:, None] > AVERAGE_OVERLAP_THRESHOLDS).mean(axis=0) if frames.size else np.zeros(101)
        ao = float(frames.mean()) if frames.size else nan
        sr50 = float((frames > 0.5).mean()) if frames.size else nan
        sr75 = float((frames > 0.75).mean()) if frames.size else nan
        return BoxSummary(len(parts), float(curve.mean()), nan, nan, ao, sr50, sr75, curve, np.zeros(0), np.zeros(0))
    success = np.mean([part.success for part in parts], axis=0)
    precision = np.mean([part.precision for part in parts], axis=0)
    normalised = np.mean([part.normalised_precision for part in parts], axis=0)
    return BoxSummary(
        len(parts),
        float(success.mean()),
        float(precision[PRECISION_AT]),
        float(normalised[PRECISION_AT]),
        float(np.nanmean([part.average_overlap for part in parts])),
        float(np.nanmean([part.success_rate(0.5) for part in parts])),
        float(np.nanmean([part.success_rate(0.75) for part in parts])),
        success,
        precision,
        normalised,
    )
