"""What a policy decides: which candidate is the object, and which memories a frame reads.

Policies are pure: they get numbers and return numbers, so they can be tested without a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from masklet.results import Box, Scores
from masklet.settings import CheckedSettings, Count, setting

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.tracking.memory import FrameMemory, MemoryBank

#: What a policy keeps of an object from frame to frame, in its own words. Nobody else looks into it; it is stored with
#: the frame and given back on the next one. Empty where nothing is known yet: at prompts, and far away from them.
State = bytes


@dataclass(frozen=True)
class Moment:
    """The frame that is looked at, and what the network can read there.

    Attributes:
        frame: its index.
        step: the direction of time, +1 or -1; 0 where a prompt decides the frame.
        num_memories: temporal slots of the network: the last is for prompts, 0 for the latest frame.
        max_pointers: object pointers to read.
    """

    frame: int
    step: int
    num_memories: int
    max_pointers: int

    def behind(self, frames: Iterable[int]) -> list[int]:
        """Those of some frames that lie in the past, latest first."""
        return sorted((t for t in frames if (self.frame - t) * self.step > 0), key=lambda t: -t * self.step)


@dataclass(frozen=True)
class Offer:
    """What the decoder offers after one reading of an object's memories.

    Attributes:
        ious: predicted IoU of every candidate.
        object_score: logit that the object is visible.
        box_of: tight box of a candidate in pixels of the network's input, None for an empty mask; asked if needed.
        mask_of: a candidate's mask, bool ``[h, w]`` at a quarter of the input's side; asked if needed.
    """

    ious: tuple[float, ...]
    object_score: float
    box_of: Callable[[int], Box | None]
    mask_of: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Choice:
    """A policy's choice among candidates.

    Attributes:
        kept: (reading, candidate) of all masks that enter memory. The first is the object's mask; further ones are
            other versions of what the frame may show.
        state: what the policy wants to know on the next frame.
        final_scores: what the first reading's candidates were ranked by.
        motion_scores: overlap of every candidate's box with the expected one, where motion had a say.
        expected_box_xyxy: where the object was expected, in pixels of the network's input.
    """

    kept: tuple[tuple[int, int], ...]
    state: State
    final_scores: tuple[float, ...]
    motion_scores: tuple[float, ...] | None = None
    expected_box_xyxy: Box | None = None


@dataclass(frozen=True)
class Selection:
    """Memories to read on one frame.

    Attributes:
        frames: ``(temporal slot, memory)``.
        pointers: ``(distance in frames, memory)``.
        weights: of each of the frames, then of each of the pointers; empty where all count the same.
    """

    frames: list[tuple[int, FrameMemory]]
    pointers: list[tuple[int, FrameMemory]]
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class PastFrame:
    """A tracked or prompted frame behind the one that is explained: could it have been read there, and was it?

    Attributes:
        distance: frames between the two; 1 is the frame just before.
        is_prompt: a prompt decided it.
        kept: it was read in the slot of prompts.
        scores: of its mask, where they are known.
        beside_prompt: it lies next to the first prompt that was read.
        crowded_out: all slots went to frames that came after it.
    """

    distance: int
    is_prompt: bool = False
    kept: bool = False
    scores: Scores = field(default_factory=Scores)
    beside_prompt: bool = False
    crowded_out: bool = False


class Policy(CheckedSettings, ABC):
    """How a track goes on from frame to frame. Its fields are its settings; nobody else knows what they mean.

    Attributes:
        name: what the policy is called by.
        title: what people call it.
        description: what it does, for people, in a few words.
        presence_threshold: object-score logit above which a frame's mask and pointer count as showing the object.
    """

    name: ClassVar[str]
    title: ClassVar[str]
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
    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        """Select what a frame reads. Each selection is a reading of its own; they go through the network together."""

    @abstractmethod
    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        """Choose among candidates.

        Args:
            offers: what the decoder offers after every reading that `select` asked for.
            bank, state: as `select` got them; at a prompt there is no state.
        """

    @abstractmethod
    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        """The frames whose memories this frame or one after it may still read.

        Args:
            prompts: prompted frames in the order in which they were first prompted.
            tracked: scores of the tracked ones.
        """

    def check_state(self, state: State) -> None:
        """Raises ValueError for bytes that are no state of this policy: they may come out of a stranger's file."""
        if state:
            raise ValueError(f"{self.name} keeps no state")

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


def reachable_prompts(prompts: Sequence[int], at: Moment, limit: int | None) -> set[int]:
    """The prompt frames that `select_prompts` may choose for a frame or a later one; the first always counts."""
    return {*prompts} - {*at.behind(prompts)[limit:]} | {*prompts[:1]} if limit is not None else {*prompts}


def select_by_rank(bank: MemoryBank, recent: Sequence[int], at: Moment, limit: int | None) -> list[Selection]:
    """Prompt frames, and of others those of `recent` that are there, the first of which has slot 0."""
    prompts = select_prompts(bank, at.frame, limit)
    frames = [(at.num_memories - 1, memory) for memory in prompts.values()]
    for slot, t in reversed([*enumerate(recent)]):
        memory = latest(bank, prompts, t)
        if memory is not None:
            frames.append((slot, memory))
    return [Selection(frames, select_pointers(bank, prompts, at))]


def select_pointers(bank: MemoryBank, prompts: dict[int, FrameMemory], at: Moment) -> list[tuple[int, FrameMemory]]:
    """Object pointers by plain recency: prompt frames that lie behind, then the last ``max_pointers - 1`` frames."""
    pointers = past_pointers(prompts, at)
    for distance in range(1, at.max_pointers):
        memory = latest(bank, prompts, at.frame - at.step * distance)
        if memory is not None:
            pointers.append((distance, memory))
    return pointers


def past_pointers(prompts: Mapping[int, FrameMemory], at: Moment) -> list[tuple[int, FrameMemory]]:
    """Object pointers of the prompt frames that lie behind."""
    distances = [((at.frame - t) * at.step, memory) for t, memory in prompts.items()]
    return [(distance, memory) for distance, memory in distances if distance >= 0]


def latest(bank: MemoryBank, prompts: dict[int, FrameMemory], frame: int) -> FrameMemory | None:
    """The memory of a frame as a recent one: tracked, or a prompt frame that isn't read as such already."""
    memory = bank.recent.get(frame)
    if memory is None and frame not in prompts:
        memory = bank.prompts.get(frame)
    return memory
