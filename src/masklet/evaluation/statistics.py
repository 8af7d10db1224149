"""What a list of per-frame scores says about a sequence: mean, recall, decay (DAVIS 2016, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DECAY_PARTS = 4
RECALL_THRESHOLD = 0.5


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
