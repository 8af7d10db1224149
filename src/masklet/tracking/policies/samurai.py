"""SAMURAI: motion decides between candidates, and only good frames are remembered (arXiv 2411.11922)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from masklet.masks.boxes import box_overlap
from masklet.settings import Count, Share, setting
from masklet.tracking.motion import BoxFilter
from masklet.tracking.policies.base import (
    Choice,
    Moment,
    Offer,
    PastFrame,
    Policy,
    Selection,
    State,
    reachable_prompts,
    select_by_rank,
)

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.results import Scores
    from masklet.tracking.memory import MemoryBank


@dataclass(frozen=True)
class Motion:
    """What is believed about an object's motion: the filter, and how many good frames it has seen in a row."""

    filter: BoxFilter | None = None
    stable_frames: int = 0

    def pack(self) -> State:
        """As 8-byte floats: the count, then the filter's mean and covariance if there is one."""
        known = () if self.filter is None else (self.filter.mean, self.filter.covariance.ravel())
        return np.concatenate(([self.stable_frames], *known)).astype("<f8").tobytes()

    @classmethod
    def unpack(cls, state: State) -> Motion:
        """The reverse of `pack`; no bytes are no belief. Raises ValueError for others."""
        numbers = np.frombuffer(state, "<f8").astype(np.float64)
        if len(numbers) not in (0, 1, 1 + 8 + 64) or not np.isfinite(numbers).all():
            raise ValueError("what is believed about motion is damaged")
        if not len(numbers):
            return cls()
        known = BoxFilter(numbers[1:9], numbers[9:].reshape(8, 8)) if len(numbers) > 1 else None
        return cls(known, int(numbers[0]))


class Samurai(Policy):
    """The published policy with the published defaults."""

    name: ClassVar[str] = "samurai"
    title: ClassVar[str] = "SAMURAI (motion-aware)"
    description: ClassVar[str] = "weighs motion, and remembers good frames only"

    kf_score_weight: Share = setting(
        0.25, "Weight of motion", "Weight of motion against predicted IoU in the choice of a mask (large: 0.15)."
    )
    stable_frames_threshold: Count = setting(15, "Frames until motion", "Good frames in a row before motion has a say.")
    stable_ious_threshold: Share = setting(0.3, "Good IoU", "Predicted IoU of a good frame.")
    min_obj_score_logits: float = setting(-1.0, "Present object score", "Object score from which the object is there.")
    memory_bank_iou_threshold: Share = setting(0.5, "Memory IoU", "Predicted IoU above which a frame is remembered.")
    memory_bank_obj_score_threshold: float = setting(
        0.0, "Memory object score", "Object score above which a frame is remembered."
    )
    memory_bank_kf_score_threshold: Share = setting(
        0.0, "Memory motion score", "Motion score above which a frame is remembered."
    )

    @classmethod
    def defaults(cls, spec: ModelSpec) -> dict[str, Any]:
        return {"kf_score_weight": spec.motion_weight}

    @property
    def presence_threshold(self) -> float:
        return self.min_obj_score_logits

    def choose(self, offers: Sequence[Offer], bank: MemoryBank, state: State, at: Moment) -> Choice:
        motion, offer = Motion.unpack(state), offers[0]
        ious, box_of, best = offer.ious, offer.box_of, int(np.argmax(offer.ious))
        expected = None if motion.filter is None else motion.filter.predict()
        expected_box = None if expected is None else expected.box_xyxy
        scores: tuple[float, ...] | None = None
        final = ious

        def chosen(belief: BoxFilter | None, stable_frames: int) -> Choice:
            return Choice(((0, best),), Motion(belief, stable_frames).pack(), final, scores, expected_box)

        if expected is None or expected_box is None or motion.stable_frames == 0:
            box = box_of(best)
            # There is nothing to start from in an empty mask: wait for one that shows the object.
            return chosen(expected, 0) if box is None else chosen(BoxFilter.start(box), 1)
        settled = motion.stable_frames >= self.stable_frames_threshold
        if settled:
            scores = tuple(box_overlap(expected_box, box_of(i)) for i in range(len(ious)))
            weight = self.kf_score_weight
            final = tuple(weight * score + (1 - weight) * iou for score, iou in zip(scores, ious, strict=True))
            best = int(np.argmax(final))
        good = ious[best] >= self.stable_ious_threshold if settled else ious[best] > self.stable_ious_threshold
        if not good:
            return chosen(expected, 0)
        box = box_of(best)
        if box is None:  # no measurement: predict only
            return chosen(expected, motion.stable_frames)
        return chosen(expected.update(box), motion.stable_frames + (not settled))

    def check_state(self, state: State) -> None:
        Motion.unpack(state)

    def select(self, bank: MemoryBank, state: State, at: Moment) -> list[Selection]:
        ranked = self._good_frames(bank.prompts, bank.recent_scores, at)[: at.num_memories - 1]
        if at.frame - at.step not in ranked:
            # The frame just before is always read, whatever its scores; it has its slot even if it is a prompt frame.
            ranked = [at.frame - at.step, *ranked][: at.num_memories - 1]
        return select_by_rank(bank, ranked, at, self.max_prompt_frames)

    def reach(self, prompts: Sequence[int], tracked: Mapping[int, Scores], state: State, at: Moment) -> set[int]:
        near = {at.frame - at.step * distance for distance in range(1, max(at.max_pointers, 2))}
        good = self._good_frames(prompts, tracked, at)[: at.num_memories - 1]
        return near | set(good) | reachable_prompts(prompts, at, self.max_prompt_frames)

    def _good_frames(self, prompts: Iterable[int], tracked: Mapping[int, Scores], at: Moment) -> list[int]:
        """Tracked frames behind that are good enough to be read, latest first.

        The frame next to the first prompt is passed over, as published (its scan ends at frame 2).
        """
        first = next(iter(prompts), None)
        behind = at.behind(tracked)
        return [t for t in behind if (first is None or abs(t - first) > 1) and self._is_good(tracked[t])]

    def _is_good(self, scores: Scores) -> bool:
        return (
            _above(scores.predicted_iou, self.memory_bank_iou_threshold)
            and _above(scores.object_score, self.memory_bank_obj_score_threshold)
            and _above(scores.motion_score, self.memory_bank_kf_score_threshold)
        )

    def explain_choice(
        self, chosen: int, ious: Sequence[float], motion_scores: Sequence[float] | None, is_prompt: bool
    ) -> list[str]:
        if motion_scores is None:
            waits = "Motion had no say yet: the object was not seen well for long enough."
            return super().explain_choice(chosen, ious, None, is_prompt) + ([] if is_prompt else [waits])
        best, overlap = int(np.argmax(ious)), f"{motion_scores[chosen]:.2f}"
        if chosen == best:
            return [
                f"Candidate {chosen + 1} of {len(ious)} has the highest predicted IoU, {ious[best]:.2f}, and overlaps "
                f"where motion expected it by {overlap}."
            ]
        return [
            f"Motion decided, with a weight of {self.kf_score_weight:g}: candidate {chosen + 1} lies where the object "
            f"was expected (overlap {overlap}), although candidate {best + 1} has the higher predicted IoU "
            f"({ious[best]:.2f} against {ious[chosen]:.2f})."
        ]

    def why_read(self, past: PastFrame) -> str:
        if past.is_prompt or past.distance == 1:
            return super().why_read(past)
        return "One of the latest good frames."

    def why_not_read(self, past: PastFrame) -> str:
        seen = past.scores
        for value, least, words in (
            (seen.predicted_iou, self.memory_bank_iou_threshold, "Its predicted IoU"),
            (seen.object_score, self.memory_bank_obj_score_threshold, "Its object score"),
            (
                past.scores.motion_score,
                self.memory_bank_kf_score_threshold,
                "Its overlap with where motion expected it",
            ),
        ):
            if value is not None and not value > least:
                return f"{words}, {value:.2f}, is not above {least:g}."
        if past.beside_prompt:
            return "The frame next to the first prompt is passed over, as SAMURAI was published."
        return "Enough later frames were good." if past.crowded_out else super().why_not_read(past)


def _above(score: float | None, threshold: float) -> bool:
    return score is None or score > threshold
