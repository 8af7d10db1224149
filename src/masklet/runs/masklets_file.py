"""`masklets.json`: what a run found, as COCO run lengths with scores. docs/cli.md describes its fields.

While a run goes on its frames wait in a temporary file beside it, one line of JSON a frame, so that memory doesn't grow
with the length of the video.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from masklet.atomic import atomic_path, temporary_name
from masklet.errors import InputError, MediaError
from masklet.results import ObjectMask

FORMAT, VERSION = "masklet.masklets", 1
# One folder below masks/: files are written and removed there, so a made-up path must not lead anywhere else.
_MASK_FOLDER = re.compile(r"masks/(?!\.{1,2}$)[^/\\:\x00]+")


class FrameSpool:
    """Entries of frames, by index, on disk. One thread at a time."""

    def __init__(self, beside: Path) -> None:
        """Raises MediaError where no file can be made."""
        self._path = temporary_name(beside)
        try:
            self._file = self._path.open("wb+")
        except OSError as error:
            raise MediaError(f"{self._path} can't be written: {error.strerror or error}.") from error
        self._places: dict[int, tuple[int, int]] = {}
        self._ids: dict[int, frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, entry: dict[str, Any]) -> None:
        """Keep a frame's entry; objects that the frame has already and this entry hasn't stay."""
        frame, objects = entry["frame"], entry["objects"]
        new = frozenset(thing["id"] for thing in objects)
        if self._ids.get(frame, new) - new:
            earlier = [thing for thing in self.get(frame)["objects"] if thing["id"] not in new]
            entry = {**entry, "objects": sorted([*earlier, *objects], key=lambda thing: thing["id"])}
            new = frozenset(thing["id"] for thing in entry["objects"])
        line = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode("ascii")
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._places[frame], self._ids[frame] = (place, len(line)), new

    def get(self, frame: int) -> dict[str, Any]:
        """A frame's entry. Raises KeyError where there is none."""
        return json.loads(self._line(frame))

    def find(self, frame: int, object_id: int) -> dict[str, Any] | None:
        """An object's part of a frame's entry, if there is one."""
        if not self.has(frame, object_id):
            return None
        return next(thing for thing in self.get(frame)["objects"] if thing["id"] == object_id)

    def has(self, frame: int, object_id: int) -> bool:
        return object_id in self._ids.get(frame, ())

    def frames(self) -> list[int]:
        """Frames with an entry, rising."""
        return sorted(self._places)

    def lines(self) -> Iterator[str]:
        """Entries as JSON text, in the order of the video."""
        for frame in self.frames():
            yield self._line(frame).decode("ascii")

    def _line(self, frame: int) -> bytes:
        place, length = self._places[frame]
        self._file.seek(place)
        return self._file.read(length)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def write_masklets(path: Path, header: dict[str, Any], spool: FrameSpool) -> None:
    """Write `masklets.json` in one step, a line a frame. Raises MediaError where it can't be written."""
    head = json.dumps({"format": FORMAT, "version": VERSION, **header}, allow_nan=False, ensure_ascii=False, indent=1)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(head.removesuffix("\n}"))
        file.write(',\n "frames": [')
        for i, line in enumerate(spool.lines()):
            file.write(",\n  " if i else "\n  ")
            file.write(line)
        file.write("\n ]\n}\n")


def read_masklets(path: Path) -> dict[str, Any]:
    """The content of a `masklets.json`.

    Raises:
        InputError: it isn't there, is damaged, or was not written by `masklet track`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} was not written by `masklet track`")
    if content.get("version") != VERSION:
        raise InputError(f"{path} was written by another version of masklet ({content.get('version')!r})")
    _check(path, content)
    return content


def _check(path: Path, content: dict[str, Any]) -> None:
    """Everything that is read from the file later, looked at once."""
    try:
        size = int(content["source"]["height"]), int(content["source"]["width"])
        count = int(content["source"]["frame_count"])
        ids = set()
        for thing in content["objects"]:
            ids.add(thing["id"])
            if not isinstance(thing["id"], int) or not isinstance(thing["name"], str):
                raise InputError("an object is damaged")
            if not _MASK_FOLDER.fullmatch(thing["folder"]):
                raise InputError(f"masks don't go into {thing['folder']!r}")
        for entry in content["frames"]:
            if not isinstance(entry["frame"], int) or not 0 <= entry["frame"] < count:
                raise InputError(f"there is no frame {entry['frame']!r} in the video")
            for mask in (ObjectMask.from_json(kept, entry["frame"]) for kept in entry["objects"]):
                if mask.object_id not in ids or mask.size != size:
                    raise InputError(f"frame {entry['frame']} is damaged")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is damaged: {error}. Start again with --overwrite") from error
