"""Where an export's files go: staged beside their place, moved there when all of them are complete."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path, PurePosixPath

from masklet.errors import ExportError, explained
from masklet.media.complete import check_complete
from masklet.sources import refuse_source


class Output:
    """The files of one export. Nothing shows at the final place before `commit`, and nothing is left of it
    without.

    `target` is a file or, with `folder`, a folder that the files go into (what is in it already stays there).
    """

    def __init__(self, target: Path, *, folder: bool, overwrite: bool) -> None:
        """Raises SourceError for a source, ExportError when a file is in the way, or nothing can be written there."""
        self.target = target.absolute()
        self.folder = folder
        self._overwrite = overwrite
        self._files: list[PurePosixPath] = []
        self._known: set[str] = set()
        check_free(self.target, folder=folder, overwrite=overwrite)
        self._stage = self.target.with_name(f".{self.target.name}.{uuid.uuid4().hex[:8]}.part")
        with explained(ExportError, f"Can't write {self.target.parent}"):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._stage.mkdir()

    def file(self, name: str | PurePosixPath | None = None) -> Path:
        """Where to write a file that will be called `name`; without one, the single file of a file format.

        Raises ExportError for a name that was given out before, or that exists and may not be overwritten.
        """
        relative = PurePosixPath(self.target.name) if name is None else PurePosixPath(name)
        if str(relative).casefold() in self._known:
            raise ExportError(
                f"Two files of this export would have the name {relative}. "
                "Put {frame} and, with several objects, {object} into the file name template."
            )
        check_free(self.target / relative if self.folder else self.target, folder=False, overwrite=self._overwrite)
        self._known.add(str(relative).casefold())
        self._files.append(relative)
        path = self._stage / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def text(self, name: str | PurePosixPath | None, text: str) -> Path:
        """Writes a text file, UTF-8 with plain line feeds."""
        path = self.file(name)
        path.write_bytes(text.encode("utf-8"))
        return path

    def commit(self) -> list[Path]:
        """Moves everything to its place and returns the files, in the order in which they were made.

        What is there stays until all that is new was found complete.
        """
        places = [self.target / relative for relative in self._files] if self.folder else [self.target]
        try:
            with explained(ExportError, f"Can't write {self.target}"):
                for relative, place in zip(self._files, places, strict=True):
                    refuse_source(place)
                    check_complete(self._stage / relative)
                self._sync()
                if self.folder and not self.target.exists():
                    self._stage.replace(self.target)
                elif self.folder:
                    for relative, place in zip(self._files, places, strict=True):
                        place.parent.mkdir(parents=True, exist_ok=True)
                        (self._stage / relative).replace(place)
                else:
                    [relative] = self._files
                    (self._stage / relative).replace(self.target)
        finally:
            self.discard()
        return places

    def public(self, text: str) -> str:
        """A message in which files have their final names."""
        if not self.folder:
            text = text.replace(str(self._stage / self.target.name), str(self.target))
        return text.replace(str(self._stage), str(self.target))

    def discard(self) -> None:
        """Removes what was staged."""
        shutil.rmtree(self._stage, ignore_errors=True)

    def _sync(self) -> None:
        for relative in self._files:
            with (self._stage / relative).open("rb+") as file:
                os.fsync(file.fileno())


class InPlace(Output):
    """A file, or files in a folder, that are in their place as soon as they are complete: their writers see to it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def file(self, name: str | PurePosixPath | None = None) -> Path:
        return self.target / name if name is not None else self.target


def check_free(place: Path, *, folder: bool, overwrite: bool) -> None:
    """Raises SourceError for a source, ExportError where a file, or a folder, can't be written."""
    refuse_source(place)
    if folder:
        if place.exists() and not place.is_dir():
            raise ExportError(f"{place} is a file; this format writes a folder. Choose another name.")
    elif place.is_dir():
        raise ExportError(f"{place} is a folder; a file of this name can't be written.")
    elif place.exists() and not overwrite:
        raise ExportError(f"{place} exists already. Allow to overwrite it, or choose another name.")
