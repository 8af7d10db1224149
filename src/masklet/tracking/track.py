"""Everything that belongs to one object in one video."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies.base import MotionState
from masklet.tracking.prompts import Prompt
from masklet.tracking.results import Explanation


@dataclass(frozen=True)
class FrameRecord:
    """What the track keeps of one frame.

    Attributes:
        frame: its index.
        step: the direction it was tracked in (+1, -1), or 0 for a prompt frame.
        low_res_11hw: the chosen mask's logits, float32.
        object_score, predicted_iou, motion_score, candidate: see :class:`~masklet.tracking.results.ObjectMask`.
        motion: belief about motion after this frame.
        memory: what later frames read, None until it is encoded.
    """

    frame: int
    step: int
    low_res_11hw: Tensor
    object_score: float
    predicted_iou: float
    motion_score: float | None
    candidate: int
    motion: MotionState
    memory: FrameMemory | None = None
    explanation: Explanation = field(default_factory=Explanation)
    candidates_1nhw: Tensor | None = None

    @property
    def is_prompt(self) -> bool:
        return self.step == 0


@dataclass
class ObjectTrack:
    """One object: its prompts, memories and motion. Two objects or two videos never share any of it."""

    object_id: int
    prompts: dict[int, Prompt] = field(default_factory=dict)
    bank: MemoryBank = field(default_factory=MemoryBank)
    motion: MotionState = field(default_factory=MotionState)
    #: Where ``motion`` and ``bank.recent`` stand: the last frame and the direction, None before tracking.
    cursor: tuple[int, int] | None = None
    #: Records of prompt frames; they decide their frame.
    prompted: dict[int, FrameRecord] = field(default_factory=dict)
    #: Prompt frames that tracking has passed, and in which direction: later clicks there correct what memory says.
    visited: dict[int, int] = field(default_factory=dict)
