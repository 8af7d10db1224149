"""SAMURAI: motion decides between candidates, and only good frames are remembered (arXiv 2411.11922)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from masklet.settings import Count, Share, setting
from masklet.tracking.motion import Box, BoxFilter, box_overlap
from masklet.tracking.policies.base import Choice, MotionState, PastFrame, Policy

if TYPE_CHECKING:
    from masklet.models.specs import ModelSpec
    from masklet.results import Scores


class Samurai(Policy):
    """The published policy with the published defaults."""

    name: ClassVar[str] = "samurai"
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

    def choose(self, ious: Sequence[float], box_of: Callable[[int], Box | None], motion: MotionState) -> Choice:
        best = int(np.argmax(ious))
        if motion.filter is None or motion.stable_frames == 0:
            box = box_of(best)
            if box is None:  # nothing to start from in an empty mask: wait for one that shows the object
                waiting = MotionState(None if motion.filter is None else motion.filter.predict(), 0)
                return Choice(best, waiting, None, tuple(ious))
            return Choice(best, MotionState(BoxFilter.start(box), 1), None, tuple(ious))

        expected = motion.filter.predict()
        scores: tuple[float, ...] | None = None
        final = tuple(ious)
        settled = motion.stable_frames >= self.stable_frames_threshold
        if settled:
            boxes = [box_of(i) for i in range(len(ious))]
            scores = tuple(0.0 if box is None else box_overlap(expected.box_xyxy, box) for box in boxes)
            weight = self.kf_score_weight
            final = tuple(weight * score + (1 - weight) * iou for score, iou in zip(scores, ious, strict=True))
            best = int(np.argmax(final))

        good = ious[best] >= self.stable_ious_threshold if settled else ious[best] > self.stable_ious_threshold
        if not good:
            return Choice(best, MotionState(expected, 0), scores, final)
        box = box_of(best)
        if box is None:  # no measurement: predict only
            return Choice(best, MotionState(expected, motion.stable_frames), scores, final)
        count = motion.stable_frames if settled else motion.stable_frames + 1
        return Choice(best, MotionState(expected.update(box), count), scores, final)

    def recent(
        self, prompts: Sequence[int], tracked: Mapping[int, Scores], frame: int, step: int, count: int
    ) -> list[int]:
        """The latest good frames.

        The frame just before is always read, whatever its scores, and even if it is a prompt frame. The frame next to
        the first prompt is passed over, as published (its scan ends at frame 2).
        """
        first = next(iter(prompts), None)
        behind = sorted((t for t in tracked if (frame - t) * step > 0), key=lambda t: -t * step)
        good = [t for t in behind if (first is None or abs(t - first) > 1) and self._is_good(tracked[t])]
        return (good if frame - step in good[:count] else [frame - step, *good])[:count]

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
            (seen.motion_score, self.memory_bank_kf_score_threshold, "Its overlap with where motion expected it"),
        ):
            if value is not None and not value > least:
                return f"{words}, {value:.2f}, is not above {least:g}."
        if past.beside_prompt:
            return "The frame next to the first prompt is passed over, as SAMURAI was published."
        return "Enough later frames were good." if past.crowded_out else super().why_not_read(past)


def _above(score: float | None, threshold: float) -> bool:
    return score is None or score > threshold
