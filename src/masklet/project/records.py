"""What a project holds, as small checked dataclasses.

A project file may come from a stranger or from a failing disk, so whatever is read goes through the same
checks as what is written: a record that exists is sound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from masklet.errors import InputError, ProjectError
from masklet.prompts import Prompt
from masklet.results import Explanation, ObjectMask, Scores
from masklet.settings import Resolution
from masklet.tracking.policies import DEFAULT_POLICY

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

    model: str = Field(default="nano", max_length=100, description="Name of the model")
    checkpoint: str | None = Field(default=None, max_length=4096, description="File with other weights for the model")
    policy: str = Field(default=DEFAULT_POLICY, max_length=100, description="How masks and memories are chosen")
    policy_options: dict[str, float | int | bool | str] = Field(
        default_factory=dict,
        description="Thresholds and weights of the policy, where they differ from its own",
    )
    resolution: Resolution | None = Field(default=None, description="Side of the model's square input")
    dtype: str | None = Field(default=None, max_length=20, description="Number format, such as float32 or bfloat16")


class RunLeg(BaseModel):
    """One way through the video, from `first` to `last`, both included, forwards (`step` 1) or backwards (-1).

    Masks are kept from `keep_from` on; the frames before it only lead there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Literal[1, -1]
    first: int = Field(ge=0, lt=_INTEGER)
    last: int = Field(ge=0, lt=_INTEGER)
    object_ids: tuple[int, ...] = Field(max_length=100_000)
    keep_from: int = Field(ge=0, lt=_INTEGER)

    @property
    def frames(self) -> range:
        """The frames in the order in which they are tracked."""
        return range(self.first, self.last + self.step, self.step)


class RunPlace(BaseModel):
    """Where a run stands: the leg that it is on, and the frame of it that comes next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leg: int = Field(default=0, ge=0)
    frame: int = Field(ge=0, lt=_INTEGER)


class Run(BaseModel):
    """A tracking run that is going on, or was interrupted and can be gone on with.

    `place` is where its masks end, `state_place` where the stored tracker state stands; between the two, frames are
    tracked a second time when the run goes on. `dtype` is what the network computed in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(default="Track", max_length=_NAME_LENGTH)
    legs: tuple[RunLeg, ...] = Field(min_length=1, max_length=100_000)
    place: RunPlace
    state_place: RunPlace | None = None
    dtype: str | None = Field(default=None, max_length=20)

    @model_validator(mode="after")
    def _places_are_on_the_way(self) -> Run:
        for place in (self.place, self.state_place):
            if place is not None and (place.leg >= len(self.legs) or place.frame not in self.legs[place.leg].frames):
                raise ValueError("a place of the run is not on its way")
        return self

    @property
    def frames_total(self) -> int:
        return sum(len(leg.frames) for leg in self.legs)

    @property
    def frames_left(self) -> int:
        return self.frames_after(self.place)

    def frames_after(self, place: RunPlace) -> int:
        """How many frames are still to be tracked from there on."""
        here = self.legs[place.leg]
        return abs(here.last - place.frame) + 1 + sum(len(leg.frames) for leg in self.legs[place.leg + 1 :])

    def after(self, place: RunPlace) -> RunPlace | None:
        """The place after this one; None at the end."""
        here = self.legs[place.leg]
        if place.frame != here.last:
            return RunPlace(leg=place.leg, frame=place.frame + here.step)
        if place.leg + 1 == len(self.legs):
            return None
        return RunPlace(leg=place.leg + 1, frame=self.legs[place.leg + 1].first)


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


def _first(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        error = problem.errors()[0]
        return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
    return str(problem)
