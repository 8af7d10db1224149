"""Everything that belongs to one object in one video."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from masklet.prompts import Prompt
from masklet.results import PAINTED, Explanation, ObjectMask, Scores, Window
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies.base import State


@dataclass(frozen=True)
class FrameSize:
    """Size of the source frame in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class FrameRecord:
    """What the track keeps of one frame.

    Attributes:
        frame: its index.
        step: the direction it was tracked in (+1, -1), or 0 for a prompt frame.
        low_res_11hw: the chosen mask's logits, float32.
        scores, candidate, explanation: see :class:`~masklet.results.ObjectMask`.
        state: what the policy knows after this frame.
        memory: what later frames read, None until it is encoded.
        candidates_1nhw: logits of all candidates of a prompt.
        prompts: what was said, where prompts decided it.
        window: the part of the frame that the network looked at, None for all of it.
    """

    frame: int
    step: int
    low_res_11hw: Tensor
    scores: Scores
    candidate: int
    state: State = b""
    memory: FrameMemory | None = None
    explanation: Explanation | None = None
    candidates_1nhw: Tensor | None = None
    prompts: tuple[Prompt, ...] = ()
    window: Window | None = None

    @property
    def is_prompt(self) -> bool:
        return self.step == 0

    def mask_of(self, object_id: int, size: FrameSize) -> ObjectMask:
        """The mask as the caller sees it. One that was given is given back pixel for pixel."""
        given = self.prompts[-1].mask if self.prompts else None
        painted = given is not None and self.prompts[-1].origin == "painted"
        return ObjectMask(
            object_id,
            self.frame,
            given,
            self.low_res_11hw[0, 0],
            (size.height, size.width),
            PAINTED if painted else self.scores,
            self.candidate,
            lost=not self.prompts[-1].shows if given is not None else (self.scores.object_score or 0) < 0,
            is_prompt=self.is_prompt,
            painted=painted,
            explanation=self.explanation,
            window=self.window,
        )

    def candidates_of(self, object_id: int, size: FrameSize) -> tuple[ObjectMask, ...]:
        """All masks that the decoder offered for a prompt; none where there was no choice."""
        offered, why = self.candidates_1nhw, self.explanation
        if offered is None or why is None or offered.shape[1] < 2:
            return ()
        return tuple(
            ObjectMask(
                object_id,
                self.frame,
                low_res_logits_hw=offered[0, i],
                size=(size.height, size.width),
                scores=Scores(self.scores.object_score, iou),
                candidate=i,
                lost=(self.scores.object_score or 0) < 0,
                is_prompt=True,
                explanation=why,
                window=self.window,
            )
            for i, iou in enumerate(why.ious)
        )


@dataclass
class ObjectTrack:
    """One object: its prompts, memories, and what the policy knows. Two objects or videos never share any of it."""

    object_id: int
    bank: MemoryBank = field(default_factory=MemoryBank)
    state: State = b""
    #: Where ``state`` and ``bank.recent`` stand: the last frame and the direction, None before tracking.
    cursor: tuple[int, int] | None = None
    #: The record of the frame just before, where there is one.
    before: FrameRecord | None = None
    #: Memories of prompt frames as seen through windows of other sides, by frame and side, with the record they are of.
    prompt_memories: dict[tuple[int, int], tuple[FrameRecord, FrameMemory]] = field(default_factory=dict)
    #: Records of prompt frames; they decide their frame.
    prompted: dict[int, FrameRecord] = field(default_factory=dict)
    #: Clicks that only take away, on frames where nothing is known yet to take away from.
    waiting: dict[int, tuple[Prompt, ...]] = field(default_factory=dict)
    #: Prompt frames that tracking has passed, and in which direction: what memory says there may be corrected.
    visited: dict[int, int] = field(default_factory=dict)

    def take(self, record: FrameRecord) -> None:
        """Remember a frame; what the policy knows after it is what it knows now."""
        assert record.memory is not None
        self.bank.add(record.memory)
        self.state = record.state

    def prompts(self, frame: int) -> tuple[Prompt, ...]:
        """What was said about the object on a frame."""
        return self.prompted[frame].prompts if frame in self.prompted else self.waiting.get(frame, ())
