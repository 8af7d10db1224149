"""SAM 2's own policy: trust the predicted IoU, read the last few frames (arXiv 2408.00714, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from masklet.settings import Count
from masklet.tracking.policies.base import (
    PROMPT_FRAMES,
    Choice,
    Moment,
    Offer,
    Policy,
    Selection,
    State,
    latest,
    reachable_prompts,
    select_pointers,
    select_prompts,
)

if TYPE_CHECKING:
    from masklet.results import Scores
    from masklet.tracking.memory import MemoryBank


class Recency(Policy):
    """Candidate of highest predicted IoU; prompt frames (all, or the ``max_prompt_frames`` nearest), latest frames."""

    name: ClassVar[str] = "recency"
    title: ClassVar[str] = "SAM 2 (latest frames)"
    description: ClassVar[str] = "is plain SAM 2: it trusts predicted IoU, and remembers the latest frames"

    max_prompt_frames: Count | None = PROMPT_FRAMES

    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        prompts = select_prompts(bank, at.frame, self.max_prompt_frames)
        frames = [(at.num_memories - 1, memory) for memory in prompts.values()]
        for distance in range(at.num_memories - 1, 0, -1):
            memory = latest(bank, prompts, at.frame - at.step * distance)
            if memory is not None:
                frames.append((distance - 1, memory))
        return [Selection(frames, select_pointers(bank, prompts, at))]

    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        ious = offers[0].ious
        return Choice(((0, int(np.argmax(ious))),), b"", ious)

    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        longest = max(at.num_memories, at.max_pointers) - 1
        near = {at.frame - at.step * distance for distance in range(1, longest + 1)}
        return near | reachable_prompts(prompts, at, self.max_prompt_frames)
