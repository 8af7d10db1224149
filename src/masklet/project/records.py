"""What a project holds, as small checked dataclasses.

A project file may come from a stranger or from a failing disk, so whatever is read goes through the same
checks as what is written: a record that exists is sound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masklet.errors import InputError, ProjectError
from masklet.masks import rle

ORIGINS = ("painted", "tracked", "candidate")

_NAME_LENGTH = 200
_EXPLANATION_LENGTH = 1 << 16
_INTEGER = 2**31


@dataclass(frozen=True)
class ProjectObject:
    """One object: its id stays the same for ever, also after others were removed.

    `color` is red, green, blue, 0 to 255. `locked` objects are never changed by tracking, those that are not
    `visible` are left out of pictures and exports unless they are asked for. `mask_settings` says how this
    object's masks are finished (fields of `masklet.masks.settings.MaskSettings`); None means the project's
    own.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    visible: bool = True
    locked: bool = False
    position: int = 0
    mask_settings: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _whole(self.id, "object id", 0)
        _whole(self.position, "position of an object", 0)
        if not isinstance(self.name, str) or not self.name.strip() or len(self.name) > _NAME_LENGTH:
            raise InputError(f"The name of an object must have 1 to {_NAME_LENGTH} characters, not {self.name!r:.80}.")
        if len(self.color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in self.color):
            raise InputError(f"A colour must be red, green, blue, each 0 to 255, not {self.color!r}.")
        if self.mask_settings is not None and not isinstance(self.mask_settings, dict):
            raise InputError("The mask settings of an object must be a dict or None.")

    def row(self) -> dict[str, Any]:
        """The columns of table `object`."""
        red, green, blue = self.color
        return {
            "id": self.id,
            "name": self.name,
            "color": red << 16 | green << 8 | blue,
            "visible": int(self.visible),
            "locked": int(self.locked),
            "position": self.position,
            "mask_settings": None if self.mask_settings is None else dumps(self.mask_settings),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ProjectObject:
        color = _whole(row["color"], "colour", 0, 0xFFFFFF)
        settings = row["mask_settings"]
        return cls(
            id=row["id"],
            name=row["name"],
            color=(color >> 16, color >> 8 & 255, color & 255),
            visible=bool(row["visible"]),
            locked=bool(row["locked"]),
            position=row["position"],
            mask_settings=None if settings is None else loads(settings, dict),
        )


@dataclass(frozen=True)
class PromptRecord:
    """What the user said about one object on one frame: points, a box, or a mask, in pixels of the source
    frame.

    Prompts of one frame and object apply in the order of their ids. `points` is a tuple of (x, y), `labels`
    says for each whether it is on the object (1) or not (0); `box` is x1, y1, x2, y2; `mask` is a run-length
    mask. `origin` says where a mask comes from: "painted" by hand, "tracked" (what was there when clicks began to
    correct it), or "candidate" (chosen instead of the one that the clicks before it gave).
    """

    id: int
    frame: int
    object_id: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: rle.RLE | None = None
    origin: str = "painted"

    def __post_init__(self) -> None:
        _whole(self.id, "prompt id", 0)
        _whole(self.frame, "frame of a prompt", 0)
        _whole(self.object_id, "object id", 0)
        if len(self.points) != len(self.labels):
            raise InputError(f"There are {len(self.points)} points, but {len(self.labels)} labels.")
        for point in self.points:
            if len(point) != 2 or not all(_is_number(value) for value in point):
                raise InputError(f"A point must be two numbers, x and y, not {point!r}.")
        if any(label not in (0, 1) for label in self.labels):
            raise InputError(f"Labels must be 1 (on the object) or 0 (not on it), not {self.labels!r}.")
        if self.box is not None and (len(self.box) != 4 or not all(_is_number(value) for value in self.box)):
            raise InputError(f"A box must be four numbers, x1, y1, x2, y2, not {self.box!r}.")
        if not self.points and self.box is None and self.mask is None:
            raise InputError("A prompt needs at least one point, a box or a mask.")
        if self.origin not in ORIGINS:
            raise InputError(f"A mask prompt comes from {', '.join(ORIGINS)}, not from {self.origin!r:.40}.")

    def row(self) -> dict[str, Any]:
        """The columns of table `prompt`."""
        data: dict[str, Any] = {}
        if self.points:
            data["points"] = [list(point) for point in self.points]
            data["labels"] = list(self.labels)
        if self.box is not None:
            data["box"] = list(self.box)
        if self.mask is not None:
            data["mask"] = {"size": list(self.mask["size"]), "counts": self.mask["counts"]}
            data |= {"origin": self.origin} if self.origin != ORIGINS[0] else {}
        return {"id": self.id, "frame": self.frame, "object_id": self.object_id, "data": dumps(data)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PromptRecord:
        data = loads(row["data"], dict)
        box, mask = data.get("box"), data.get("mask")
        if mask is not None:
            rle.counts(mask)
            mask = {"size": [int(side) for side in mask["size"]], "counts": str(mask["counts"])}
        return cls(
            id=row["id"],
            frame=row["frame"],
            object_id=row["object_id"],
            points=tuple(tuple(point) for point in _sequence(data.get("points", []))),
            labels=tuple(_sequence(data.get("labels", []))),
            box=None if box is None else tuple(_sequence(box)),
            mask=mask,
            origin=data.get("origin", ORIGINS[0]),
        )


@dataclass(frozen=True)
class MaskRecord:
    """The mask of one object on one frame, at the size of the source, with the scores that led to it.

    `object_score` is a logit (above 0: the object is there), `predicted_iou` and `motion_score` are 0 to 1,
    or None where there is no such number. `painted` masks were made by hand and are never overwritten by
    tracking. `explanation` is JSON text, see `masklet.runs.explain`; masks that are read from a project come without
    it (`Project.explanation` has it).
    """

    frame: int
    object_id: int
    rle: rle.RLE
    object_score: float | None = None
    predicted_iou: float | None = None
    motion_score: float | None = None
    candidate: int = 0
    lost: bool = False
    is_prompt: bool = False
    painted: bool = False
    explanation: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _whole(self.frame, "frame of a mask", 0)
        _whole(self.object_id, "object id", 0)
        _whole(self.candidate, "candidate", -1, 255)
        rle.counts(self.rle)
        if self.explanation is not None and (
            not isinstance(self.explanation, str) or len(self.explanation) > _EXPLANATION_LENGTH
        ):
            raise InputError("The explanation of a mask must be JSON text of some hundred characters.")

    @cached_property
    def area(self) -> int:
        """Pixels inside the mask."""
        return rle.area(self.rle)

    @property
    def box_xyxy(self) -> np.ndarray | None:
        """Box in pixels, float32 (4,), right and lower edges exclusive; None for an empty mask."""
        return rle.box(self.rle)

    def mask_hw(self) -> np.ndarray:
        """The mask, boolean (height, width)."""
        return rle.decode(self.rle)

    def row(self) -> dict[str, Any]:
        """The columns of table `mask`."""
        return {
            "object_id": self.object_id,
            "frame": self.frame,
            "counts": self.rle["counts"],
            "object_score": _score(self.object_score),
            "predicted_iou": _score(self.predicted_iou),
            "motion_score": _score(self.motion_score),
            "candidate": self.candidate,
            "lost": int(self.lost),
            "is_prompt": int(self.is_prompt),
            "painted": int(self.painted),
            "explanation": self.explanation,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], size: tuple[int, int]) -> MaskRecord:
        """`size` is (height, width) of the source."""
        counts = row["counts"]
        if not isinstance(counts, str):
            raise InputError(f"The mask of object {row['object_id']} on frame {row['frame']} is damaged.")
        return cls(
            frame=row["frame"],
            object_id=row["object_id"],
            rle={"size": list(size), "counts": counts},
            object_score=_score(row["object_score"]),
            predicted_iou=_score(row["predicted_iou"]),
            motion_score=_score(row["motion_score"]),
            candidate=row["candidate"],
            lost=bool(row["lost"]),
            is_prompt=bool(row["is_prompt"]),
            painted=bool(row["painted"]),
            explanation=row.get("explanation"),
        )


class TrackSettings(BaseModel):
    """How the masks of this project are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default="nano", max_length=100, description="Name of the model")
    checkpoint: str | None = Field(default=None, max_length=4096, description="File with other weights for the model")
    policy: str = Field(default="samurai", max_length=100, description="How masks and memories are chosen")
    policy_options: dict[str, float | int | bool | str] = Field(
        default_factory=dict,
        description="Thresholds and weights of the policy, where they differ from its own",
    )
    resolution: int | None = Field(default=None, ge=16, le=8192, description="Side of the model's square input")
    dtype: str | None = Field(default=None, max_length=20, description="Number format, such as float32 or bfloat16")


def parse(model: type[BaseModel], text: Any, what: str) -> Any:
    """A pydantic model out of JSON text from the file, or ProjectError."""
    try:
        return model.model_validate_json(text)
    except (ValidationError, TypeError) as problem:
        raise ProjectError(f"The {what} in this project can't be read: {_first(problem)}") from problem


def dumps(value: Any) -> str:
    """Compact JSON. Raises InputError for what JSON can't hold."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as problem:
        raise InputError(f"This can't be kept in a project: {problem}.") from problem


def loads(text: Any, kind: type) -> Any:
    """JSON text from the file as a list or dict, or ProjectError."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as problem:
        raise ProjectError(f"An entry of this project can't be read: {problem}.") from problem
    if not isinstance(value, kind):
        raise ProjectError(f"An entry of this project is a {type(value).__name__} where a {kind.__name__} belongs.")
    return value


def _whole(value: Any, what: str, least: int, most: int = _INTEGER) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"The {what} must be a whole number from {least} to {most}, not {value!r:.80}.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _score(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ProjectError(f"An entry of this project is {value!r:.40} where a list belongs.")
    return value


def _first(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        error = problem.errors()[0]
        return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
    return str(problem)
