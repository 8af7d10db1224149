"""SAM 2's own policy: trust the predicted IoU, read the last few frames (arXiv 2408.00714, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from masklet.tracking.motion import Box
from masklet.tracking.policies.base import Choice, MotionState, Policy

if TYPE_CHECKING:
    from masklet.results import Scores


class Recency(Policy):
    """Candidate of highest predicted IoU; prompt frames (all, or the ``max_prompt_frames`` nearest), latest frames."""

    name: ClassVar[str] = "recency"
    description: ClassVar[str] = "is plain SAM 2: it trusts predicted IoU, and remembers the latest frames"

    def choose(self, ious: Sequence[float], box_of: Callable[[int], Box | None], motion: MotionState) -> Choice:
        return Choice(int(np.argmax(ious)), motion, None, tuple(ious))

    def recent(
        self, prompts: Sequence[int], tracked: Mapping[int, Scores], frame: int, step: int, count: int
    ) -> list[int]:
        return [frame - step * distance for distance in range(1, count + 1)]
