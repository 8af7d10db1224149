"""File names from templates such as `{clip}_{object}_{frame:05d}.png`.

Templates come from users and values from project files, so nothing but plain fields is filled in (no
attributes, no indices, no conversions), and what is filled in can't leave the folder or use a name that some
system forbids.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from masklet.errors import InputError

#: What a template may say, and what it becomes.
FIELDS = {
    "clip": "name of the source without its suffix",
    "object": "name of the object",
    "id": "number of the object",
    "frame": "number of the frame in the source, from 0",
    "number": "number of the frame in the export, from 0",
    "format": "name of the export format",
}
_NUMBERS = {"id", "frame", "number"}
_NUMBER_SPEC = re.compile(r"0?\d{0,2}d?")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f]+')
_SHELL = re.compile(r"[\s!#$%&'();=@^`{}~\[\],+]+|^-")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
_LONGEST = 100


class NameTemplate:
    """A checked template. Subfolders are allowed: `{object}/{frame:05d}.png`."""

    def __init__(self, template: str) -> None:
        """Raises InputError for unknown fields, anything but plain fields, and names outside the folder."""
        self.template = template
        self._parts: list[tuple[str, str | None, str]] = []
        try:
            parsed = list(string.Formatter().parse(template))
        except ValueError as problem:
            raise InputError(f"The file name template {template!r} can't be read: {problem}.") from problem
        for literal, field, spec, conversion in parsed:
            if field is not None:
                self._check_field(field, spec or "", conversion)
            self._parts.append((literal, field, spec or ""))
        self.fields = frozenset(field for _, field, _ in self._parts if field is not None)
        trial = self.fill({field: 0 if field in _NUMBERS else "x" for field in FIELDS})
        if not trial.name:
            raise InputError(f"The file name template {template!r} gives an empty name.")

    def fill(self, values: Mapping[str, str | int]) -> PurePosixPath:
        """The relative path for these values. Raises InputError when it would leave the folder."""
        text = "".join(
            literal + ("" if field is None else self._value(field, spec, values))
            for literal, field, spec in self._parts
        )
        path = PurePosixPath(text.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text) or "\x00" in text:
            raise InputError(f"The file name template {self.template!r} leaves the folder of the export.")
        return PurePosixPath(*(_safe_component(part) for part in path.parts)) if path.parts else path

    def _check_field(self, field: str, spec: str, conversion: str | None) -> None:
        if field not in FIELDS:
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise InputError(f"The file name template {self.template!r} has {{{field}}}; it may have {known}.")
        fits = _NUMBER_SPEC.fullmatch(spec) if field in _NUMBERS else not spec
        if conversion or not fits:
            raise InputError(
                f"The file name template {self.template!r} formats {{{field}}} in a way that isn't supported: "
                "numbers may have a width such as {frame:05d}."
            )

    @staticmethod
    def _value(field: str, spec: str, values: Mapping[str, str | int]) -> str:
        value = values.get(field)
        if value is None:
            raise InputError(f"{{{field}}} means nothing in the file names of this format.")
        return format(int(value), spec) if field in _NUMBERS else sanitize(str(value))


def sanitize(name: str) -> str:
    """A name that every system takes as one part of a path: no separators, no device names, not empty, not too long."""
    clean = _FORBIDDEN.sub("_", name).strip().strip(".")[:_LONGEST]
    clean = clean.encode("utf-8", "ignore")[: 2 * _LONGEST].decode("utf-8", "ignore").strip()
    return _safe_component(clean) if clean else "unnamed"


def unique_names(names: Mapping[int, str]) -> dict[int, str]:
    """A file name for every object by id, without blanks or anything that a shell reads something into.

    Names that some file system takes for the same (for it knows neither case nor accents' spelling) get their id.
    """
    plain = {number: sanitize(_SHELL.sub("_", unicodedata.normalize("NFC", name))) for number, name in names.items()}
    safe = {number: _SHELL.sub("_", name) for number, name in plain.items()}  # a hyphen may have come first only now
    while len(count := Counter(map(_folded, safe.values()))) < len(safe):
        safe = {number: name if count[_folded(name)] == 1 else f"{name}_{number}" for number, name in safe.items()}
    return safe


def _folded(name: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).upper().casefold())
    return "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")


def _safe_component(part: str) -> str:
    part = _FORBIDDEN.sub("_", part)
    if part.rstrip(". ") != part:
        part = part.rstrip(". ") + "_"
    if part.split(".")[0].casefold() in _RESERVED:
        part = f"_{part}"
    return part
