"""What a list of per-frame scores says about a sequence: mean, recall, decay (DAVIS 2016, section 4.1).

And what the scores of two runs say about which is better: differences of the same sequences, and how sure they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DECAY_PARTS = 4
RECALL_THRESHOLD = 0.5
_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean, share of frames above one half, and what is lost between the first and the last quarter."""

    mean: float
    recall: float
    decay: float


def statistics(scores: Sequence[float] | np.ndarray) -> Statistics:
    """Statistics of one object's scores through time.

    The quarters overlap by one frame at each seam, as in the DAVIS toolkit. (That toolkit keeps the seams in
    eight bits, so beyond 256 frames its decay compares the wrong quarters; this one does not.)
    No scores at all: everything is NaN.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return Statistics(float("nan"), float("nan"), float("nan"))
    seams = np.round(np.linspace(1, values.size, DECAY_PARTS + 1) + 1e-10).astype(int) - 1
    first = values[seams[0] : seams[1] + 1]
    last = values[seams[-2] : seams[-1] + 1]
    return Statistics(
        mean=float(values.mean()),
        recall=float((values > RECALL_THRESHOLD).mean()),
        decay=float(first.mean() - last.mean()),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one run is than another, over the sequences that both have.

    Attributes:
        mean: mean of the differences.
        low, high: 95 % bootstrap interval of it, over sequences. Where 0 lies inside, these sequences can't tell.
        better, worse: number of sequences on which the run is better, or worse, by more than a thousandth.
    """

    mean: float
    low: float
    high: float
    better: int
    worse: int


def paired_difference(base: Mapping[str, float], other: Mapping[str, float]) -> Difference:
    """Compare two runs by their sequences' scores; the same scores give the same interval.

    No sequence in common: everything is NaN.
    """
    differences = np.array([other[name] - base[name] for name in base if name in other])
    if not differences.size:
        return Difference(float("nan"), float("nan"), float("nan"), 0, 0)
    drawn = np.random.default_rng(0).choice(differences, (_RESAMPLES, differences.size)).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    better, worse = (int((sign * differences > 1e-3).sum()) for sign in (1, -1))
    return Difference(float(differences.mean()), float(low), float(high), better, worse)
