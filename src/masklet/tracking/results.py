"""What tracking says about a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor

from masklet.errors import InputError


@dataclass(frozen=True)
class Explanation:
    """Why a frame looks as it does: what the policy saw and chose from.

    Attributes:
        ious: predicted IoU of every candidate.
        motion_scores: overlap of every candidate's box with the predicted box, where motion had a say.
        final_scores: what the candidates were ranked by.
        candidate_boxes: their boxes in pixels of the frame (None for an empty mask), where they were looked at.
        motion_box_xyxy: the box the motion filter expected, in pixels of the frame.
        memory_frames: ``(frame, temporal slot)`` of every memory frame that was read.
        pointer_frames: frames whose object pointers were read.
    """

    ious: tuple[float, ...] = ()
    motion_scores: tuple[float, ...] | None = None
    final_scores: tuple[float, ...] = ()
    candidate_boxes: tuple[tuple[float, float, float, float] | None, ...] | None = None
    motion_box_xyxy: tuple[float, float, float, float] | None = None
    memory_frames: tuple[tuple[int, int], ...] = ()
    pointer_frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class ObjectMask:
    """One object on one frame.

    Attributes:
        object_id: the object's id.
        low_res_logits_hw: float32 mask logits at a quarter of the network's input side; above 0 is object.
        width, height: size of the source frame in pixels.
        object_score: logit that the object is visible.
        predicted_iou: predicted IoU of the mask with the truth, 0…1.
        motion_score: overlap with the box that the motion filter expected, 0…1; None where motion had no say.
        candidate: which of the decoder's candidates this is.
        is_prompt: a prompt decided this mask.
        low_res_candidates_nhw: all candidates' logits; kept for frames that were just prompted.
        explanation: what the policy saw.
    """

    object_id: int
    low_res_logits_hw: Tensor
    width: int
    height: int
    object_score: float
    predicted_iou: float
    motion_score: float | None = None
    candidate: int = 0
    is_prompt: bool = False
    low_res_candidates_nhw: Tensor | None = None
    explanation: Explanation = field(default_factory=Explanation)

    @property
    def lost(self) -> bool:
        """Whether the object isn't visible: its object score is below zero."""
        return self.object_score < 0

    @property
    def logits(self) -> np.ndarray:
        """Mask logits at the size of the source frame: float32 ``[height, width]``. Computed anew each time."""
        return _enlarged(self.low_res_logits_hw, self.height, self.width)

    @cached_property
    def mask(self) -> np.ndarray:
        """The mask at the size of the source frame: bool ``[height, width]``."""
        if not bool((self.low_res_logits_hw > 0).any()):
            return np.zeros((self.height, self.width), bool)
        return self.logits > 0

    @cached_property
    def box_xyxy(self) -> np.ndarray | None:
        """Tight box of the mask in pixels of the source frame, right and bottom exclusive; None for an empty mask."""
        rows, columns = self.mask.any(1).nonzero()[0], self.mask.any(0).nonzero()[0]
        if not len(rows):
            return None
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


@dataclass(frozen=True)
class FrameMasks:
    """All objects on one frame, by id, in the order they were added."""

    index: int
    objects: dict[int, ObjectMask]
    time: Fraction | None = None

    def __iter__(self) -> Iterator[ObjectMask]:
        return iter(self.objects.values())

    def __getitem__(self, object_id: int) -> ObjectMask:
        return self.objects[object_id]

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def masks(self) -> dict[int, np.ndarray]:
        """Boolean masks by object id."""
        return {mask.object_id: mask.mask for mask in self}

    @property
    def logits_bnhw(self) -> Tensor:
        """Logits of all objects at the size of the frame, ``[objects, 1, height, width]``; there must be one."""
        if not self.objects:
            raise InputError(f"no object has a mask on frame {self.index}: prompt one there, or track to it")
        return torch.from_numpy(np.stack([mask.logits for mask in self])[:, None]).to(
            next(iter(self)).low_res_logits_hw.device
        )


def _enlarged(logits_hw: Tensor, height: int, width: int) -> np.ndarray:
    """Bilinear resize by OpenCV: ten times as quick as PyTorch's on a CPU, and equal to float32 rounding."""
    low = logits_hw.detach().float().cpu().numpy()
    if low.shape == (height, width):
        return low
    return cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR)
