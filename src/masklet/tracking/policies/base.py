"""What a policy decides: which candidate is the object, and which memories a frame reads.

Policies are pure: they get numbers and return numbers, so they can be tested without a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from masklet.results import Scores
from masklet.settings import CheckedSettings, Count, setting
from masklet.tracking.motion import Box, BoxFilter

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.tracking.memory import FrameMemory, MemoryBank


@dataclass(frozen=True)
class MotionState:
    """What a policy believes about an object's motion: the filter, and how many good frames it has seen in a row."""

    filter: BoxFilter | None = None
    stable_frames: int = 0


@dataclass(frozen=True)
class Choice:
    """A policy's choice among candidates.

    Attributes:
        index: the candidate.
        motion: belief about motion after this frame.
        motion_scores: overlap of every candidate's box with the predicted one, where motion had a say.
        final_scores: what the candidates were ranked by.
    """

    index: int
    motion: MotionState
    motion_scores: tuple[float, ...] | None
    final_scores: tuple[float, ...]

    @property
    def motion_score(self) -> float | None:
        return None if self.motion_scores is None else self.motion_scores[self.index]


@dataclass(frozen=True)
class Selection:
    """Memories to read on one frame: ``(temporal slot, memory)`` and ``(distance in frames, memory)`` for pointers."""

    frames: list[tuple[int, FrameMemory]]
    pointers: list[tuple[int, FrameMemory]]


@dataclass(frozen=True)
class PastFrame:
    """A tracked or prompted frame behind the one that is explained: could it have been read there, and was it?

    Attributes:
        distance: frames between the two; 1 is the frame just before.
        is_prompt: a prompt decided it.
        scores: of its mask, where they are known.
        beside_prompt: it lies next to the first prompt that was read.
        crowded_out: all slots went to frames that came after it.
    """

    distance: int
    is_prompt: bool = False
    scores: Scores = field(default_factory=Scores)
    beside_prompt: bool = False
    crowded_out: bool = False


class Policy(CheckedSettings, ABC):
    """How a track goes on from frame to frame. Its fields are its settings; nobody else knows what they mean.

    Attributes:
        name: what the policy is called by.
        description: what it does, for people, in a few words.
        presence_threshold: object-score logit above which a frame's mask and pointer count as showing the object.
    """

    name: ClassVar[str]
    description: ClassVar[str]

    max_prompt_frames: Count | None = setting(None, "Prompt frames", "Read only so many of the nearest prompt frames.")

    @classmethod
    def noun(cls) -> str:
        return f"{cls.name} setting"

    @classmethod
    def defaults(cls, spec: ModelSpec) -> dict[str, Any]:
        """Settings whose default depends on the network."""
        return {}

    @property
    def presence_threshold(self) -> float:
        return 0.0

    @abstractmethod
    def choose(self, ious: Sequence[float], box_of: Callable[[int], Box | None], motion: MotionState) -> Choice:
        """Choose among candidates.

        Args:
            ious: predicted IoU of each.
            box_of: tight box of a candidate in pixels of the network's input, None for an empty mask; asked only if
                needed.
            motion: belief after the frame before.
        """

    @abstractmethod
    def recent(
        self, prompts: Sequence[int], tracked: Mapping[int, Scores], frame: int, step: int, count: int
    ) -> list[int]:
        """The frames that ``frame`` reads beside those of prompts, the one of slot 0 first, at most ``count``.

        What is left out here must be left out on every later frame as well: nobody keeps it.

        Args:
            prompts: prompted frames in the order in which they were first prompted.
            tracked: scores of the tracked ones.
            step: the direction of time (+1 or -1).
        """

    def select(self, bank: MemoryBank, frame: int, step: int, spec: ModelSpec, max_pointers: int) -> Selection:
        """Select what ``frame`` reads when time runs in direction ``step``."""
        prompts = select_prompts(bank, frame, self.max_prompt_frames)
        frames = [(spec.num_memories - 1, memory) for memory in prompts.values()]
        recent = self.recent([*bank.prompts], bank.recent_scores, frame, step, spec.num_memories - 1)
        for slot, t in reversed([*enumerate(recent)]):
            memory = latest(bank, prompts, t)
            if memory is not None:
                frames.append((slot, memory))
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
        """The frames whose memories ``frame`` or a frame after it (in direction ``step``) may still read."""
        near = {frame - step * distance for distance in range(1, max_pointers)}
        recent = self.recent(prompts, tracked, frame, step, spec.num_memories - 1)
        return near | {*recent} | reachable_prompts(prompts, frame, step, self.max_prompt_frames)

    def explain_choice(
        self, chosen: int, ious: Sequence[float], motion_scores: Sequence[float] | None, is_prompt: bool
    ) -> list[str]:
        """Why this candidate is the mask, in sentences for people."""
        if len(ious) == 1:
            return []
        if ious[chosen] < max(ious):
            return [f"Candidate {chosen + 1} of {len(ious)} was chosen."]
        return [f"Candidate {chosen + 1} of {len(ious)} has the highest predicted IoU, {ious[chosen]:.2f}."]

    def why_read(self, past: PastFrame) -> str:
        """Why a frame was read, in a sentence for people."""
        if past.is_prompt:
            return "Somebody said what the object is here: prompts are always read."
        return "The frame just before is always read." if past.distance == 1 else "One of the latest frames."

    def why_not_read(self, past: PastFrame) -> str:
        """Why a frame was not read, in a sentence for people."""
        if past.crowded_out:
            return "It is too long ago."
        return "It was found, or found anew, after this frame was tracked."


def select_prompts(bank: MemoryBank, frame: int, limit: int | None) -> dict[int, FrameMemory]:
    """The prompt frames to read: all, or the ``limit`` nearest with at least one on either side (as in SAM 2)."""
    if limit is None or len(bank.prompts) <= limit:
        return dict(sorted(bank.prompts.items()))
    before = [t for t in bank.prompts if t < frame]
    after = [t for t in bank.prompts if t >= frame]
    chosen = {max(before)} if before else set()
    if after and len(chosen) < limit:
        chosen.add(min(after))
    rest = sorted((t for t in bank.prompts if t not in chosen), key=lambda t: abs(t - frame))
    chosen.update(rest[: limit - len(chosen)])
    return {t: bank.prompts[t] for t in sorted(chosen)}


def reachable_prompts(prompts: Sequence[int], frame: int, step: int, limit: int | None) -> set[int]:
    """The prompt frames that `select_prompts` may choose for ``frame`` or a later one; the first always counts."""
    behind = sorted((t for t in prompts if (frame - t) * step > 0), key=lambda t: -t * step)
    return {*prompts} - {*behind[limit:]} | {*prompts[:1]} if limit is not None else {*prompts}


def select_pointers(
    bank: MemoryBank, prompts: dict[int, FrameMemory], frame: int, step: int, max_pointers: int
) -> list[tuple[int, FrameMemory]]:
    """Object pointers by plain recency: prompt frames that lie behind, then the last ``max_pointers - 1`` frames."""
    pointers = [((frame - t) * step, memory) for t, memory in prompts.items() if (frame - t) * step >= 0]
    for distance in range(1, max_pointers):
        memory = latest(bank, prompts, frame - step * distance)
        if memory is not None:
            pointers.append((distance, memory))
    return pointers


def latest(bank: MemoryBank, prompts: dict[int, FrameMemory], frame: int) -> FrameMemory | None:
    """The memory of a frame as a recent one: tracked, or a prompt frame that isn't read as such already."""
    memory = bank.recent.get(frame)
    if memory is None and frame not in prompts:
        memory = bank.prompts.get(frame)
    return memory
