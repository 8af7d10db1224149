"""What a person says about an object on one frame: clicks, a box, a painted mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masklet.errors import PromptError
from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NEGATIVE, POSITIVE


@dataclass(frozen=True)
class Prompt:
    """A prompt in pixels of the source frame; either a mask, or a box and clicks in any mixture.

    Attributes:
        points_n2: float32 x, y.
        labels_n: int64, 1 for "this" and 0 for "not this".
        box_xyxy: float32 ``[4]``.
        mask_hw: bool, the size of the frame. All false means: the object isn't on this frame.
    """

    points_n2: np.ndarray
    labels_n: np.ndarray
    box_xyxy: np.ndarray | None = None
    mask_hw: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        box: Sequence[float] | np.ndarray | None = None,
        mask: Any = None,
        *,
        width: int,
        height: int,
    ) -> Prompt:
        """Check a prompt against the frame it is for. One point may be given as ``(x, y)``; labels default to 1.

        Raises:
            PromptError: nothing was given; a coordinate is not finite or outside the frame; labels don't match; the box
                has no area; the mask isn't the size of the frame; a mask together with clicks or a box.
        """
        if points is None and box is None and mask is None:
            raise PromptError("an empty prompt: give points, a box or a mask")
        if labels is not None and points is None:
            raise PromptError("labels need points: give one x, y for each label")
        if mask is not None:
            if points is not None or box is not None:
                raise PromptError("give either a mask or points and a box, not both: a mask says everything already")
            mask_hw = _check_mask(mask, width, height)
            return cls(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), None, mask_hw)
        points_n2, labels_n = _check_points(points, labels, width, height)
        box_xyxy = None if box is None else _check_box(box, width, height)
        if box_xyxy is None and not len(points_n2):
            raise PromptError("an empty prompt: give points, a box or a mask")
        return cls(points_n2, labels_n, box_xyxy)

    def joined(self, later: Prompt) -> Prompt:
        """This prompt and a later one on the same frame: clicks add up; a new box or mask takes the old one's place."""
        if later.mask_hw is not None or self.mask_hw is not None:
            return later
        return Prompt(
            np.concatenate((self.points_n2, later.points_n2)),
            np.concatenate((self.labels_n, later.labels_n)),
            self.box_xyxy if later.box_xyxy is None else later.box_xyxy,
        )

    @property
    def point_count(self) -> int:
        """Points the network sees; a box is two."""
        return len(self.points_n2) + (2 if self.box_xyxy is not None else 0)

    def input_points(self, width: int, height: int, image_size: int) -> tuple[Tensor, Tensor]:
        """Points ``[1, n, 2]`` in pixels of the network's input and labels ``[1, n]``, a box's corners first."""
        points, labels = self.points_n2, self.labels_n
        if self.box_xyxy is not None:
            points = np.concatenate((self.box_xyxy.reshape(2, 2), points))
            labels = np.concatenate(([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], labels))
        scale = np.array([width, height], np.float32)
        return torch.from_numpy(points / scale * image_size)[None].float(), torch.from_numpy(labels)[None]


def _check_points(
    points: Sequence[Sequence[float]] | np.ndarray | None,
    labels: Sequence[int] | np.ndarray | None,
    width: int,
    height: int,
) -> tuple[np.ndarray, np.ndarray]:
    points_n2 = _numbers(points if points is not None else [], "points")
    if points_n2.ndim == 1 and points_n2.size == 2:
        points_n2 = points_n2[None]
    if points_n2.size == 0:
        points_n2 = points_n2.reshape(0, 2)
    if points_n2.ndim != 2 or points_n2.shape[1] != 2:
        raise PromptError(f"points must be x, y pairs, but have the shape {points_n2.shape}")
    if not np.isfinite(points_n2).all():
        raise PromptError(f"a point is not a finite number: {points_n2.tolist()}")
    for x, y in points_n2.tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise PromptError(f"the point {x:g},{y:g} lies outside the frame, which is {width}x{height} pixels")
    if labels is None:
        return points_n2, np.full(len(points_n2), POSITIVE, np.int64)
    labels_n = np.atleast_1d(np.asarray(labels))
    if labels_n.shape != (len(points_n2),):
        raise PromptError(f"{len(points_n2)} points need {len(points_n2)} labels, but there are {labels_n.size}")
    if not np.isin(labels_n, (NEGATIVE, POSITIVE)).all():
        raise PromptError(f"labels are 1 (this) or 0 (not this), but got {labels_n.tolist()}")
    return points_n2, labels_n.astype(np.int64)


def _check_box(box: Sequence[float] | np.ndarray, width: int, height: int) -> np.ndarray:
    box_xyxy = _numbers(box, "box").reshape(-1)
    if box_xyxy.shape != (4,):
        raise PromptError(f"a box is x1, y1, x2, y2, but got {box_xyxy.size} numbers")
    if not np.isfinite(box_xyxy).all():
        raise PromptError(f"a corner of the box is not a finite number: {box_xyxy.tolist()}")
    x1, y1, x2, y2 = box_xyxy.tolist()
    if x2 <= x1 or y2 <= y1:
        raise PromptError(f"the box {x1:g},{y1:g},{x2:g},{y2:g} has no area: x2 must exceed x1, and y2 exceed y1")
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        raise PromptError(
            f"the box {x1:g},{y1:g},{x2:g},{y2:g} lies outside the frame, which is {width}x{height} pixels"
        )
    return np.clip(box_xyxy, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)


def _check_mask(mask: Any, width: int, height: int) -> np.ndarray:
    try:
        mask_hw = _array(mask) if isinstance(mask, Tensor) else np.asarray(mask)
    except ValueError as error:
        raise PromptError("the mask's rows have different lengths") from error
    if mask_hw.ndim == 3 and 1 in (mask_hw.shape[0], mask_hw.shape[-1]):
        mask_hw = mask_hw.squeeze(0 if mask_hw.shape[0] == 1 else -1)
    if mask_hw.shape != (height, width):
        raise PromptError(
            f"the mask's shape is {tuple(mask_hw.shape)}, but the frame has {height} rows and {width} columns"
        )
    if mask_hw.dtype.kind not in "biuf":
        raise PromptError(f"a mask holds booleans or numbers, but got {mask_hw.dtype}")
    if mask_hw.dtype.kind == "f" and not np.isfinite(mask_hw).all():
        raise PromptError("the mask holds values that are not finite numbers")
    return np.ascontiguousarray(mask_hw > 0)


def _numbers(values: Any, what: str) -> np.ndarray:
    try:
        if isinstance(values, Tensor):
            values = _array(values)
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be numbers, but got {values!r}") from error


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
