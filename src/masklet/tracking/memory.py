"""What an object's track remembers, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class FrameMemory:
    """The memory of one object on one frame.

    Attributes:
        frame: index of the frame.
        features_bchw: memory frame ``[1, c, h, w]``, bfloat16 as in the reference.
        pointer_bc: object pointer ``[1, c]``.
        object_score: logit that the object is visible.
        predicted_iou: predicted IoU of the chosen mask.
        motion_score: overlap with the predicted box, where the motion filter had a say.
        is_prompt: the mask was decided by a prompt.
    """

    frame: int
    features_bchw: Tensor
    pointer_bc: Tensor
    object_score: float
    predicted_iou: float
    motion_score: float | None = None
    is_prompt: bool = False


class MemoryArchive(Protocol):
    """Where memories go that left the bank, and come back from when tracking starts somewhere else."""

    def load_memory(self, frame: int) -> FrameMemory | None: ...


@dataclass
class MemoryBank:
    """Memories of one track: prompt frames for good, others for as long as the policy can still read them."""

    prompts: dict[int, FrameMemory] = field(default_factory=dict)
    recent: dict[int, FrameMemory] = field(default_factory=dict)

    def add(self, memory: FrameMemory) -> None:
        """Remember a frame; it takes the place (and among prompts, the rank) of an older memory of the same frame."""
        (self.recent if memory.is_prompt else self.prompts).pop(memory.frame, None)
        (self.prompts if memory.is_prompt else self.recent)[memory.frame] = memory

    def keep(self, frames: Iterable[int]) -> None:
        """Drop every tracked (not prompted) memory outside ``frames``."""
        wanted = set(frames)
        self.recent = {frame: memory for frame, memory in self.recent.items() if frame in wanted}
