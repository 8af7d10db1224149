"""What is known about an object on a frame: its mask, the scores that led to it, and why it looks as it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.rle import RLE
from masklet.settings import ABSENT

if TYPE_CHECKING:
    from torch import Tensor

    from masklet.prompts import Prompt

Box = tuple[float, float, float, float]
#: A window that is larger than this share of the frame, across and down, shows nothing better than the frame.
_MOST_OF_FRAME = 0.9


@dataclass(frozen=True)
class Window:
    """A part of a frame that the network looked at: its upper left pixel, and its size in pixels."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, box: Box, frame_size: tuple[int, int], room: float, smallest: float) -> Window | None:
        """The window that is ``room`` times as large as a box, around it; None for (almost) the whole frame.

        Args:
            frame_size: width and height.
            smallest: the least width and height of a window, in pixels of the frame.
        """
        x, y = (
            _side_around(low, high, length, room, smallest)
            for low, high, length in zip(box[:2], box[2:], frame_size, strict=True)
        )
        if all(side > _MOST_OF_FRAME * length for (_, side), length in zip((x, y), frame_size, strict=True)):
            return None
        return cls(x[0], y[0], x[1], y[1])

    def cut(self, image_hw: np.ndarray) -> np.ndarray:
        """The part of a picture (or mask) of the frame's size, as a view."""
        return image_hw[self.y : self.y + self.height, self.x : self.x + self.width]

    def pasted(self, logits: np.ndarray, height: int, width: int) -> np.ndarray:
        """Logits ``[..., height, width]`` of a frame of which the window's are known."""
        whole = np.full((*logits.shape[:-2], height, width), ABSENT, np.float32)
        whole[..., self.y : self.y + self.height, self.x : self.x + self.width] = logits
        return whole

    def seen(self, prompt: Prompt) -> Prompt:
        """A prompt in pixels of the window that holds all of it."""
        points = tuple((x - self.x, y - self.y) for x, y in prompt.points)
        box, mask = prompt.box, prompt.mask
        if box is not None:
            box = (box[0] - self.x, box[1] - self.y, box[2] - self.x, box[3] - self.y)
        if mask is not None:
            mask = rle.encode(self.cut(rle.decode(mask)))
        return replace(prompt, points=points, box=box, mask=mask)

    def holds(self, x: float, y: float) -> bool:
        """Whether a point of the frame lies inside."""
        return 0 <= x - self.x <= self.width and 0 <= y - self.y <= self.height

    def shifted(self, box_xyxy: Box | None) -> Box | None:
        """A box in pixels of the window, in pixels of the frame."""
        if box_xyxy is None:
            return None
        x1, y1, x2, y2 = box_xyxy
        return (x1 + self.x, y1 + self.y, x2 + self.x, y2 + self.y)


def _side_around(low: float, high: float, length: int, room: float, smallest: float) -> tuple[int, int]:
    """Where a window begins along one axis, and how long it is."""
    side = min(length, round(max(smallest, (high - low) * room)))
    return min(max(0, round((low + high - side) / 2)), length - side), side


@dataclass(frozen=True)
class Scores:
    """What the network and the policy think of a mask; None where there is no such number.

    Attributes:
        object_score: logit that the object is visible.
        predicted_iou: predicted IoU of the mask with the truth, 0…1.
        motion_score: overlap with the box that the motion filter expected, 0…1; None where motion had no say.
    """

    object_score: float | None = None
    predicted_iou: float | None = None
    motion_score: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """By name, to four places."""
        return {name: None if value is None else round(value, 4) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Scores:
        """Those of a mapping's entries that are scores; what is not a finite number counts as none."""
        numbers = {name: kept.get(name) for name in ("object_score", "predicted_iou", "motion_score")}
        return cls(**{name: _finite(value) for name, value in numbers.items()})


#: A mask that a person painted is the truth, and no network has looked for the object.
PAINTED = Scores(predicted_iou=1.0)


@dataclass(frozen=True)
class Explanation:
    """Why a frame looks as it does: what the policy saw and chose from.

    Attributes:
        step: the direction in which the frame was tracked, +1 or -1; 0 where a prompt decided it.
        ious: predicted IoU of every candidate.
        motion_scores: overlap of every candidate's box with the predicted box, where motion had a say.
        final_scores: what the candidates were ranked by.
        candidate_boxes: their boxes in pixels of the frame (None for an empty mask), where they were looked at.
        motion_box_xyxy: the box the motion filter expected, in pixels of the frame.
        memory_frames: ``(frame, temporal slot)`` of every memory frame that was read.
        pointer_frames: frames whose object pointers were read.
    """

    step: int = 0
    ious: tuple[float, ...] = ()
    motion_scores: tuple[float, ...] | None = None
    final_scores: tuple[float, ...] = ()
    candidate_boxes: tuple[Box | None, ...] | None = None
    motion_box_xyxy: Box | None = None
    memory_frames: tuple[tuple[int, int], ...] = ()
    pointer_frames: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a project keeps it: numbers rounded, what there isn't left out."""
        kept: dict[str, Any] = {"step": self.step, "ious": _short(self.ious), "final": _short(self.final_scores)}
        if self.motion_scores is not None:
            kept["motion"] = _short(self.motion_scores)
        if self.candidate_boxes is not None:
            kept["boxes"] = [None if box is None else _short(box, 1) for box in self.candidate_boxes]
        if self.motion_box_xyxy is not None:
            kept["expected"] = _short(self.motion_box_xyxy, 1)
        if self.memory_frames:
            kept["memory"] = [list(pair) for pair in self.memory_frames]
        if self.pointer_frames:
            kept["pointers"] = list(self.pointer_frames)
        return kept

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Explanation:
        """The reverse of `to_json`. Raises InputError where it is damaged."""
        try:
            motion, boxes, expected = kept.get("motion"), kept.get("boxes"), kept.get("expected")
            found = cls(
                step={0: 0, 1: 1, -1: -1}[kept["step"]],
                ious=_floats(kept["ious"]),
                motion_scores=None if motion is None else _floats(motion),
                final_scores=_floats(kept["final"]),
                candidate_boxes=None if boxes is None else tuple(None if box is None else _box(box) for box in boxes),
                motion_box_xyxy=None if expected is None else _box(expected),
                memory_frames=tuple((int(frame), int(slot)) for frame, slot in kept.get("memory", ())),
                pointer_frames=tuple(int(frame) for frame in kept.get("pointers", ())),
            )
            parts = (found.final_scores, found.motion_scores, found.candidate_boxes)
            if any(part is not None and len(part) != len(found.ious) for part in parts):
                raise ValueError("its candidates don't all have the same numbers")
        except (KeyError, TypeError, ValueError, OverflowError) as problem:
            raise InputError(f"an explanation is damaged: {problem!r}") from problem
        return found


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """One object on one frame. Its pixels are run lengths or logits; what else is asked for is made then, once.

    Two are equal where pixels, scores and flags are; what led to them (logits, explanation) doesn't count.

    Attributes:
        object_id, frame: whose it is, and where.
        run_lengths: the pixels at the size of the source frame, where they are known as such.
        low_res_logits_hw: the network's float32 logits at a quarter of its input's side, above 0 is object; where there
            are run lengths too, those are the mask.
        size: (height, width) of the source frame in pixels; by default that of the run lengths.
        window: the part of the frame that the logits are of, None for all of it.
        scores: what the network thinks of it; those of a painted mask are `PAINTED`.
        candidate: which of the decoder's candidates this is.
        lost: the object isn't visible here.
        is_prompt: a prompt decided this mask.
        painted: it is what a person painted, pixel for pixel.
        explanation: what the policy saw, where that is known.

    Raises:
        InputError: the run lengths are damaged, or there are neither run lengths nor logits.
    """

    object_id: int
    frame: int
    run_lengths: RLE | None = None
    low_res_logits_hw: Tensor | None = field(default=None, repr=False)
    size: tuple[int, int] = (0, 0)
    scores: Scores = Scores()
    candidate: int = 0
    lost: bool = False
    is_prompt: bool = False
    painted: bool = False
    explanation: Explanation | None = field(default=None, repr=False)
    window: Window | None = None

    def __post_init__(self) -> None:
        if self.run_lengths is not None:
            rle.counts(self.run_lengths)
            height, width = self.run_lengths["size"]
            object.__setattr__(self, "size", (height, width))
        elif self.low_res_logits_hw is None:
            raise InputError(f"Object {self.object_id} on frame {self.frame} has neither run lengths nor logits.")

    @property
    def logits(self) -> np.ndarray:
        """Mask logits at the size of the source frame: float32 ``[height, width]``. Computed anew each time.

        Raises InputError for a mask that is known by its run lengths alone.
        """
        if self.low_res_logits_hw is None:
            raise InputError("This mask has no logits: it was read from a file. Its pixels are in `mask`.")
        low = self.low_res_logits_hw.detach().float().cpu().numpy()
        height, width = self.size if self.window is None else (self.window.height, self.window.width)
        if low.shape != (height, width):
            # OpenCV's bilinear resize is ten times as quick as PyTorch's on a CPU, and equal to float32 rounding.
            low = cv2.resize(low, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.window is None:
            return low
        return self.window.pasted(low, *self.size)

    @cached_property
    def mask(self) -> np.ndarray:
        """The mask at the size of the source frame: bool ``[height, width]``."""
        if self.run_lengths is not None:
            return rle.decode(self.run_lengths)
        assert self.low_res_logits_hw is not None
        if not bool((self.low_res_logits_hw > 0).any()):
            return np.zeros(self.size, bool)
        return self.logits > 0

    @cached_property
    def rle(self) -> RLE:
        """The mask as COCO run lengths."""
        return rle.encode(self.mask) if self.run_lengths is None else self.run_lengths

    @cached_property
    def area(self) -> int:
        """Pixels inside the mask."""
        return rle.area(self.rle)

    @property
    def box_xyxy(self) -> np.ndarray | None:
        """Tight box of the mask in pixels of the source frame, right and bottom exclusive; None for an empty mask."""
        return rle.box(self.rle)

    @property
    def precedence(self) -> float:
        """Which object keeps a pixel that only one may have, the highest: painted masks, then by object score."""
        return math.inf if self.painted else self.scores.object_score or 0.0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectMask) and self._compared == other._compared

    __hash__ = None  # type: ignore[assignment]

    @property
    def _compared(self) -> tuple[Any, ...]:
        flags = (self.candidate, self.lost, self.is_prompt, self.painted)
        return self.object_id, self.frame, self.scores, flags, self.rle["counts"], tuple(self.size)

    def to_json(self) -> dict[str, Any]:
        """An entry of `masklets.json` (docs/cli.md); the frame is said around it."""
        box = self.box_xyxy
        return {
            "id": self.object_id,
            "rle": self.rle,
            "area": self.area,
            "box_xyxy": None if box is None else [int(side) for side in box],
            **self.scores.to_json(),
            "candidate": self.candidate,
            "lost": self.lost,
            "prompt": self.is_prompt,
            "painted": self.painted,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any], frame: int) -> ObjectMask:
        """The reverse of `to_json`. Raises InputError where it is damaged."""
        try:
            return cls(
                kept["id"],
                frame,
                {"size": list(kept["rle"]["size"]), "counts": kept["rle"]["counts"]},
                scores=Scores.from_json(kept),
                candidate=kept.get("candidate", 0),
                lost=bool(kept["lost"]),
                is_prompt=bool(kept["prompt"]),
                painted=bool(kept.get("painted", False)),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"a mask on frame {frame} is damaged: {problem}") from problem


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
        import torch

        if not self.objects:
            raise InputError(f"no object has a mask on frame {self.index}: prompt one there, or track to it")
        logits = torch.from_numpy(np.stack([mask.logits for mask in self])[:, None])
        low_res = next(iter(self)).low_res_logits_hw
        return logits if low_res is None else logits.to(low_res.device)


def found_again(lost: Mapping[int, bool]) -> set[int]:
    """The frames on which an object is seen again that was lost on the frames just before, and seen before those.

    Args:
        lost: by frame, in any order, for all frames that were looked at.
    """
    found = set()
    before, seen = -2, False
    for frame in sorted(lost):
        seen = seen and frame == before + 1
        if seen and lost[before] and not lost[frame]:
            found.add(frame)
        before, seen = frame, seen or not lost[frame]
    return found


def stretches(frames: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of every stretch of frames that follow each other; frames rise."""
    breaks = [0, *(i for i, (a, b) in enumerate(pairwise(frames), 1) if b != a + 1), len(frames)]
    return [(frames[a], frames[b - 1]) for a, b in pairwise(breaks) if a < b]


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(float(value)) else None


def _short(values: Sequence[float], digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _box(values: Sequence[Any]) -> Box:
    x1, y1, x2, y2 = _floats(values)
    return x1, y1, x2, y2
