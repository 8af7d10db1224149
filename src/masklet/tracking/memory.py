"""What an object's track remembers, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from masklet.results import Scores


@dataclass(frozen=True)
class FrameMemory:
    """The memory of one object on one frame.

    Attributes:
        frame: index of the frame.
        features_bchw: memory frame ``[1, c, h, w]``, bfloat16 as in the reference.
        pointer_bc: object pointer ``[1, c]``.
        scores: of the frame's mask; by them a policy decides whether it is worth reading.
        is_prompt: the mask was decided by a prompt.
    """

    frame: int
    features_bchw: Tensor
    pointer_bc: Tensor
    scores: Scores
    is_prompt: bool = False


@dataclass
class MemoryBank:
    """Memories of one track: prompt frames for good, others for as long as the policy can still read them."""

    prompts: dict[int, FrameMemory] = field(default_factory=dict)
    recent: dict[int, FrameMemory] = field(default_factory=dict)

    @property
    def recent_scores(self) -> dict[int, Scores]:
        """Scores of the tracked (not prompted) frames."""
        return {frame: memory.scores for frame, memory in self.recent.items()}

    def add(self, memory: FrameMemory) -> None:
        """Remember a frame; it takes the place (and among prompts, the rank) of an older memory of the same frame."""
        (self.recent if memory.is_prompt else self.prompts).pop(memory.frame, None)
        (self.prompts if memory.is_prompt else self.recent)[memory.frame] = memory

    def keep(self, frames: Iterable[int], *, prompts: bool = False) -> None:
        """Drop every tracked memory outside ``frames``; those of prompts, too, where tracking never goes back."""
        wanted = set(frames)
        self.recent = {frame: memory for frame, memory in self.recent.items() if frame in wanted}
        if prompts:
            self.prompts = {frame: memory for frame, memory in self.prompts.items() if frame in wanted}
