"""Prompts as people type them: `640,300`, `bunny:640,300`, `bunny@120:640,300`, `bunny@4.8s:first.png`.

Before the last colon may stand whom the prompt is for: an object's name or number, a frame behind an `@`, or both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.errors import PromptError
from masklet.sources import Sources

_NUMBER = r"\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*"
_WHOM = r"(?:(?P<object>[^@:,/\\]*)(?:@(?P<frame>[^,@/\\]+?))?:)?"
_POINT = re.compile(rf"{_WHOM}(?P<numbers>{_NUMBER},{_NUMBER})")
_BOX = re.compile(rf"{_WHOM}(?P<numbers>{_NUMBER}(?:,{_NUMBER}){{3}})")
_FILE = re.compile(r"(?P<object>[^@:,/\\]*)(?:@(?P<frame>[\d:;.]+s?|\w+))?:(?P<path>.+)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class PromptText:
    """One prompt as it was typed.

    Attributes:
        object: name or number of the object; None where none was given.
        frame: position in the video, to be read by `masklet.media.parse_position`; None where none was given.
        point: x, y in pixels; with `positive` false it is not on the object.
        box: x1, y1, x2, y2 in pixels.
        mask: a picture that shows the object in white, or run lengths.
    """

    object: str | None
    frame: str | None
    point: tuple[float, float] | None = None
    positive: bool = True
    box: tuple[float, float, float, float] | None = None
    mask: Path | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mask, Path):  # nobody writes over it as long as this prompt is needed
            object.__setattr__(self, "_sources", Sources(self.mask))


def parse_point(text: str, positive: bool = True) -> PromptText:
    """`[OBJECT[@FRAME]:]X,Y`. Raises PromptError."""
    found = _POINT.fullmatch(text.strip())
    if found is None:
        raise PromptError(
            f"{text!r} is not a point. Write X,Y in pixels, such as 640,300; with an object bunny:640,300; with an "
            "object and a frame bunny@120:640,300"
        )
    x, y = (float(number) for number in found["numbers"].split(","))
    return PromptText(*_whom(found, text), point=(x, y), positive=positive)


def parse_box(text: str) -> PromptText:
    """`[OBJECT[@FRAME]:]X1,Y1,X2,Y2`. Raises PromptError."""
    found = _BOX.fullmatch(text.strip())
    if found is None:
        raise PromptError(
            f"{text!r} is not a box. Write left, top, right and bottom in pixels, such as 153,219,571,558; with an "
            "object bunny:153,219,571,558"
        )
    x1, y1, x2, y2 = (float(number) for number in found["numbers"].split(","))
    return PromptText(*_whom(found, text), box=(x1, y1, x2, y2))


def parse_mask(text: str) -> PromptText:
    """`[OBJECT[@FRAME]:]FILE`. A text that is a file's name as a whole is that file. Raises PromptError."""
    if not text.strip():
        raise PromptError("a mask needs the name of a picture that shows the object in white")
    found = _FILE.fullmatch(text)
    if found is None or _DRIVE.match(text) or Path(text).is_file():
        return PromptText(None, None, mask=Path(text))
    return PromptText(*_whom(found, text), mask=Path(found["path"]))


def _whom(found: re.Match[str], text: str) -> tuple[str | None, str | None]:
    name, frame = found["object"], found["frame"]
    if name is not None:
        name = name.strip()
        if not name and frame is None:
            raise PromptError(f"{text!r} begins with a colon: write an object's name before it, or leave it out")
        if len(name) > _LONGEST_NAME:
            raise PromptError(f"the name of an object has at most {_LONGEST_NAME} characters, not {len(name)}: {name}")
        if not name.isprintable():
            raise PromptError(f"the name of an object can't hold control characters: {name!r}")
    return name or None, frame.strip() if frame else None
