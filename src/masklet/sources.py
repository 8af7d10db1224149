"""What the user brought: no writer ever writes over it.

Whoever reads a file for somebody keeps a `Sources` of it, and every writer asks `refuse_source` before it begins and
again before it gives a file its name. Readers and projects do the first by themselves; `masklet.atomic` and the
exports' `Output` do the second, so what writes through them can't forget it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import quote

from masklet.errors import SourceError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".dpx", ".exr", ".ppm", ".pgm"}
    | {".tga", ".avif", ".jp2", ".gif", ".apng", ".hdr", ".cin"}
)

_WILD = re.compile(r"(#+|@+|%0?\d*d)|(\*)|(\?)")
_PROJECTS_LOOKED_AT = 100
_SECONDS_BELIEVED = 5  # how long it is believed what the projects of a folder said

_Identity = tuple[int, int]  # device and inode: the same for every name of a file, whatever links lead to it


class _Places:
    """Files, the pictures of folders, and what patterns stand for."""

    def __init__(self, *places: str | os.PathLike[str]) -> None:
        self._places = tuple(Path(place).expanduser() for place in places)

    def find(self, path: Path, identity: _Identity | None) -> Path | None:
        """The source that a file called `path` would write over, or come among. `identity` is None for a new file."""
        if path.suffix.lower() in IMAGE_SUFFIXES and self._folders:
            folder = self._folders.get(_identity(path.parent))
            if folder is not None:
                return folder
        if identity is None:
            return None
        source = self._names.get(_spelled_out(path)) or self._files.get(identity)
        return source if source is not None and _identity(source) == identity else None

    # Looked at when something is about to be written over: most sources never are.

    @cached_property
    def _folders(self) -> dict[_Identity | None, Path]:
        return {_identity(place): place for place in self._places if place.is_dir()}

    @cached_property
    def _names(self) -> dict[str, Path]:
        return {_spelled_out(file): file for place in self._places for file in _files(place)}

    @cached_property
    def _files(self) -> dict[_Identity | None, Path]:
        return {_identity(file): file for file in self._names.values()}


class Sources(_Places):
    """Files that nobody writes over as long as this is kept: it ends with `release`, a `with` block, or its owner.

    Args:
        places: files; folders, for the pictures that are in them (and no picture may be added); patterns such as
            `shot.####.exr`, for the files of that name. What isn't there protects nothing.
    """

    def __init__(self, *places: str | os.PathLike[str]) -> None:
        super().__init__(*places)
        with _MUTEX:
            _KEPT.add(self)

    def release(self) -> None:
        """They may be written over again."""
        with _MUTEX:
            _KEPT.discard(self)

    def __enter__(self) -> Sources:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


_KEPT: weakref.WeakSet[Sources] = weakref.WeakSet()
_MUTEX = threading.Lock()


def refuse_source(path: str | os.PathLike[str]) -> None:
    """To be asked before a file is written, replaced, moved or removed.

    A source is what a `Sources` holds, and what a project beside `path` is about, whichever program has it open. The
    way to it doesn't matter: links, hard links, another spelling, a member of a sequence.

    Raises:
        SourceError: `path` is a source, or would become a picture of one.
    """
    path = Path(path)
    identity = _identity(path)
    with _MUTEX:
        kept = list(_KEPT)
    for sources in kept:
        if (source := sources.find(path, identity)) is not None:
            raise SourceError(_sentence(path, source, "it is being read, or a project is about it"))
    if identity is None:
        return
    for folder in (path.parent, path.parent.parent):
        now = int(time.monotonic()) // _SECONDS_BELIEVED
        for project, places in _beside(str(folder), now):
            if (source := places.find(path, identity)) is not None:
                raise SourceError(_sentence(path, source, f"the project {project} is about it"))


def _sentence(path: Path, source: Path, why: str) -> str:
    if source.is_dir():
        return (
            f"{path} can't be written: it would come among the pictures of {source}, which is a source ({why}). "
            "Choose another folder."
        )
    named = "it" if path.name == source.name else f"it is the same file as {source}, which"
    return f"{path} can't be written over: {named} is a source ({why}). Choose another name or folder."


@lru_cache(maxsize=64)
def _beside(folder: str, _now: int) -> tuple[tuple[str, _Places], ...]:
    """The projects in a folder, each with what it is about."""
    with suppress(OSError):
        found = [Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(".masklet")]
        return tuple((project.name, _Places(*_told_by(project))) for project in sorted(found)[:_PROJECTS_LOOKED_AT])
    return ()


def _told_by(project: Path) -> list[Path]:
    # As it was last saved, without a lock and without leaving a trace: another process may be writing it.
    with suppress(sqlite3.Error, OSError, TypeError, ValueError):
        address = f"file:{quote(str(project.absolute()))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            for path, relative in connection.execute("SELECT path, relative_path FROM source"):
                return [Path(path), *([project.parent / relative] if relative else [])]
    return []


def _files(place: Path) -> Iterator[Path]:
    with suppress(OSError):
        if place.is_dir():
            yield from (file for file in place.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        elif place.exists():
            yield place
        elif _WILD.search(place.name):
            name = re.compile(_expression(place.name), re.DOTALL)
            yield from (file for file in place.parent.iterdir() if name.fullmatch(file.name))


def _expression(pattern: str) -> str:
    parts = _WILD.split(pattern)
    signs = {1: r"\d+", 2: ".*", 3: "."}
    return "".join(signs[i % 4] if i % 4 and part else re.escape(part or "") for i, part in enumerate(parts))


def _identity(path: Path) -> _Identity | None:
    try:
        about = path.stat()
    except (OSError, ValueError):
        return None
    return about.st_dev, about.st_ino


def _spelled_out(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118
