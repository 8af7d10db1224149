"""Objects with their prompts on frames, made from what was typed and checked against the video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError, MediaError, PromptError
from masklet.media import MediaReader, parse_position, read_mask
from masklet.prompts import Prompt, prompts_after, waits
from masklet.results import ObjectMask
from masklet.runs.prompt_text import PromptText

if TYPE_CHECKING:
    from masklet.project.store import Project

_LARGEST_ID = 2**31 - 1
_PLAIN = re.compile(r"(?:object )?([0-9]+)")


def prompt_arguments(texts: Iterable[PromptText], name: str, where: str = "") -> dict[str, Any]:
    """What was typed about the object ``name`` in one place, as keyword arguments of `Prompt.make`.

    ``where`` goes into the messages (`` on frame 12``).

    Raises:
        PromptError: two boxes or masks for one object, or a mask file that can't be read.
    """
    found: dict[str, Any] = {}
    for text in texts:
        if text.point is not None:
            found.setdefault("points", []).append(text.point)
            found.setdefault("labels", []).append(int(text.positive))
        if text.box is not None:
            if "box" in found:
                raise PromptError(
                    f"{name} has two boxes{where}. One box shows one object; for another object write its name: "
                    "--box squirrel:10,20,200,300"
                )
            found["box"] = text.box
        if text.mask is not None:
            if "mask" in found:
                raise PromptError(f"{name} has two masks{where}; give each object its own name")
            try:
                found["mask"] = read_mask(text.mask) if isinstance(text.mask, Path) else text.mask
            except MediaError as error:
                raise PromptError(f"the mask of {name} can't be read: {error}") from error
    return found


@dataclass
class TrackedObject:
    """One object of a run: what is said about it by frame, in the order of the video."""

    id: int
    name: str
    prompts: dict[int, tuple[Prompt, ...]] = field(default_factory=dict)
    locked: bool = False

    @property
    def starts(self) -> list[int]:
        """Frames from which it can be tracked, rising: not those where clicks wait for a mask to take away from."""
        return sorted(frame for frame, prompts in self.prompts.items() if not waits(prompts))


def objects_of(project: Project) -> list[TrackedObject]:
    """The objects of a project, with what is said about them."""
    said = project.said()
    return [
        TrackedObject(found.id, found.name, {t: said[t, i] for t, i in said if i == found.id}, found.locked)
        for found in project.objects()
    ]


def collect_objects(
    texts: Sequence[PromptText],
    reader: MediaReader,
    frame: int | None,
    known: Iterable[TrackedObject] = (),
    mask_there: Callable[[int, int], ObjectMask | None] = lambda frame, object_id: None,
) -> list[TrackedObject]:
    """Objects of a run from the prompts that were typed, in the order in which they first appear.

    A prompt without an object is for object 1; a number names an object by its id; names get the first free ids.

    Args:
        frame: where prompts belong that say no frame; None makes those an error.
        known: objects that exist already; prompts of the same name or number are added to theirs.
        mask_there: the mask that an object has on a frame already, which clicks and boxes correct.

    Raises:
        PromptError: a prompt that can't be used on this video, or an object without anything that shows it.
        InputError: a position outside of the video.
    """
    found = {tracked.id: tracked for tracked in known}
    ids: dict[str | None, int] = {tracked.name: tracked.id for tracked in found.values()}
    ids = number_objects(texts, ids)
    typed: dict[tuple[int, int], list[PromptText]] = {}
    for text in texts:
        number = ids[text.object]
        if number not in found:
            found[number] = TrackedObject(number, object_name(text, number))
        typed.setdefault((number, _frame_of(text, reader, frame)), []).append(text)
    for (number, where), together in typed.items():
        known_object = found[number]
        given = prompt_arguments(together, known_object.name, f" on frame {where}")
        try:
            new = Prompt.make(**given, width=reader.info.width, height=reader.info.height)
        except PromptError as error:
            raise PromptError(f"{known_object.name}, frame {where}: {error}") from error
        there = known_object.prompts.get(where, ())
        if new not in there:  # who goes on with a run may give the whole command again
            known_object.prompts[where] = prompts_after(there, mask_there(where, number), new)
    for tracked in found.values():
        _check(tracked)
        tracked.prompts = dict(sorted(tracked.prompts.items()))
    return list(found.values())


def number_objects(texts: Iterable[PromptText], known: Mapping[str | None, int] | None = None) -> dict[str | None, int]:
    """An id for every object, `known` ones included, by what was typed of it: a number is its id, no name is object 1,
    names get the first free ids. Raises PromptError for a number that can't be an id.
    """
    names, ids = dict.fromkeys(text.object for text in texts), dict(known or {})
    # Numbers first, so that a name does not take the id that somebody wrote down.
    ids |= {name: number for name in names if (number := _number(name)) is not None}
    for name in [name for name in names if name not in ids]:
        ids[name] = next(i for i in range(1, _LARGEST_ID) if i not in ids.values())
    return ids


def object_name(text: PromptText, number: int) -> str:
    """What the object of a prompt is called: what was typed, unless that was its number."""
    return f"object {number}" if text.object is None or _number(text.object) is not None else text.object


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


def _check(tracked: TrackedObject) -> None:
    said = [prompt for prompts in tracked.prompts.values() for prompt in prompts]
    if any(prompt.shows for prompt in said):
        return
    if any(prompt.mask is not None for prompt in said):
        raise PromptError(f"the mask of {tracked.name} is empty, and nothing else shows the object")
    raise PromptError(f"{tracked.name} has only points that are not on it; add a --point or a --box that shows it")
