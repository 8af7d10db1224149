"""Scores of box predictions: one-pass evaluation (OTB, LaSOT, UAV123, NFS) and GOT-10k's AO and SR.

Boxes are (left, top, width, height) in pixels, (N, 4) float64. The rules are those of the toolkits that the
published numbers come from; where toolkits differ, `BoxProtocol` says which rule a data set uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from masklet.errors import InputError

OVERLAP_THRESHOLDS = np.linspace(0.0, 1.0, 21)
CENTER_THRESHOLDS = np.arange(0, 51, dtype=np.float64)  # pixels
NORMALISED_THRESHOLDS = np.arange(0, 51, dtype=np.float64) / 100  # of the box's width and height
AVERAGE_OVERLAP_THRESHOLDS = np.linspace(0.0, 1.0, 101)  # GOT-10k draws its curve finer
PRECISION_AT = 20  # index into both threshold lists: 20 px, and 0.2
_no_curve = partial(np.zeros, 0)
_OF_VISIBLE = ("average_overlap", "success_rate_50", "success_rate_75")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxMeasures:
    """What a sequence or a data set scored; NaN and curves without a point where the protocol doesn't measure it.

    Attributes:
        success: share of frames whose IoU is above each of the overlap thresholds.
        precision_curve: share of frames whose centre error is at most 0, 1 … 50 pixels.
        normalised_precision_curve: the same with the error in box sizes, 0, 0.01 … 0.5.
        average_overlap: AO, mean overlap of the frames that show the target.
        success_rate_50, success_rate_75: SR, share of these frames whose overlap is above a half, three quarters.
    """

    success: np.ndarray = field(repr=False)
    precision_curve: np.ndarray = field(default_factory=_no_curve, repr=False)
    normalised_precision_curve: np.ndarray = field(default_factory=_no_curve, repr=False)
    average_overlap: float
    success_rate_50: float
    success_rate_75: float

    @property
    def success_auc(self) -> float:
        return float(self.success.mean()) if self.success.size else float("nan")

    @property
    def precision(self) -> float:
        return float(self.precision_curve[PRECISION_AT]) if self.precision_curve.size else float("nan")

    @property
    def normalised_precision(self) -> float:
        curve = self.normalised_precision_curve
        return float(curve[PRECISION_AT]) if curve.size else float("nan")

    def curves(self) -> tuple[tuple[str, np.ndarray, np.ndarray, float], ...]:
        """Measure, thresholds, values and the score that stands for the curve."""
        return (
            ("success", np.linspace(0, 1, len(self.success)), self.success, self.success_auc),
            ("precision", CENTER_THRESHOLDS, self.precision_curve, self.precision),
            ("normalised precision", NORMALISED_THRESHOLDS, self.normalised_precision_curve, self.normalised_precision),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxScores(BoxMeasures):
    """One sequence's scores.

    Attributes:
        sequence: name.
        overlap: IoU per scored frame, -1 where the target is absent.
        group: part of the data set (class), or "".
    """

    sequence: str
    overlap: np.ndarray
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSummary(BoxMeasures):
    """A data set's scores: means over sequences; for GOT-10k means over all frames together."""

    sequences: int


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
        # GOT-10k, section 5: frames after the first that show the target; boxes clipped to the picture
        if frame_size is not None:
            truth, predicted = _clip(truth, frame_size), _clip(predicted, frame_size)
        overlap = overlap_xywh(truth[1:], predicted[1:])[present[1:]]
        return BoxScores(sequence=sequence, group=group, overlap=overlap, **_got10k_measures(overlap))
    overlap = np.where(present, overlap_xywh(truth, predicted), -1.0)
    hit = {True: -1.0, False: np.inf}
    center = np.where(present, center_errors(truth, predicted), hit[protocol.absent_center_hit])
    normalised = np.where(
        present, center_errors(truth, predicted, normalised=True), hit[protocol.absent_normalised_hit]
    )
    return BoxScores(
        sequence=sequence,
        group=group,
        overlap=overlap,
        success=(overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0),
        precision_curve=(center[:, None] <= CENTER_THRESHOLDS).mean(axis=0),
        normalised_precision_curve=(normalised[:, None] <= NORMALISED_THRESHOLDS).mean(axis=0),
        **_of_visible(overlap),
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


def _of_visible(overlap: np.ndarray) -> dict[str, Any]:
    """AO and SR of the frames that show the target; NaN where none does."""
    present = overlap[overlap >= 0]
    values = (present.mean(), (present > 0.5).mean(), (present > 0.75).mean()) if present.size else (np.nan,) * 3
    return dict(zip(_OF_VISIBLE, map(float, values), strict=True))


def _got10k_measures(overlap: np.ndarray) -> dict[str, Any]:
    success = (overlap[:, None] > AVERAGE_OVERLAP_THRESHOLDS).mean(axis=0) if overlap.size else np.zeros(101)
    return {"success": success, **_of_visible(overlap)}


def _clip(boxes: np.ndarray, frame_size: tuple[int, int]) -> np.ndarray:
    size = np.asarray(frame_size, dtype=np.float64)
    left_top = np.clip(boxes[:, :2], 0, size)
    # the toolkit moves the corner first and keeps the size, then cuts the size at the far edge
    return np.hstack([left_top, np.clip(boxes[:, 2:], 0, size - left_top)])


def summarize_boxes(scores: Iterable[BoxScores], protocol: BoxProtocol | None = None) -> BoxSummary:
    """Every sequence counts the same, except for GOT-10k, where every frame does."""
    protocol = protocol or BoxProtocol()
    parts = list(scores)
    if not parts:
        return BoxSummary(sequences=0, success=_no_curve(), **_of_visible(_no_curve()))
    if protocol.average_overlap:
        frames = np.concatenate([part.overlap for part in parts])
        return BoxSummary(sequences=len(parts), **_got10k_measures(frames))
    means: dict[str, Any] = {
        name: np.mean([getattr(part, name) for part in parts], axis=0)
        for name in ("success", "precision_curve", "normalised_precision_curve")
    }
    means |= {name: float(np.nanmean([getattr(part, name) for part in parts])) for name in _OF_VISIBLE}
    return BoxSummary(sequences=len(parts), **means)
