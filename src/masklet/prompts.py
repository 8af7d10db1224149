"""What a person says about one object on one frame: clicks, a box, or a mask.

What was said about one object on one frame is a tuple of prompts in order: each corrects the mask that those before it
gave. It has the same form, and the same JSON, in projects, in `masklets.json`, in prompt files and on the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from masklet.errors import InputError, PromptError
from masklet.masks import rle
from masklet.masks.rle import RLE

if TYPE_CHECKING:
    from masklet.results import ObjectMask

#: Where a mask comes from: painted by hand, found by tracking before clicks corrected it, or chosen among candidates.
Origin = Literal["painted", "tracked", "candidate"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True)
class Prompt:
    """One prompt in pixels of the source frame: either a mask alone, or clicks and a box in any mixture.

    Attributes:
        points: x, y of every click.
        labels: for every click 1 ("this") or 0 ("not this").
        box: x1, y1, x2, y2.
        mask: run lengths at the size of the frame. An empty mask says that the object isn't on this frame.
        origin: where the mask comes from, one of `ORIGINS`.

    Raises:
        PromptError: it is empty, or its parts don't go together.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: RLE | None = field(default=None, hash=False)
    origin: Origin = ORIGINS[0]

    def __post_init__(self) -> None:
        if not self.points and self.box is None and self.mask is None:
            raise PromptError("an empty prompt: give points, a box or a mask")
        if self.mask is not None and (self.points or self.box is not None):
            raise PromptError("give either a mask or points and a box, not both: a mask says everything already")
        if self.origin not in ORIGINS:
            raise PromptError(f"the origin of a mask is one of {', '.join(ORIGINS)}, not {self.origin!r:.40}")
        if any(len(point) != 2 for point in self.points):
            raise PromptError(f"points must be x, y pairs, but got {self.points!r:.80}")
        if len(self.points) != len(self.labels):
            raise PromptError(f"{len(self.points)} points need {len(self.points)} labels, not {len(self.labels)}")
        if any(label not in (0, 1) for label in self.labels):
            raise PromptError(f"labels are 1 (this) or 0 (not this), but got {list(self.labels)}")
        if self.box is not None and len(self.box) != 4:
            raise PromptError(f"a box is x1, y1, x2, y2, but got {len(self.box)} numbers")
        if not all(math.isfinite(value) for point in self.points for value in point):
            raise PromptError(f"a point is not a finite number: {list(self.points)}")
        if self.box is not None and not all(map(math.isfinite, self.box)):
            raise PromptError(f"a corner of the box is not a finite number: {list(self.box)}")
        if self.mask is not None:
            rle.counts(self.mask)

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
        origin: Origin = ORIGINS[0],
    ) -> Prompt:
        """Make a prompt of arrays, tensors or lists, and check it against the frame that it is for.

        One point may be given as ``(x, y)``; labels default to 1. A mask is ``[height, width]`` with what is above 0
        inside, or run lengths.

        Raises:
            PromptError: nothing was given; a coordinate is not finite or outside the frame; labels don't match; the box
                has no area; the mask isn't the size of the frame; a mask together with clicks or a box.
        """
        if labels is not None and points is None:
            raise PromptError("labels need points: give one x, y for each label")
        pairs = () if points is None else _pairs(points)
        made = cls(
            pairs,
            (1,) * len(pairs) if labels is None else _labels(labels, len(pairs)),
            None if box is None else tuple(numbers(box, "box").reshape(-1).tolist()),
            None if mask is None else _run_lengths(mask, width, height),
            origin,
        )
        return made.fitted(width, height)

    def fitted(self, width: int, height: int) -> Prompt:
        """The prompt, its box cut to the frame. Raises PromptError where it doesn't fit a frame of this size."""
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise PromptError(f"the point {x:g},{y:g} lies outside the frame, which is {width}x{height} pixels")
        if self.mask is not None and tuple(self.mask["size"]) != (height, width):
            raise PromptError(
                f"the mask is {self.mask['size'][1]}x{self.mask['size'][0]} pixels, but the frame {width}x{height}"
            )
        if self.box is None:
            return self
        x1, y1, x2, y2 = self.box
        name = f"the box {x1:g},{y1:g},{x2:g},{y2:g}"
        if x2 <= x1 or y2 <= y1:
            raise PromptError(f"{name} has no area: x2 must exceed x1, and y2 exceed y1")
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise PromptError(f"{name} lies outside the frame, which is {width}x{height} pixels")
        return replace(self, box=(max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))))

    def joined(self, later: Prompt) -> Prompt:
        """This prompt and a later one on the same frame: clicks add up; a new box or mask takes the old one's place."""
        if later.mask is not None or self.mask is not None:
            return later
        box = self.box if later.box is None else later.box
        return Prompt(self.points + later.points, self.labels + later.labels, box)

    @property
    def point_count(self) -> int:
        """Points the network sees; a box is two."""
        return len(self.points) + (2 if self.box is not None else 0)

    @property
    def shows(self) -> bool:
        """Whether it shows the object: by a click on it, a box, or a mask that isn't empty."""
        return 1 in self.labels or self.box is not None or (self.mask is not None and not rle.is_empty(self.mask))

    @property
    def takes_away(self) -> bool:
        """Whether it only says what is not the object, which makes sense on a mask that is there alone."""
        return self.mask is None and not self.shows

    def to_json(self) -> dict[str, Any]:
        """As it is kept in files: only what there is of `points` with `labels`, `box_xyxy`, `rle` and `origin`."""
        kept: dict[str, Any] = {}
        if self.points:
            kept |= {"points": [list(point) for point in self.points], "labels": list(self.labels)}
        if self.box is not None:
            kept["box_xyxy"] = list(self.box)
        if self.mask is not None:
            kept["rle"] = {"size": list(self.mask["size"]), "counts": self.mask["counts"]}
        return kept if self.origin == ORIGINS[0] else {**kept, "origin": self.origin}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Prompt:
        """The reverse of `to_json`; other entries are passed over. Raises PromptError where it is damaged."""
        try:
            box, mask = kept.get("box_xyxy"), kept.get("rle")
            return cls(
                tuple((float(x), float(y)) for x, y in kept.get("points", ())),
                tuple(int(label) for label in kept.get("labels", ())),
                None if box is None else tuple(float(value) for value in box),  # type: ignore[arg-type]
                None if mask is None else {"size": [int(side) for side in mask["size"]], "counts": str(mask["counts"])},
                kept.get("origin", ORIGINS[0]),
            )
        except PromptError:
            raise
        except (InputError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            raise PromptError(f"a prompt is damaged: {problem}") from problem


def prompts_after(there: tuple[Prompt, ...], mask_there: ObjectMask | None, new: Prompt) -> tuple[Prompt, ...]:
    """What is said about an object on a frame once a prompt has been added to what was said before.

    On a frame where tracking has found the object, the mask that was there comes before the first prompt: that is what
    clicks correct, and what comes back when they are taken back. A mask takes the place of all that was said (a chosen
    candidate that of the one chosen before). Clicks that only take away wait for one that shows the object.

    Args:
        there: what was said so far.
        mask_there: what the frame shows of the object now, None where nothing is known.
    """
    if not there and mask_there is not None and not mask_there.lost and mask_there.area:
        there = (Prompt(mask=mask_there.rle, origin="tracked"),)
    if new.origin == "candidate":
        return (*(there[:-1] if there and there[-1].origin == "candidate" else there), new)
    if new.mask is not None:
        return (*there[:1], new) if there and there[0].origin == "tracked" else (new,)
    if there and waits(there):
        return (asked(there).joined(new),)
    return (*there, new)


def asked(prompts: Iterable[Prompt]) -> Prompt:
    """What a frame's prompts ask of the network together: its mask, or the clicks and the box since the last mask."""
    return reduce(Prompt.joined, prompts)


def waits(prompts: Iterable[Prompt]) -> bool:
    """Whether all that is said only takes away, so that there has to be a mask first."""
    return all(prompt.takes_away for prompt in prompts)


def _pairs(points: Any) -> tuple[tuple[float, float], ...]:
    points_n2 = numbers(points, "points")
    if points_n2.ndim == 1 and points_n2.size == 2:
        points_n2 = points_n2[None]
    if points_n2.size and (points_n2.ndim != 2 or points_n2.shape[1] != 2):
        raise PromptError(f"points must be x, y pairs, but have the shape {points_n2.shape}")
    return tuple((x, y) for x, y in points_n2.reshape(-1, 2).tolist())


def _labels(labels: Any, count: int) -> tuple[int, ...]:
    labels_n = np.atleast_1d(_array(labels))
    if labels_n.shape != (count,):
        raise PromptError(f"{count} points need {count} labels, but there are {labels_n.size}")
    if not np.isin(labels_n, (0, 1)).all():
        raise PromptError(f"labels are 1 (this) or 0 (not this), but got {labels_n.tolist()}")
    return tuple(labels_n.astype(int).tolist())


def _run_lengths(mask: Any, width: int, height: int) -> RLE:
    if isinstance(mask, Mapping):
        if tuple(mask.get("size", ())) != (height, width):  # before a huge one is unpacked
            raise PromptError(f"the mask's size is {mask.get('size')!r:.40}, but the frame is {width}x{height} pixels")
        return rle.compress(mask)
    try:
        mask_hw = _array(mask)
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
    return rle.encode(mask_hw > 0)


def numbers(values: Any, what: str) -> np.ndarray:
    """An array, tensor or list as float64. Raises PromptError for anything else."""
    try:
        return np.asarray(_array(values), np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be numbers, but got {values!r:.80}") from error


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor; NumPy has no bfloat16
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values)
