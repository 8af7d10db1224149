"""The file of a project: made, opened, closed, and the source that it is about."""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from masklet import __version__
from masklet.errors import InputError, ProjectError
from masklet.project import schema
from masklet.project.database import Database, check_file, copy_database, explain, put_in_place
from masklet.project.lock import ProjectLock
from masklet.project.records import TrackSettings
from masklet.project.source import SourceReference, describe, find, moved_to, relative_to
from masklet.sources import Sources, refuse_source

if TYPE_CHECKING:
    from typing_extensions import Self

    from masklet.media import MediaReader

T = TypeVar("T")


class ProjectFile:
    """The file of a project and its source, open; `Project` is what to use."""

    def __init__(self, path: Path, database: Database, lock: ProjectLock | None) -> None:
        """Use `create` or `open`."""
        self.path = path
        self._database = database
        self._lock = lock
        self._reader: MediaReader | None = None
        self._mutex = threading.RLock()
        self.source = self._read_source()
        self._sources = self._keep_sources()

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        source: MediaReader | str | os.PathLike[str],
        *,
        settings: TrackSettings | None = None,
        overwrite: bool = False,
        hidden: bool = False,
    ) -> Self:
        """Makes a new project about a video, sequence or image, and opens it.

        `hidden` leaves its place free, or to an older project, until `show`; a project closed before is removed.

        Raises ProjectError when there is a file already (unless `overwrite`) or none can be written,
        ProjectInUseError when another process has it open, MediaError when the source can't be read.
        """
        path = Path(path).absolute()
        if path.exists() and not overwrite:
            raise ProjectError(
                f"{path} exists already. Go on with it (masklet status {path.name} says what is in it), choose another "
                "name, or allow to overwrite it."
            )
        if not path.parent.is_dir():
            raise ProjectError(f"There is no folder {path.parent} for the project. Make it first.")
        if isinstance(source, (str, os.PathLike)):
            from masklet.media import open_media

            reader = open_media(source)
        else:
            reader = source
        lock = ProjectLock(path)
        try:
            reference = describe(reader, path)
            lock.acquire()
            refuse_source(path)
            place = path.with_name(f".{path.name}.new") if hidden else path
            write_new(place, reference, settings or TrackSettings())
            project = cls(path, Database(place), lock)
        except BaseException:
            lock.release()
            if reader is not source:
                reader.close()
            raise
        project._reader = reader
        return project

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Self:
        """Opens a project. One process may write it; others may read it meanwhile with `read_only`.

        Raises ProjectInUseError when another process writes it, and ProjectError for a file that isn't there,
        isn't a project, is damaged, or was made by a newer masklet.
        """
        path = Path(path).absolute()
        if read_only:
            return cls._opened(path, read_only, None)
        check_file(path)  # before the lock, which would leave its mark beside a file that isn't ours
        lock = ProjectLock(path)
        lock.acquire()
        try:
            return cls._opened(path, read_only, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(cls, path: Path, read_only: bool, lock: ProjectLock | None) -> Self:
        database = Database(path, read_only)
        try:
            return cls(path, database, lock)
        except BaseException:
            database.close()
            raise

    def show(self) -> None:
        """Puts the file of a hidden project (see `create`) in its place, where an older one goes."""
        if self._database.path != self.path:
            self._database.move(self.path)

    def close(self) -> None:
        """Writes what is left and closes the file and the source."""
        try:
            self._database.close()
            if self._database.path != self.path:
                self._database.path.unlink(missing_ok=True)
        finally:
            self._sources.release()
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def read_only(self) -> bool:
        """Whether this project was opened for reading only."""
        return self._database.read_only

    # Source

    def open_source(self, path: str | os.PathLike[str] | None = None, *, within: Path | None = None) -> MediaReader:
        """The reader of the source, opened on first use and closed with the project.

        A source that moved is looked for next to the project by its fingerprint; `path` says where it is. The
        place is remembered. `within` keeps to a folder: nothing outside of it is looked at, whatever the project says.
        Raises ProjectError when it isn't found, or when `path` is another video.
        """
        with self._mutex:
            if path is None and self._reader is not None:
                return self._reader
            reader = find(self.source, self.path, None if path is None else Path(path), within)
            found = moved_to(self.source, reader, self.path)
            if found != self.source and not self.read_only:
                with self._database.writing():
                    self._database.execute(
                        "UPDATE source SET path = ?, relative_path = ?", (found.path, found.relative_path)
                    )
            self.source = found
            self._sources = self._keep_sources()
            if self._reader is not None:
                self._reader.close()
            self._reader = reader
            return reader

    def _keep_sources(self) -> Sources:
        """The source and the project itself: nobody writes over them as long as the project is open."""
        relative = self.source.relative_path
        return Sources(self.path, self.source.path, *([self.path.parent / relative] if relative else []))

    def _set_meta(self, key: str, value: object) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, str(value)))

    def _setting(self, key: str) -> str | None:
        rows = self._database.query("SELECT value FROM setting WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def _read_source(self) -> SourceReference:
        rows = self._database.query("SELECT * FROM source")
        if len(rows) != 1:
            raise ProjectError(f"{self.path.name} does not say which video it is about.")
        return sound(SourceReference.from_row, rows[0])


def sound(make: Callable[[Any], T], kept: Any) -> T:
    """What `make` makes of something that the file holds. Raises ProjectError where it is damaged."""
    try:
        return make(kept)
    except (InputError, TypeError, ValueError, ArithmeticError, zlib.error) as problem:
        raise ProjectError(f"An entry of this project is damaged: {problem}") from problem


def copy_project(path: Path, target: Path, *, home: Path | None = None, source: str | None = None) -> None:
    """Writes what a project held at its last commit to a new file, also while somebody tracks into it.

    Args:
        home: where the copy will lie, if its source can be found from there by a relative path.
        source: what the copy says it is about, if the source lies elsewhere than it seems from here.

    Raises ProjectError.
    """
    copy_database(path, target)
    try:
        with closing(sqlite3.connect(target)) as connection, connection:
            [was] = connection.execute("SELECT path FROM source").fetchone()
            about = source or was
            relative = None if home is None or source else relative_to(Path(about), home)
            connection.execute("UPDATE source SET path = ?, relative_path = ?", (about, relative))
    except sqlite3.Error as problem:
        raise explain(problem, path) from problem


def write_new(path: Path, source: SourceReference, settings: TrackSettings) -> None:
    """A complete new file, or none at all. Raises SourceError where a source would be replaced."""
    refuse_source(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN")
            schema.build(connection)
            row = {"id": 1, **source.row()}
            connection.execute(
                f"INSERT INTO source ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                list(row.values()),
            )
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            connection.executemany(
                "INSERT INTO meta (key, value) VALUES (?, ?)", [("created", now), ("masklet", __version__)]
            )
            connection.execute("INSERT INTO setting (key, value) VALUES ('track', ?)", (settings.model_dump_json(),))
            connection.execute("COMMIT")
        put_in_place(temporary, path)
    except sqlite3.Error as problem:
        raise explain(problem, path) from problem
    except OSError as problem:
        raise ProjectError(f"Can't write {path}: {problem.strerror or problem}.") from problem
    finally:
        for suffix in ("", "-journal"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
