"""What an object's track remembers, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from masklet.results import Scores

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FrameMemory:
    """The memory of one object on one frame, in all versions that the policy keeps of it.

    Attributes:
        frame: index of the frame.
        features_bchw: memory frame ``[versions, c, h, w]``, bfloat16 as in the reference. The first is the mask's.
        pointer_bc: object pointer ``[versions, c]``.
        scores: of the frame's mask; by them a policy decides whether it is worth reading.
        is_prompt: the mask was decided by a prompt.
        window_side: side of the window of the frame that it was made in, in pixels; 0 for the whole frame.
    """

    frame: int
    features_bchw: Tensor
    pointer_bc: Tensor
    scores: Scores
    is_prompt: bool = False
    window_side: int = 0

    def version(self, index: int) -> FrameMemory:
        """One version alone (a view of it); the mask's own where the frame has no such version (any more)."""
        part = slice(index, index + 1) if index < len(self.pointer_bc) else slice(0, 1)
        return replace(self, features_bchw=self.features_bchw[part], pointer_bc=self.pointer_bc[part])


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
