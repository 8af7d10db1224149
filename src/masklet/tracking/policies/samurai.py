"""SAMURAI: motion decides between candidates, and only good frames are remembered (arXiv 2411.11922)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from masklet.models.specs import ModelSpec
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.motion import Box, BoxFilter, box_overlap
from masklet.tracking.policies.base import (
    Choice,
    MotionState,
    Selection,
    latest,
    select_pointers,
    select_prompts,
)


@dataclass(frozen=True)
class Samurai:
    """The published policy with the published defaults.

    Attributes:
        kf_score_weight: weight of the motion score against the predicted IoU (0.25; 0.15 for large).
        stable_frames_threshold: good frames in a row before motion has a say.
        stable_ious_threshold: predicted IoU that makes a frame good.
        min_obj_score_logits: object score above which the object counts as present.
        memory_bank_iou_threshold, memory_bank_obj_score_threshold, memory_bank_kf_score_threshold: what a frame must
            exceed to be read as memory.
        max_prompt_frames: read only the nearest prompt frames (all by default).
    """

    kf_score_weight: float = 0.25
    stable_frames_threshold: int = 15
    stable_ious_threshold: float = 0.3
    min_obj_score_logits: float = -1.0
    memory_bank_iou_threshold: float = 0.5
    memory_bank_obj_score_threshold: float = 0.0
    memory_bank_kf_score_threshold: float = 0.0
    max_prompt_frames: int | None = None
    name: str = "samurai"

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

    def select(self, bank: MemoryBank, frame: int, step: int, spec: ModelSpec, max_pointers: int) -> Selection:
        prompts = select_prompts(bank, frame, self.max_prompt_frames)
        frames = [(spec.num_memories - 1, memory) for memory in prompts.values()]
        ranked = self._good_frames(bank, frame, step)[: spec.num_memories - 1]
        if frame - step not in ranked:
            # The frame just before is always read, whatever its scores; it has its slot even if it is a prompt frame.
            ranked = [frame - step, *ranked][: spec.num_memories - 1]
        for slot in range(len(ranked) - 1, -1, -1):
            memory = latest(bank, prompts, ranked[slot])
            if memory is not None:
                frames.append((slot, memory))
        return Selection(frames, select_pointers(bank, prompts, frame, step, max_pointers))

    def reach(self, bank: MemoryBank, frame: int, step: int, spec: ModelSpec, max_pointers: int) -> set[int]:
        near = {frame - step * distance for distance in range(1, max(max_pointers, 2))}
        return near | set(self._good_frames(bank, frame, step)[: spec.num_memories - 1])

    def _good_frames(self, bank: MemoryBank, frame: int, step: int) -> list[int]:
        """Tracked frames behind ``frame`` that are good enough to be read, latest first.

        The frame next to the first prompt is passed over, as published (its scan ends at frame 2).
        """
        first = next(iter(bank.prompts), None)
        behind = sorted((t for t in bank.recent if (frame - t) * step > 0), key=lambda t: -t * step)
        return [t for t in behind if (first is None or abs(t - first) > 1) and self._is_good(bank.recent[t])]

    def _is_good(self, memory: FrameMemory) -> bool:
        return (
            memory.predicted_iou > self.memory_bank_iou_threshold
            and memory.object_score > self.memory_bank_obj_score_threshold
            and (memory.motion_score is None or memory.motion_score > self.memory_bank_kf_score_threshold)
        )
