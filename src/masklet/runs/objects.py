"""Objects with their prompts on frames, made from what was typed and checked against the video."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masklet.errors import InputError, MediaError, PromptError
from masklet.masks import rle
from masklet.media import MediaReader, parse_position, read_mask
from masklet.runs.prompt_text import PromptText

_LARGEST_ID = 2**31 - 1
_PLAIN = re.compile(r"(?:object )?([0-9]+)")


@dataclass
class FramePrompt:
    """What is said about one object on one frame: clicks and a box, or a mask (bool ``[height, width]``)."""

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    mask_hw: np.ndarray | None = None

    def add(self, text: PromptText, name: str, where: str = "") -> None:
        """Add what was typed about the object ``name``; ``where`` goes into the messages (`` on frame 12``).

        Raises:
            PromptError: a second box or mask for the same object, or a mask file that can't be read.
        """
        if text.point is not None:
            self.points.append(text.point)
            self.labels.append(int(text.positive))
        if text.box is not None:
            if self.box is not None:
                raise PromptError(
                    f"{name} has two boxes{where}. One box shows one object; for another object write its name: "
                    "--box squirrel:10,20,200,300"
                )
            self.box = text.box
        if text.mask is not None:
            if self.mask_hw is not None:
                raise PromptError(f"{name} has two masks{where}; give each object its own name")
            try:
                self.mask_hw = read_mask(text.mask)
            except MediaError as error:
                raise PromptError(f"the mask of {name} can't be read: {error}") from error

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Session.add_prompt`."""
        if self.mask_hw is not None and not self.points and self.box is None:
            return {"mask": self.mask_hw}
        return {
            "points": self.points or None,
            "labels": self.labels or None,
            "box": self.box,
            "mask": self.mask_hw,
        }

    def to_json(self, frame: int) -> dict[str, Any]:
        """The prompt as `masklets.json` keeps it."""
        kept: dict[str, Any] = {"frame": frame}
        if self.points:
            kept["points"] = [list(point) for point in self.points]
            kept["labels"] = self.labels
        if self.box is not None:
            kept["box_xyxy"] = list(self.box)
        if self.mask_hw is not None:
            kept["rle"] = rle.encode(self.mask_hw)
        return kept

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> FramePrompt:
        """The reverse of `to_json`. Raises InputError, KeyError, TypeError or ValueError where it is damaged."""
        box = kept.get("box_xyxy")
        return cls(
            [(float(x), float(y)) for x, y in kept.get("points", [])],
            [int(label) for label in kept.get("labels", [])],
            None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            rle.decode(kept["rle"]) if "rle" in kept else None,
        )


@dataclass
class TrackedObject:
    """One object of a run: `prompts` by frame, in the order of the video."""

    id: int
    name: str
    prompts: dict[int, FramePrompt] = field(default_factory=dict)


def collect_objects(
    texts: Sequence[PromptText], reader: MediaReader, frame: int | None, known: Iterable[TrackedObject] = ()
) -> list[TrackedObject]:
    """Objects of a run from the prompts that were typed, in the order in which they first appear.

    A prompt without an object is for object 1; a number names an object by its id; names get the first free ids.

    Args:
        frame: where prompts belong that say no frame; None makes those an error.
        known: objects that exist already; prompts of the same name or number are added to theirs.

    Raises:
        PromptError: a prompt that can't be used on this video, or an object without anything that shows it.
        InputError: a position outside of the video.
    """
    found = {thing.id: thing for thing in known}
    ids: dict[str | None, int] = {thing.name: thing.id for thing in found.values()}
    # Numbers first, so that a name does not take the id that somebody wrote down.
    for text in texts:
        number = _number(text.object)
        if number is not None:
            ids[text.object] = number
    for text in texts:
        if text.object not in ids:
            ids[text.object] = next(i for i in range(1, _LARGEST_ID) if i not in ids.values())
    for text in texts:
        number = ids[text.object]
        if number not in found:
            named = text.object is not None and _number(text.object) is None
            found[number] = TrackedObject(number, str(text.object) if named else f"object {number}")
        thing, where = found[number], _frame_of(text, reader, frame)
        thing.prompts.setdefault(where, FramePrompt()).add(text, thing.name, f" on frame {where}")
    for thing in found.values():
        _check(thing, reader)
        thing.prompts = dict(sorted(thing.prompts.items()))
    return list(found.values())


def _number(name: str | None) -> int | None:
    """The id that a name stands for: `2` and `object 2` are object 2, no name is object 1; None for other names."""
    found = _PLAIN.fullmatch("1" if name is None else name)
    if found is None:
        return None
    if not 1 <= int(found[1]) <= _LARGEST_ID:
        raise PromptError(f"objects are numbered from 1 to {_LARGEST_ID}, not {found[1]}")
    return int(found[1])


def _frame_of(text: PromptText, reader: MediaReader, default: int | None) -> int:
    if text.frame is not None:
        return parse_position(text.frame, reader)
    if default is None:
        raise InputError("say on which frame the new prompts are: --frame 120, or bunny@120:640,300")
    return default


def _check(thing: TrackedObject, reader: MediaReader) -> None:
    from masklet.tracking import Prompt

    info = reader.info
    for frame, prompt in thing.prompts.items():
        try:
            Prompt.make(**prompt.arguments(), width=info.width, height=info.height)
        except PromptError as error:
            raise PromptError(f"{thing.name}, frame {frame}: {error}") from error
    shown = any(
        1 in prompt.labels or prompt.box is not None or (prompt.mask_hw is not None and prompt.mask_hw.any())
        for prompt in thing.prompts.values()
    )
    if not shown and any(prompt.mask_hw is not None for prompt in thing.prompts.values()):
        raise PromptError(f"the mask of {thing.name} is empty, and nothing else shows the object")
    if not shown:
        raise PromptError(f"{thing.name} has only points that are not on it; add a --point or a --box that shows it")
