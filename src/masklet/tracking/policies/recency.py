"""SAM 2's own policy: trust the predicted IoU, read the last few frames (arXiv 2408.00714, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from masklet.tracking.policies.base import (
    Choice,
    Moment,
    Offer,
    Policy,
    Selection,
    State,
    reachable_prompts,
    select_by_rank,
)

if TYPE_CHECKING:
    from masklet.results import Scores
    from masklet.tracking.memory import MemoryBank


class Recency(Policy):
    """Candidate of highest predicted IoU; prompt frames (all, or the ``max_prompt_frames`` nearest), latest frames."""

    name: ClassVar[str] = "recency"
    title: ClassVar[str] = "SAM 2 (latest frames)"
    description: ClassVar[str] = "is plain SAM 2: it trusts predicted IoU, and remembers the latest frames"

    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        recent = [at.frame - at.step * distance for distance in range(1, at.num_memories)]
        return select_by_rank(bank, recent, at, self.max_prompt_frames)

    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        ious = offers[0].ious
        return Choice(((0, int(np.argmax(ious))),), b"", ious)

    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        longest = max(at.num_memories, at.max_pointers) - 1
        near = {at.frame - at.step * distance for distance in range(1, longest + 1)}
        return near | reachable_prompts(prompts, at, self.max_prompt_frames)
