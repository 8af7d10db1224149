"""SAM 2's own policy: trust the predicted IoU, read the last few frames (arXiv 2408.00714, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from masklet.settings import Count
from masklet.tracking.motion import Box
from masklet.tracking.policies.base import (
    PROMPT_FRAMES,
    Choice,
    MotionState,
    Policy,
    Selection,
    latest,
    reachable_prompts,
    select_pointers,
    select_prompts,
)

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.results import Scores
    from masklet.tracking.memory import MemoryBank


class Recency(Policy):
    """Candidate of highest predicted IoU; prompt frames (all, or the ``max_prompt_frames`` nearest), latest frames."""

    name: ClassVar[str] = "recency"
    title: ClassVar[str] = "SAM 2 (latest frames)"
    description: ClassVar[str] = "is plain SAM 2: it trusts predicted IoU, and remembers the latest frames"

    max_prompt_frames: Count | None = PROMPT_FRAMES

    def choose(self, ious: Sequence[float], box_of: Callable[[int], Box | None], motion: MotionState) -> Choice:
        return Choice(int(np.argmax(ious)), motion, None, tuple(ious))

    def select(self, bank: MemoryBank, frame: int, step: int, spec: ModelSpec, max_pointers: int) -> Selection:
        prompts = select_prompts(bank, frame, self.max_prompt_frames)
        frames = [(spec.num_memories - 1, memory) for memory in prompts.values()]
        for distance in range(spec.num_memories - 1, 0, -1):
            memory = latest(bank, prompts, frame - step * distance)
            if memory is not None:
                frames.append((distance - 1, memory))
        return Selection(frames, select_pointers(bank, prompts, frame, step, max_pointers))

    def reach(
        self,
        prompts: Sequence[int],
        tracked: Mapping[int, Scores],
        frame: int,
        step: int,
        spec: ModelSpec,
        max_pointers: int,
    ) -> set[int]:
        longest = max(spec.num_memories, max_pointers) - 1
        near = {frame - step * distance for distance in range(1, longest + 1)}
        return near | reachable_prompts(prompts, frame, step, self.max_prompt_frames)
