"""A tracking run as a project keeps it: the way through the video, and how far it has come."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_LABEL_LENGTH = 200
_INTEGER = 2**31


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Leg:
    """One way through the video: from `first` to `last`, both included, for these objects.

    `step` is 1 forwards and -1 backwards. Masks are kept from frame `keep_from` on; those before it only lead there.
    `until_agrees` ends it where the new masks are as the old ones were (see `masklet.runs.agreement`).
    """

    step: Literal[1, -1]
    first: int = Field(ge=0, lt=_INTEGER)
    last: int = Field(ge=0, lt=_INTEGER)
    object_ids: tuple[int, ...] = Field(max_length=100_000)
    keep_from: int = Field(ge=0, lt=_INTEGER)
    until_agrees: bool = False

    @property
    def frames(self) -> range:
        """The frames in the order in which they are tracked."""
        return range(self.first, self.last + self.step, self.step)

    def keeps(self, frame: int) -> bool:
        return (frame - self.keep_from) * self.step >= 0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RunPlace:
    """Where a run stands: the leg that it is on, and the frame of it that comes next."""

    leg: int = Field(ge=0)
    frame: int = Field(ge=0, lt=_INTEGER)


class Asked(BaseModel):
    """What was asked to be tracked last: frames `first` to `last`, both included, in a direction (forward, backward,
    both). `dtype` is what the network computed in, `resolution` the side of its input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: int = Field(ge=0, lt=_INTEGER)
    last: int = Field(ge=0, lt=_INTEGER)
    direction: str = Field(max_length=20)
    dtype: str | None = Field(default=None, max_length=20)
    resolution: int | None = Field(default=None, ge=1, lt=_INTEGER)


class TrackingRun(BaseModel):
    """A tracking run that is going on, or was interrupted and can be gone on with.

    `place` is where the tracker's state was kept that lies beside the run in the project; masks that were found after
    it are found again when the run goes on. `undo_step` is the step of undo that the run began, and what tells it from
    other runs. `dtype` is what the network computed in.
    """

    model_config = ConfigDict(frozen=True)  # older projects say more here

    label: str = Field(default="Track", max_length=_LABEL_LENGTH)
    legs: tuple[Leg, ...] = Field(min_length=1, max_length=100_000)
    place: RunPlace
    dtype: str | None = Field(default=None, max_length=20)
    undo_step: int = 0

    @model_validator(mode="after")
    def _place_is_on_the_way(self) -> TrackingRun:
        if self.place.leg >= len(self.legs) or self.place.frame not in self.legs[self.place.leg].frames:
            raise ValueError("the run stands at a place that is not on its way")
        return self

    @property
    def start(self) -> RunPlace:
        return RunPlace(0, self.legs[0].first)

    @property
    def frames_total(self) -> int:
        return sum(len(leg.frames) for leg in self.legs)

    @property
    def frames_left(self) -> int:
        """How many frames are still to be tracked."""
        here = self.legs[self.place.leg]
        return abs(here.last - self.place.frame) + 1 + sum(len(leg.frames) for leg in self.legs[self.place.leg + 1 :])

    def after(self, place: RunPlace, leg_ends: bool = False) -> RunPlace | None:
        """The place after this one, at which its leg may end early; None at the end."""
        here = self.legs[place.leg]
        if place.frame != here.last and not leg_ends:
            return RunPlace(place.leg, place.frame + here.step)
        if place.leg + 1 == len(self.legs):
            return None
        return RunPlace(place.leg + 1, self.legs[place.leg + 1].first)
