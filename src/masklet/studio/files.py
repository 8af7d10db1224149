"""Paths below the root: what is there, what may be opened, what is uploaded. No path leaves it, links included."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import unicodedata
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from anyio import to_thread

from masklet.atomic import publish
from masklet.errors import ExportError, MaskletError, MediaError, explained
from masklet.jobs.queue import QUEUE_FILE
from masklet.media.images import PIXEL_LIMIT, image_size, natural_key
from masklet.media.patterns import frame_number
from masklet.sources import IMAGE_SUFFIXES
from masklet.studio.problems import NotFoundError, OutsideRootError, StudioError, TooLargeError
from masklet.studio.schemas import FileEntry, FileList, Uploaded

PROJECT_SUFFIX = ".masklet"
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf", ".wmv", ".flv"}
    | {".ogv", ".3gp", ".y4m", ".vob", ".gif", ".apng", ".nut"}
)
_ENTRIES_SHOWN = 2000
_RESERVED = {"con", "prn", "aux", "nul", *(f"{word}{i}" for word in ("com", "lpt") for i in range(1, 10))}
_TEXT_PICTURES = {".ppm", ".pgm", ".hdr"}

_NAMING = threading.Lock()

Kind = Literal["video", "image", "project"]


@dataclass(frozen=True)
class Root:
    """The folder that the studio works in.

    Args:
        folder: it exists, and is resolved.
        uploads: where uploads go, below it.
        upload_limit: bytes of one upload.
    """

    folder: Path
    uploads: str = "uploads"
    upload_limit: int = 20 << 30

    def path(self, relative: str) -> Path:
        """The place that a client means. It need not be there; its last part may be a pattern.

        Raises OutsideRootError for a place that is not below the root, once links are followed.
        """
        if "\x00" in relative or len(relative) > 4096:
            raise OutsideRootError("This is no path.")
        if relative.startswith(("/", "\\", "~")) or re.match(r"^[A-Za-z]:", relative):
            raise OutsideRootError(f"Paths are relative to {self.folder.name}; {relative[:200]!r} is not.")
        place = self.folder / relative
        try:
            real = place.resolve()
        except (OSError, RuntimeError) as problem:  # a link to itself
            raise OutsideRootError(f"{relative[:200]!r} can't be followed: {problem}.") from problem
        if not self.holds(real):
            raise OutsideRootError(
                f"{relative[:200]!r} is outside of {self.folder}. Start the studio with --root to open other folders."
            )
        return real

    def existing(self, relative: str) -> Path:
        """The same, and it is there. Raises NotFoundError, OutsideRootError."""
        place = self.path(relative)
        try:
            place.stat()
        except OSError as problem:
            raise NotFoundError(f"There is no {relative or '.'} in {self.folder}.") from problem
        return place

    def holds(self, real: Path) -> bool:
        """Whether a resolved path is the root or below it."""
        return real == self.folder or self.folder in real.parents

    def relative(self, path: Path) -> str:
        """How a client calls a path; its name alone where it is not below the root."""
        try:
            return path.relative_to(self.folder).as_posix()
        except ValueError:
            return path.name

    # --- looking around ----------------------------------------------------------------------------------------

    def listing(self, relative: str) -> FileList:
        """What there is to open in a folder: folders first, pictures of a sequence as one entry.

        Raises NotFoundError, OutsideRootError, StudioError for a file.
        """
        folder = self.existing(relative)
        if not folder.is_dir():
            raise StudioError(f"{relative} is not a folder.")
        shown: list[FileEntry] = []
        pictures: list[FileEntry] = []
        truncated = False
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as problem:
            raise StudioError(f"{relative or '.'} can't be read: {problem.strerror}.") from problem
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if len(shown) + len(pictures) >= _ENTRIES_SHOWN * 20:
                truncated = True
                break
            found = self._entry(entry)
            if found is not None:
                (pictures if found.kind == "image" else shown).append(found)
        shown += _as_sequences(pictures)
        order = {"batch": 0, "folder": 0, "project": 1, "video": 2, "sequence": 3, "image": 4}
        shown.sort(key=lambda entry: (order[entry.kind], natural_key(entry.name)))
        parent = None if folder == self.folder else self.relative(folder.parent).removeprefix(".")
        path = "" if folder == self.folder else self.relative(folder)
        return FileList(
            path=path,
            parent=parent,
            entries=shown[:_ENTRIES_SHOWN],
            truncated=truncated or len(shown) > _ENTRIES_SHOWN,
            batch=(folder / QUEUE_FILE).is_file(),
        )

    def _entry(self, entry: os.DirEntry[str]) -> FileEntry | None:
        path = Path(entry.path)
        try:
            if entry.is_symlink() and not self.holds(path.resolve(strict=True)):
                return None
            about = entry.stat()
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except (OSError, RuntimeError):
            return None
        kind: Literal["folder", "batch"] | Kind | None = kind_of(path) if is_file else None
        if is_folder:
            kind = "batch" if (path / QUEUE_FILE).is_file() else "folder"
        if kind is None:
            return None
        return FileEntry(
            name=entry.name,
            path=self.relative(path),
            kind=kind,
            size=None if is_folder else about.st_size,
            modified=about.st_mtime,
        )

    # --- uploads -----------------------------------------------------------------------------------------------

    async def upload(self, name: str, folder: str, chunks: AsyncIterator[bytes]) -> Uploaded:
        """Takes a file in, piece by piece: it has its name once it is complete, and turned out to be readable.

        Raises StudioError for a name or contents that can't be used, TooLargeError.
        """
        name = clean_name(name)
        kind = kind_of(Path(name))
        if kind is None:
            raise StudioError(
                f"{name} is neither a video nor a picture nor a project: its suffix {Path(name).suffix!r} is unknown."
            )
        target_folder = self.path(self.uploads)
        if folder:
            target_folder = self.path(f"{self.uploads}/{clean_name(folder)}")
        # The suffix stays, because it says how to read the file.
        temporary = target_folder / f".{uuid.uuid4().hex[:12]}.part{Path(name).suffix.lower()}"
        size = 0
        try:
            with await to_thread.run_sync(_begin, temporary) as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self.upload_limit:
                        raise TooLargeError(f"{name} is larger than the {self.upload_limit >> 20} MB that are allowed.")
                    await to_thread.run_sync(file.write, chunk)
            if not size:
                raise StudioError(f"{name} is empty.")
            target = await to_thread.run_sync(_publish, temporary, target_folder, name, kind, bool(folder))
        except OSError as problem:
            raise StudioError(f"{name} can't be kept: {problem.strerror or problem}.") from problem
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
                while target_folder != self.folder:  # empty only after one that broke off
                    target_folder.rmdir()
                    target_folder = target_folder.parent
        return Uploaded(path=self.relative(target), kind=kind, size=size)

    # --- places to write ---------------------------------------------------------------------------------------

    def export_target(self, relative: str | None, beside: Path, name: str, suffix: str, overwrite: bool) -> Path:
        """Where an export goes: as asked, or beside the source under a name that is free. Raises OutsideRootError."""
        if relative:
            place = self.path(relative)
            if place == self.folder:
                raise ExportError("Give the export a name: it can't take the place of the whole folder.")
            return place
        folder = beside if self.holds(beside.resolve()) else self.folder
        return free_name(folder, name, suffix) if not overwrite else folder / f"{name}{suffix}"


def place_id(path: Path) -> str:
    """Under which id a project or batch goes while it is open: the same for the same place."""
    return hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()


def kind_of(path: Path) -> Kind | None:
    """What a file is taken for, by its suffix."""
    suffix = path.suffix.lower()
    if suffix == PROJECT_SUFFIX:
        return "project"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "image" if suffix in IMAGE_SUFFIXES else None


def check_media(path: Path) -> None:
    """Looks at the head of a file that may come from anywhere, before FFmpeg or Pillow take it apart.

    Raises MediaError for text (playlists make FFmpeg open other files) and for pictures of an absurd size.
    """
    with explained(MediaError, f"{path.name} can't be read"), path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise MediaError(f"{path.name} is empty.")
    suffix = path.suffix.lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = all(byte in b"\t\n\r\f\x1b" or 32 <= byte < 127 for byte in head)
    if text.startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]")) or (
        is_text and suffix not in _TEXT_PICTURES
    ):
        raise MediaError(f"{path.name} holds text, not a video or picture.")
    if kind_of(path) == "image":
        check_size(path.name, *image_size(path))


def check_size(name: str, width: int, height: int) -> None:
    """Raises MediaError for a picture or video of an absurd size."""
    if width * height > PIXEL_LIMIT:
        raise MediaError(f"{name} is {width}x{height} pixels: more than {PIXEL_LIMIT >> 20} million.")


def check_readable(path: Path, kind: Kind) -> None:
    """Whether an uploaded file is what its name says. Raises MediaError, ProjectError."""
    if kind == "project":
        from masklet.project import Project

        Project.open(path, read_only=True).close()
        return
    from masklet.media import open_media

    check_media(path)
    with open_media(path, sequence=False) as reader:
        check_size(path.name, reader.info.width, reader.info.height)
        reader.read(0)


def clean_name(name: str) -> str:
    """A file name that is one everywhere. Raises StudioError where nothing of it can be kept."""
    name = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join("_" if unicodedata.category(char)[0] == "C" or char in '<>:"|?*' else char for char in name)
    name = re.sub(r"^[\s.]+|[\s.]+$", "", name)
    stem, dot, suffix = name.rpartition(".")
    if stem.lower() in _RESERVED or name.lower() in _RESERVED:
        name = f"_{name}"
    while len(name.encode()) > 200:
        stem = stem[:-1]
        name = f"{stem}{dot}{suffix}"
        if not stem:
            raise StudioError("This file name is too long.")
    if not name:
        raise StudioError("This file has no name.")
    return name


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """A path in a folder that nothing has yet: `clip.mp4`, `clip 2.mp4`, …"""
    number = 1
    while True:
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem} {number}{suffix}")
        if not path.exists():
            return path
        number += 1


def _begin(temporary: Path) -> BinaryIO:
    for _ in range(2):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another upload, which broke off, just took its folder away
            return temporary.open("xb")
    raise StudioError(f"The folder {temporary.parent.name} is not there.")


def _publish(temporary: Path, folder: Path, name: str, kind: Kind, member: bool) -> Path:
    """Checks a complete upload and gives it its name; members of a sequence keep theirs."""
    try:
        check_readable(temporary, kind)
    except MaskletError as problem:
        # Its message names the place where the file was being made.
        raise StudioError(str(problem).replace(str(temporary), name).replace(temporary.name, name)) from problem
    with _NAMING:  # two of one name may arrive at once
        target = folder / name if member else free_name(folder, Path(name).stem, Path(name).suffix)
        if target.exists():
            raise StudioError(f"There is a {name} in this folder already.")
        publish(temporary, target, overwrite=False, error=StudioError)
    return target


def _as_sequences(pictures: list[FileEntry]) -> list[FileEntry]:
    """Pictures with counting names as one entry each, under the pattern that opens them."""
    groups: dict[tuple[str, int, str], list[FileEntry]] = {}
    alone = []
    for picture in pictures:
        stem, suffix = Path(picture.name).stem, Path(picture.name).suffix
        parts = frame_number(stem)
        if parts is None:
            alone.append(picture)
        else:
            groups.setdefault((parts[0], len(parts[1]), parts[2] + suffix), []).append(picture)
    for (before, digits, after), members in groups.items():
        if len(members) == 1:
            alone += members
            continue
        first = members[0]
        name = f"{before}{'#' * digits}{after}"
        folder = first.path[: len(first.path) - len(first.name)]
        alone.append(
            first.model_copy(
                update={"name": name, "path": f"{folder}{name}", "kind": "sequence", "count": len(members)}
            )
        )
    return alone
