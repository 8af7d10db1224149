"""SAM2Long: several histories side by side, and the one whose masks add up best wins (arXiv 2410.16268)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, TypeAdapter

from masklet.settings import Count, Share, setting
from masklet.tracking.policies.base import (
    Choice,
    Moment,
    Offer,
    PastFrame,
    Policy,
    Selection,
    State,
    latest,
    past_pointers,
    reachable_prompts,
    select_prompts,
)

if TYPE_CHECKING:
    from masklet.results import Scores
    from masklet.tracking.memory import FrameMemory, MemoryBank

#: What a predicted IoU is raised by before its logarithm is taken.
_LEAST_IOU = 1e-5
#: Predicted IoUs that are equal to so many places are those of one mask.
_PLACES = 2
#: Object score of a prompt, where what is read is ordered by it.
_PROMPT_SCORE = 10.0


class PathwayStep(NamedTuple):
    """What a pathway believes a frame to show: which of the versions that memory has, and their scores."""

    frame: int
    version: Annotated[int, Field(ge=0)]
    iou: float
    object_score: float


@dataclass(frozen=True)
class Pathway:
    """One history of the object.

    Attributes:
        score: sum of the logarithms of its predicted IoUs since the last prompt.
        steps: what it can still read, latest first; the frame just before is always there.
        copies: pathways of the same history. They are computed once.
    """

    score: float = 0.0
    steps: tuple[PathwayStep, ...] = ()
    copies: Count = 1


STATE = TypeAdapter(Annotated[list[Pathway], Field(min_length=1)])


class SAM2Long(Policy):
    """A memory tree (section 3.2): every pathway reads its own memories, and the best candidates of all go on.

    The object's mask is that of the pathway that is best so far, because a mask is given at once and stays. The
    published code waits for the end of the video, and shows everywhere what the pathway believed that is best there.
    """

    name: ClassVar[str] = "sam2long"
    title: ClassVar[str] = "SAM2Long (several histories)"
    description: ClassVar[str] = "follows several histories at once, and goes with the one that adds up best"

    pathways: Count = setting(3, "Pathways", "Histories that are followed at once.")
    memory_iou: Share = setting(0.3, "Memory IoU", "Predicted IoU above which a frame is remembered.")
    sure_object_score: float = setting(
        2.0, "Sure object score", "Object score, of either sign, above which the best candidates go on, however alike."
    )
    key_scale: Share = setting(0.05, "Memory weight", "How much more the surest memories count, and the others less.")

    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        prompts = select_prompts(bank, at.frame, self.max_prompt_frames)
        pathways = self._pathways(bank.recent_scores, state, at)
        return [self._reading(bank, prompts, pathway, at) for pathway in pathways]

    def _reading(self, bank: MemoryBank, prompts: dict[int, FrameMemory], pathway: Pathway, at: Moment) -> Selection:
        """What a pathway reads: the prompts, and its latest good frames by rank (section 3.3)."""
        read: list[tuple[PathwayStep, FrameMemory]] = []
        for step in pathway.steps:
            memory = latest(bank, prompts, step.frame)
            if memory is not None:
                read.append((step, memory.version(step.version)))
        frames = [(at.num_memories - 1, memory) for memory in prompts.values()]
        near = [*enumerate(read[: at.num_memories - 1])]
        frames += [(slot, memory) for slot, (_, memory) in reversed(near)]
        before = past_pointers(prompts, at)
        pointers = before + [(rank, memory) for rank, (_, memory) in enumerate(read[: at.max_pointers - 1], 1)]
        sure = [step.object_score for step, _ in read]
        if len(frames) < 2:
            return Selection(frames, pointers)
        weights = (
            *self._weights([_PROMPT_SCORE] * len(prompts) + sure[: len(near)][::-1]),
            *self._weights([_PROMPT_SCORE] * len(before) + sure[: at.max_pointers - 1]),
        )
        return Selection(frames, pointers, weights)

    def _weights(self, object_scores: Sequence[float]) -> tuple[float, ...]:
        """Weights of memories by the rank of their object scores, evenly around one (section 3.3, equation 6)."""
        if len(object_scores) < 2:
            return (1.0,) * len(object_scores)
        ranks = np.argsort(np.argsort(object_scores, kind="stable"), kind="stable")
        return tuple((1 - self.key_scale + 2 * self.key_scale * ranks / (len(object_scores) - 1)).tolist())

    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        if at.step == 0:
            return Choice(((0, int(np.argmax(offers[0].ious))),), b"", offers[0].ious)
        pathways = self._pathways(bank.recent_scores, state, at)
        if not state:
            # As published, pathways set out from the best mask of the first frame, whose IoU doesn't count.
            best = int(np.argmax(offers[0].ious))
            start = self._gone_on(pathways[0], offers[0], best, 0, at)
            return Choice(
                ((0, best),), STATE.dump_json([replace(start, copies=self.pathways, score=0.0)]), offers[0].ious
            )
        final = [
            tuple(pathway.score + math.log(iou + _LEAST_IOU) for iou in offer.ious)
            for pathway, offer in zip(pathways, offers, strict=True)
        ]
        branches = [
            (row, index)
            for row, pathway in enumerate(pathways)
            for _ in range(pathway.copies)
            for index in range(len(final[row]))
        ]
        branches.sort(key=lambda branch: -final[branch[0]][branch[1]])
        if max(abs(offer.object_score) for offer in offers) > self.sure_object_score:
            branches = branches[: self.pathways]
        else:
            branches = self._diverse(branches, offers)
        copies = Counter(branches)
        after = [
            replace(
                self._gone_on(pathways[row], offers[row], index, version, at),
                score=final[row][index],
                copies=copies[row, index],
            )
            for version, (row, index) in enumerate(copies)
        ]
        return Choice(tuple(copies), STATE.dump_json(after), final[branches[0][0]])

    def _diverse(self, ranked: Sequence[tuple[int, int]], offers: Sequence[Offer]) -> list[tuple[int, int]]:
        """Where nothing is sure, masks of different predicted IoU go on (section 3.2, uncertainty handling).

        If there are too few of those, pathways that have none among them go on with their best.
        """
        seen: dict[float, tuple[int, int]] = {}
        for row, index in ranked:
            iou = round(offers[row].ious[index], _PLACES)
            seen.setdefault(iou if offers[row].object_score > 0 else -iou, (row, index))
        kept = [*seen.values()][: self.pathways]
        for row in range(len(offers)):
            if row not in {row for row, _ in kept}:
                kept.append(next(branch for branch in ranked if branch[0] == row))
        return kept[: self.pathways]

    def _gone_on(self, pathway: Pathway, offer: Offer, index: int, version: int, at: Moment) -> Pathway:
        """A pathway after it took a candidate: what it will never read again is forgotten."""
        step = PathwayStep(at.frame, version, offer.ious[index], offer.object_score)
        good = [step for step in pathway.steps if self._is_good(step.iou, step.object_score)]
        return replace(pathway, steps=(step, *good)[: _most(at)])

    def _pathways(self, tracked: Mapping[int, Scores], state: State, at: Moment) -> list[Pathway]:
        """What is known, or, after a prompt and far away from them, the history that was shown."""
        if state:
            return STATE.validate_json(state)
        return [Pathway(steps=tuple(PathwayStep(t, 0, *_known(tracked[t])) for t in self._history(tracked, at)))]

    def _history(self, tracked: Mapping[int, Scores], at: Moment) -> list[int]:
        """Frames that a new pathway may read, latest first: the good ones, and the frame just before."""
        behind = at.behind(tracked)
        good = [t for t in behind if t == at.frame - at.step or self._is_good(*_known(tracked[t]))]
        return good[: _most(at)]

    def _is_good(self, iou: float, object_score: float) -> bool:
        """Only frames that were seen well enter memory (section 3.3, equation 5)."""
        return iou > self.memory_iou and object_score > 0

    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        steps = [step.frame for pathway in (STATE.validate_json(state) if state else []) for step in pathway.steps]
        return {*steps, *self._history(tracked, at)} | reachable_prompts(prompts, at, self.max_prompt_frames)

    def check_state(self, state: State) -> None:
        if state:
            STATE.validate_json(state)

    def explain_choice(
        self, chosen: int, ious: Sequence[float], motion_scores: Sequence[float] | None, is_prompt: bool
    ) -> list[str]:
        if is_prompt or len(ious) < 2:
            return super().explain_choice(chosen, ious, motion_scores, is_prompt)
        return [
            f"Candidate {chosen + 1} of {len(ious)}, of predicted IoU {ious[chosen]:.2f}, belongs to the history whose "
            "masks add up best so far."
        ]

    def why_read(self, past: PastFrame) -> str:
        if past.is_prompt or past.distance == 1:
            return super().why_read(past)
        return "One of the latest good frames of this history."

    def why_not_read(self, past: PastFrame) -> str:
        iou, score = past.scores.predicted_iou, past.scores.object_score
        if iou is not None and not iou > self.memory_iou:
            return f"Its predicted IoU, {iou:.2f}, is not above {self.memory_iou:g}."
        if score is not None and not score > 0:
            return f"Its object score, {score:.2f}, is not above 0."
        if past.crowded_out:
            return "Enough later frames were good."
        return "The history that was chosen here did not go through the mask that this frame shows."


def _most(at: Moment) -> int:
    """Most frames that a pathway reads besides prompts."""
    return max(at.num_memories, at.max_pointers) - 1


def _known(scores: Scores) -> tuple[float, float]:
    """Predicted IoU and object score, the best where there are none."""
    iou, score = scores.predicted_iou, scores.object_score
    return 1.0 if iou is None else iou, _PROMPT_SCORE if score is None else score
