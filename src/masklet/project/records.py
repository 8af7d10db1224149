"""What a project holds, as small checked dataclasses.

A project file may come from a stranger or from a failing disk, so whatever is read goes through the same
checks as what is written: a record that exists is sound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masklet.errors import InputError, ProjectError
from masklet.prompts import Prompt
from masklet.results import Explanation, ObjectMask, Scores
from masklet.settings import DEFAULT_MODEL, Resolution, Shape
from masklet.tracking.policies import DEFAULT_POLICY

#: What an attribute of an object may be.
Attribute = str | bool | int | float

_NAME_LENGTH = 200
_MOST_ATTRIBUTES = 50
_EXPLANATION_LENGTH = 1 << 16
_INTEGER = 2**31


@dataclass(frozen=True)
class ProjectObject:
    """One object: its id stays the same for ever, also after others were removed.

    `color` is red, green, blue, 0 to 255. `locked` objects are never changed by tracking, those that are not
    `visible` are left out of pictures and exports unless they are asked for. `mask_settings` says how this
    object's masks are finished (fields of `masklet.masks.settings.MaskSettings`); None means the project's
    own. `category` is its class in data sets (None: its name), `attributes` is what else is said of it there.
    """

    id: int
    name: str
    color: tuple[int, int, int]
    visible: bool = True
    locked: bool = False
    position: int = 0
    mask_settings: dict[str, Any] | None = None
    category: str | None = None
    attributes: dict[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _whole(self.id, "object id", 0)
        _whole(self.position, "position of an object", 0)
        if not _is_text(self.name):
            raise InputError(f"The name of an object must have 1 to {_NAME_LENGTH} characters, not {self.name!r:.80}.")
        if len(self.color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in self.color):
            raise InputError(f"A colour must be red, green, blue, each 0 to 255, not {self.color!r}.")
        if self.mask_settings is not None and not isinstance(self.mask_settings, dict):
            raise InputError("The mask settings of an object must be a dict or None.")
        if self.category is not None and not _is_text(self.category):
            raise InputError(f"A class must have 1 to {_NAME_LENGTH} characters, not {self.category!r:.80}.")
        if not isinstance(self.attributes, dict) or len(self.attributes) > _MOST_ATTRIBUTES:
            raise InputError(f"An object has a dict of at most {_MOST_ATTRIBUTES} attributes.")
        for name, value in self.attributes.items():
            fits = isinstance(value, bool | int | float) and math.isfinite(value)
            if not _is_text(name) or not (fits or (isinstance(value, str) and len(value) <= _NAME_LENGTH)):
                raise InputError(f"An attribute is a name with a text, a number or true or false, not {name!r:.80}.")

    @property
    def label(self) -> str:
        """What data sets call it: its class, or its name where it has none."""
        return self.category or self.name

    def row(self) -> dict[str, Any]:
        """The columns of table `object`."""
        red, green, blue = self.color
        return {
            **vars(self),
            "color": red << 16 | green << 8 | blue,
            "visible": int(self.visible),
            "locked": int(self.locked),
            "mask_settings": None if self.mask_settings is None else dumps(self.mask_settings),
            "category": self.category,
            "attributes": dumps(self.attributes) if self.attributes else None,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ProjectObject:
        color = _whole(row["color"], "colour", 0, 0xFFFFFF)
        row = {"category": None, "attributes": None, **row}  # steps of undo in older projects don't have these
        settings, attributes = row["mask_settings"], row["attributes"]
        return cls(
            id=row["id"],
            name=row["name"],
            color=(color >> 16, color >> 8 & 255, color & 255),
            visible=bool(row["visible"]),
            locked=bool(row["locked"]),
            position=row["position"],
            mask_settings=None if settings is None else loads(settings, dict),
            category=row["category"],
            attributes={} if attributes is None else loads(attributes, dict),
        )


@dataclass(frozen=True)
class PromptRecord:
    """A prompt about one object on one frame. Those of one frame and object apply in the order of their ids."""

    id: int
    frame: int
    object_id: int
    prompt: Prompt

    def __post_init__(self) -> None:
        _whole(self.id, "prompt id", 0)
        _whole(self.frame, "frame of a prompt", 0)
        _whole(self.object_id, "object id", 0)

    def row(self) -> dict[str, Any]:
        """The columns of table `prompt`."""
        data = dumps(self.prompt.to_json())
        return {"id": self.id, "frame": self.frame, "object_id": self.object_id, "data": data}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> PromptRecord:
        data = loads(row["data"], dict)
        # As projects called them up to version 3.
        data |= {new: data[old] for old, new in (("box", "box_xyxy"), ("mask", "rle")) if old in data}
        return cls(id=row["id"], frame=row["frame"], object_id=row["object_id"], prompt=Prompt.from_json(data))


def mask_row(mask: ObjectMask) -> dict[str, Any]:
    """The columns of table `mask`."""
    why = None if mask.explanation is None else dumps(mask.explanation.to_json())
    return {
        "object_id": _whole(mask.object_id, "object id", 0),
        "frame": _whole(mask.frame, "frame of a mask", 0),
        "counts": mask.rle["counts"],
        **vars(Scores.from_json(vars(mask.scores))),
        "candidate": _whole(mask.candidate, "candidate", -1, 255),
        "lost": int(mask.lost),
        "is_prompt": int(mask.is_prompt),
        "painted": int(mask.painted),
        "explanation": why,
    }


def mask_from_row(row: Mapping[str, Any], size: tuple[int, int]) -> ObjectMask:
    """The reverse of `mask_row`; `size` is (height, width) of the source. Masks may come without their explanation."""
    counts, why = row["counts"], row.get("explanation")
    if not isinstance(counts, str):
        raise InputError(f"The mask of object {row['object_id']} on frame {row['frame']} is damaged.")
    return ObjectMask(
        _whole(row["object_id"], "object id", 0),
        _whole(row["frame"], "frame of a mask", 0),
        {"size": list(size), "counts": counts},
        scores=Scores.from_json(row),
        candidate=_whole(row["candidate"], "candidate", -1, 255),
        lost=bool(row["lost"]),
        is_prompt=bool(row["is_prompt"]),
        painted=bool(row["painted"]),
        explanation=None if why is None else explanation_from(why),
    )


def explanation_from(text: Any) -> Explanation:
    """An explanation out of the column of that name. Raises InputError, ProjectError where it is damaged."""
    if not isinstance(text, str) or len(text) > _EXPLANATION_LENGTH:
        raise InputError("The explanation of a mask must be JSON text of some hundred characters.")
    return Explanation.from_json(loads(text, dict))


class TrackSettings(BaseModel):
    """How the masks of this project are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default=DEFAULT_MODEL, max_length=100, description="Name of the model")
    checkpoint: str | None = Field(default=None, max_length=4096, description="File with other weights for the model")
    policy: str = Field(default=DEFAULT_POLICY, max_length=100, description="How masks and memories are chosen")
    policy_options: dict[str, float | int | bool | str] = Field(
        default_factory=dict,
        description="Thresholds and weights of the policy, where they differ from its own",
    )
    resolution: Resolution | None = Field(default=None, description="Side of the model's input, the longer one")
    shape: Shape = Field(default="square", description="square, or fit for the frames' own proportions")
    zoom: bool = Field(default=False, description="Look at small objects through a window around them")
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


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _NAME_LENGTH


def _whole(value: Any, what: str, least: int, most: int = _INTEGER) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"The {what} must be a whole number from {least} to {most}, not {value!r:.80}.")
    return value


def _first(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        error = problem.errors()[0]
        return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
    return str(problem)
