"""DAM4SAM: frames that tell the object from its look-alikes are remembered for long (arXiv 2411.17576)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import TypeAdapter

from masklet.masks.boxes import box_overlap, mask_to_box
from masklet.masks.clean import keep_largest
from masklet.settings import Count, Share, setting
from masklet.tracking.memory import MemoryBank
from masklet.tracking.policies.base import (
    Choice,
    Moment,
    Offer,
    PastFrame,
    Policy,
    Selection,
    State,
    reachable_prompts,
    select_pointers,
    select_prompts,
)

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.results import Scores

#: So many of the latest masks tell the size that the object usually has.
_SIZES = 10


@dataclass(frozen=True)
class Resolved:
    """What DAM4SAM knows of an object: frames that told it from a look-alike, and how large it was lately.

    Attributes:
        anchors: the frames that are remembered for long, latest last.
        sizes: pixels of the latest masks that show something, latest last.
    """

    anchors: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


STATE = TypeAdapter(Resolved)


class DAM4SAM(Policy):
    """Memory in two parts (section 3.2), of as many frames together as the network reads.

    Recent appearances: the frame just before, then every fifth, where the object was visible. Resolved look-alikes:
    the prompts, and frames on which a candidate that was not chosen shows something else besides the object.
    """

    name: ClassVar[str] = "dam4sam"
    title: ClassVar[str] = "DAM4SAM (look-alikes)"
    description: ClassVar[str] = "keeps frames with look-alikes for long, and spreads the others out"

    distractor_frames: Count = setting(
        4, "Look-alike frames", "Frames with look-alikes that are remembered, the prompt among them (nano: 2)."
    )
    memory_stride: Count = setting(5, "Memory stride", "Every so many frames one is remembered.")
    anchor_iou: Share = setting(0.8, "Look-alike IoU", "Predicted IoU above which a frame can be kept for long.")
    anchor_size_change: Share = setting(0.2, "Look-alike size change", "Most that the size may differ from the usual.")
    anchor_gap: Count = setting(5, "Look-alike gap", "Frames that pass before another one is kept for long.")
    distractor_overlap: Share = setting(
        0.7, "Look-alike overlap", "Overlap of boxes with and without the other thing, up to which it is a look-alike."
    )

    @classmethod
    def defaults(cls, spec: ModelSpec) -> dict[str, Any]:
        # Four of seven as published; a network that reads fewer frames shares them out in the same way.
        return {"distractor_frames": max(1, (spec.num_memories + 1) // 2)}

    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        anchors = self._anchors(state, at, bank.recent)
        prompts = select_prompts(bank, at.frame, self.max_prompt_frames)
        kept = {**prompts, **{t: bank.recent[t] for t in reversed(anchors)}}
        shown = {t: memory for t, memory in bank.recent.items() if t not in kept and _is_visible(memory.scores)}
        # Section 3.2.2: kept frames have no place in time, so they are read in the slot of prompts.
        frames = [(at.num_memories - 1, memory) for memory in kept.values()]
        spread = self._spread(bank.prompts, shown, at)[: max(1, at.num_memories - 1 - len(anchors))]
        frames += [(slot, shown[t]) for slot, t in reversed([*enumerate(spread)])]
        return [Selection(frames, select_pointers(MemoryBank(bank.prompts, shown), kept, at))]

    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        [offer] = offers
        best = int(np.argmax(offer.ious))
        if at.step == 0:
            return Choice(((0, best),), b"", offer.ious)
        known, mask = _known(state), offer.mask_of(best)
        anchors, size = known.anchors, int(mask.sum())
        sizes = (*known.sizes, *([size] if size else []))[-_SIZES:]
        if (
            self.distractor_frames > 1
            and offer.ious[best] > self.anchor_iou
            and self._is_usual(size, sizes)
            and (not anchors or abs(at.frame - anchors[-1]) > self.anchor_gap)
            and self._sees_distractor(mask, [offer.mask_of(i) for i in range(len(offer.ious)) if i != best])
        ):
            anchors = (*anchors, at.frame)[1 - self.distractor_frames :]
        return Choice(((0, best),), STATE.dump_json(Resolved(anchors, sizes)), offer.ious)

    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        near = {at.frame - at.step * distance for distance in range(1, max(at.max_pointers, 2))}
        anchors = self._anchors(state, at, tracked)
        shown = [t for t, scores in tracked.items() if t not in anchors and _is_visible(scores)]
        spread = self._spread(prompts, shown, at)[: at.num_memories - 1]
        return near | {*anchors, *spread} | reachable_prompts(prompts, at, self.max_prompt_frames)

    def check_state(self, state: State) -> None:
        _known(state)

    def _anchors(self, state: State, at: Moment, there: Iterable[int]) -> list[int]:
        """The frames to be read like prompts that are still there as tracked ones."""
        return at.behind({*_known(state).anchors} & {*there})

    def _spread(self, prompts: Iterable[int], shown: Iterable[int], at: Moment) -> list[int]:
        """Recent appearances (section 3.2.1), latest first: the latest, then those at a stride from the prompt."""
        first = next(iter(prompts), 0)
        behind = at.behind(shown)
        return [*behind[:1], *(t for t in behind[1:] if (t - first) % self.memory_stride == 0)]

    def _is_usual(self, size: int, sizes: Sequence[int]) -> bool:
        """A stable mask is about as large as the latest ones (section 3.2.2); of the first, nobody knows."""
        if not size or len(sizes) < 2:
            return False
        return abs(size / float(np.median(sizes)) - 1) <= self.anchor_size_change

    def _sees_distractor(self, mask_hw: np.ndarray, others: Sequence[np.ndarray]) -> bool:
        """Whether another candidate shows something besides the object (section 3.2.2).

        With its largest part outside of the mask, the mask's box grows so much that the two overlap little.
        """
        box = mask_to_box(mask_hw)
        parts = (keep_largest(beside) for other in others if (beside := other & ~mask_hw).any())
        return any(box_overlap(box, mask_to_box(part | mask_hw)) <= self.distractor_overlap for part in parts)

    def why_read(self, past: PastFrame) -> str:
        if past.kept and not past.is_prompt:
            return "It tells the object from a look-alike, so it is kept for long."
        if past.is_prompt or past.distance == 1:
            return super().why_read(past)
        return f"One of the latest frames at a distance of {self.memory_stride} that show the object."

    def why_not_read(self, past: PastFrame) -> str:
        if past.scores.object_score is not None and not _is_visible(past.scores):
            return f"The object was not visible: its object score is {past.scores.object_score:.2f}."
        if past.crowded_out:
            return super().why_not_read(past)
        return f"Of the frames before the last one, every {self.memory_stride}th is read, counted from the prompt."


def _known(state: State) -> Resolved:
    """What a state says; ValueError for bytes that are none."""
    return STATE.validate_json(state) if state else Resolved()


def _is_visible(scores: Scores) -> bool:
    return scores.object_score is None or scores.object_score > 0
