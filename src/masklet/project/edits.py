"""Edits by hand that reach over many frames or several objects.

Each is one step of undo. What it makes is a person's work, like a mask that was painted: every frame that it changes is
marked as painted, so that tracking leaves it alone, and the ends of what it changed become prompts, so that tracking
goes on from there as the person said. Who wants such frames tracked after all deletes their masks first.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.between import in_between
from masklet.masks.rle import RLE
from masklet.project.store import Project
from masklet.prompts import Prompt
from masklet.results import PAINTED, ObjectMask

Frame = Annotated[int, Field(ge=0, lt=2**31)]
ObjectId = Annotated[int, Field(ge=0, lt=2**31)]
_LABEL_LENGTH = 200


class Edited(BaseModel):
    """What an edit did."""

    label: str = Field(description="Of the step of undo")
    frames: int = Field(description="How many frames were changed")
    objects: list[int] = Field(description="The objects that it was about; one that was made comes last")


@dataclass(frozen=True)
class Changes:
    """What an edit comes to: masks by object (None: one that is made) and frame, after some objects lost what they had
    on its frames, and after one was removed."""

    masks: Mapping[int | None, Mapping[int, RLE]] = field(default_factory=dict)
    cleared: tuple[int, ...] = ()
    removed: int | None = None


class RangeEdit(BaseModel):
    """An edit of an object on some frames."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    title: ClassVar[str]

    object: ObjectId = Field(description="The object that is edited")
    start: Frame | None = Field(default=None, description="First frame; null: the first of the video")
    end: Frame | None = Field(default=None, description="Last frame, included; null: the last of the video")

    def apply(self, project: Project) -> Edited:
        """Carries the edit out, as one step of undo.

        Raises UnknownObjectError, InputError, PromptError: no such object or frame, an object is locked, or there is
        nothing on these frames to do it with. Nothing is changed then.
        """
        ids = self.involved
        chosen = [project.unlocked(number) for number in ids]
        if len(set(ids)) < len(ids):
            raise InputError(f"This takes two objects, but {chosen[0].name} was named twice.")
        frames = self.frames(project)
        place = f"frame {frames[0]}" if len(frames) == 1 else f"frames {frames[0]} to {frames[-1]}"
        label = f"{self.title.format(*(known.name for known in chosen))}, {place}"[-_LABEL_LENGTH:]
        changes = self.changes(project, frames)  # before the file is touched: others may read it meanwhile
        touched = {frame for masks in changes.masks.values() for frame in masks}
        with project.edit(label):
            for number in changes.cleared:
                touched |= set(project.tracked_frames(number)) & set(frames)
                _clear(project, number, frames)
            if changes.removed is not None:
                project.remove_object(changes.removed)
            made = [project.add_object().id] if None in changes.masks else []
            for whose, masks in changes.masks.items():
                _decide(project, made[0] if whose is None else whose, masks)
        return Edited(label=label, frames=len(touched), objects=[*ids, *made])

    @property
    def involved(self) -> list[int]:
        """Ids of the objects that are changed."""
        other = getattr(self, "other", None)
        return [self.object] if other is None else [self.object, other]

    def frames(self, project: Project) -> range:
        """The frames that it is about. Raises InputError: the video has no such frames."""
        last = project.source.frame_count - 1
        start, end = self.start or 0, last if self.end is None else self.end
        if not start <= end <= last:
            raise InputError(f"There are no frames {start} to {end}: the source has frames 0 to {last}.")
        return range(start, end + 1)

    @abstractmethod
    def changes(self, project: Project, frames: range) -> Changes:
        """What it comes to on these frames. Raises what `apply` does."""


class DeleteMasks(RangeEdit):
    """Takes masks and prompts away, as if the object had never been looked for on these frames."""

    kind: Literal["delete"] = "delete"
    title: ClassVar[str] = "Delete masks of {0}"

    def changes(self, project: Project, frames: range) -> Changes:
        return Changes(cleared=(self.object,))


class CopyMask(RangeEdit):
    """Puts the mask of one frame on others, for the object itself or for another one."""

    kind: Literal["copy"] = "copy"
    title: ClassVar[str] = "Copy mask of {0}"
    frame: Frame = Field(description="Where the mask is copied from")
    onto: ObjectId | None = Field(default=None, description="The object that gets it; null: the same one")

    @property
    def involved(self) -> list[int]:
        return [self.object if self.onto is None else self.onto]

    def changes(self, project: Project, frames: range) -> Changes:
        mask = _shown(project, self.frame, self.object).rle
        return Changes({self.involved[0]: dict.fromkeys(frames, mask)})


class Interpolate(RangeEdit):
    """Leads the outline from key frame to key frame: the two ends, and every frame between them that has a prompt."""

    kind: Literal["interpolate"] = "interpolate"
    title: ClassVar[str] = "Interpolate {0}"
    start: Frame = Field(description="First frame, which has a mask")
    end: Frame = Field(description="Last frame, included, which has a mask")

    def changes(self, project: Project, frames: range) -> Changes:
        prompted = {frame for frame, _ in project.said(self.object)}
        keys = {t: _shown(project, t, self.object) for t in sorted({frames[0], *prompted, frames[-1]} & set(frames))}
        if len(keys) == len(frames):
            raise InputError("Every frame of this range is a key frame already: there is nothing between them.")
        found = {frame: key.rle for frame, key in keys.items() if frame not in prompted}
        for first, last in pairwise(keys):
            between = range(first + 1, last)
            masks = in_between(keys[first].mask, keys[last].mask, len(between))
            found |= {frame: rle.encode(mask) for frame, mask in zip(between, masks, strict=True)}
        return Changes({self.object: found})


class NotHere(RangeEdit):
    """Says that the object can't be seen; without an end, up to the next prompt that shows it."""

    kind: Literal["absent"] = "absent"
    title: ClassVar[str] = "{0} is not here"
    end: Frame | None = Field(default=None, description="Last frame; null: before the next prompt that shows it")

    def frames(self, project: Project) -> range:
        frames = super().frames(project)
        if self.end is not None:
            return frames
        shown = (t for (t, _), said in project.said(self.object).items() if any(prompt.shows for prompt in said))
        return range(frames[0], min((t for t in shown if t > frames[0]), default=frames.stop))

    def changes(self, project: Project, frames: range) -> Changes:
        nothing = rle.encode(np.zeros(project.source.size, np.bool_))
        return Changes({self.object: dict.fromkeys(frames, nothing)})


class Merge(RangeEdit):
    """Makes one object of two: where both have a mask, it becomes both together; the other one is removed."""

    kind: Literal["merge"] = "merge"
    title: ClassVar[str] = "Merge {1} into {0}"
    other: ObjectId = Field(description="The object that is merged into it, and goes")
    start: None = None
    end: None = None

    def changes(self, project: Project, frames: range) -> Changes:
        masks: dict[int, RLE] = {}
        for frame, together in project.frames(self.involved):
            mine, others = together.get(self.object), together.get(self.other)
            if others is not None and mine is None:
                masks[frame] = others.rle
            elif others is not None and mine is not None and others.area:
                masks[frame] = rle.encode(mine.mask | others.mask)
        return Changes({self.object: masks}, removed=self.other)


class Swap(RangeEdit):
    """Exchanges the masks of two objects whose tracks were mixed up from a frame on."""

    kind: Literal["swap"] = "swap"
    title: ClassVar[str] = "Swap {0} and {1}"
    other: ObjectId = Field(description="The object that it is swapped with")

    def changes(self, project: Project, frames: range) -> Changes:
        mine, others = (_masks(project, number, frames) for number in self.involved)
        if not mine and not others:
            raise InputError("Neither object has a mask on these frames, so there is nothing to swap.")
        return Changes({self.object: others, self.other: mine}, cleared=(self.object, self.other))


class Reassign(RangeEdit):
    """Gives masks to another object, or to a new one: the track went over to something else there."""

    kind: Literal["reassign"] = "reassign"
    title: ClassVar[str] = "Reassign {0}"
    other: ObjectId | None = Field(default=None, description="The object that gets them; null: a new one")

    def changes(self, project: Project, frames: range) -> Changes:
        masks = _masks(project, self.object, frames)
        if not masks:
            raise InputError("The object has no mask on these frames that another one could get.")
        return Changes({self.other: masks}, cleared=(self.object,))


class Split(RangeEdit):
    """Makes an object of its own of the part of the masks that lies in a region of the picture."""

    kind: Literal["split"] = "split"
    title: ClassVar[str] = "Split {0}"
    region: dict[str, Any] = Field(max_length=2, description="COCO run lengths {size, counts} of the part")

    def changes(self, project: Project, frames: range) -> Changes:
        width, height = project.source.width, project.source.height
        region = Prompt.make(mask=self.region, width=width, height=height).mask
        assert region is not None
        region_hw = rle.decode(region)
        inside: dict[int, RLE] = {}
        rest: dict[int, RLE] = {}
        for record in project.masks([self.object], frames.start, frames.stop):
            part = record.mask & region_hw
            if part.any():
                inside[record.frame], rest[record.frame] = rle.encode(part), rle.encode(record.mask & ~region_hw)
        if all(rle.is_empty(mask) for mask in rest.values()):
            raise InputError("The region has to hold a part of the mask, and to leave a part of it.")
        return Changes({None: inside, self.object: rest})


Edit = Annotated[
    DeleteMasks | CopyMask | Interpolate | NotHere | Merge | Swap | Reassign | Split, Field(discriminator="kind")
]
#: The kinds of edits by name.
KINDS: tuple[str, ...] = tuple(kind.model_fields["kind"].default for kind in get_args(get_args(Edit)[0]))


def parse_edit(given: Mapping[str, Any]) -> RangeEdit:
    """An edit of its `kind` and fields. Raises InputError that names the field which is missing or wrong."""
    if given.get("kind") not in KINDS:
        raise InputError(f"There is no edit {given.get('kind')!r:.40}; choose one of: {', '.join(KINDS)}.")
    try:
        found: RangeEdit = TypeAdapter(Edit).validate_python(given)
        return found
    except ValidationError as problem:
        error = problem.errors()[0]
        what = {"missing": "needs", "extra_forbidden": "takes no"}.get(error["type"], f"({error['msg']}) takes another")
        raise InputError(f"{given['kind']} {what} {error['loc'][-1]}.") from None


def _masks(project: Project, object_id: int, frames: range) -> dict[int, RLE]:
    return {record.frame: record.rle for record in project.masks([object_id], frames.start, frames.stop)}


def _shown(project: Project, frame: int, object_id: int) -> ObjectMask:
    """The mask on a frame, which may not be empty. Raises InputError."""
    mask = project.mask(frame, object_id)
    if mask is None or not mask.area:
        name = project.get_object(object_id).name
        raise InputError(f"{name} has no mask on frame {frame}: click or paint it there first.")
    return mask


def _clear(project: Project, object_id: int, frames: range) -> None:
    """Removes masks and prompts."""
    for frame in {frame for frame, _ in project.said(object_id)} & set(frames):
        project.clear_prompts(frame, object_id)
    project.clear_masks(object_id, frames.start, frames.stop)


def _decide(project: Project, object_id: int, masks: Mapping[int, RLE]) -> None:
    """Keeps masks as a person's work; prompts say so where there were some, and at the ends of every stretch."""
    prompted = {frame for frame, _ in project.said(object_id)}
    known = prompted | masks.keys()
    records = []
    for frame, mask in masks.items():
        is_prompt = frame in prompted or not {frame - 1, frame + 1} <= known
        if is_prompt:
            project.set_prompts(frame, object_id, [Prompt(mask=mask)])
        lost = rle.is_empty(mask)
        records.append(ObjectMask(object_id, frame, mask, scores=PAINTED, lost=lost, is_prompt=is_prompt, painted=True))
    project.put_masks(records)
