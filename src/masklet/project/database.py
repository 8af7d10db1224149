"""One SQLite connection that threads share: durable commits in batches, and errors for people.

Writes go into one open transaction. A timer's thread commits it a moment after its first write (sooner where the caller
asks), so that who tracks does not wait for the disk. `synchronous=FULL` makes each commit survive a power cut too.
"""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from masklet.errors import MaskletError, ProjectError, ProjectInUseError, explained
from masklet.project import schema

#: Half of what is promised: a busy machine and a slow disk need the rest.
COMMIT_SECONDS = 0.25
_MAGIC = b"SQLite format 3\x00"


_OPEN: weakref.WeakSet[Database] = weakref.WeakSet()
_OPEN_MUTEX = threading.Lock()


def _all_open() -> list[Database]:
    with _OPEN_MUTEX:
        return list(_OPEN)


@atexit.register
def _commit_all() -> None:
    """A program that ends without closing its projects loses nothing."""
    for database in _all_open():
        with suppress(ProjectError):
            database.close()


class Database:
    """The connection to a project file. Every method may be called from any thread."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        """Opens and checks an existing file, and brings its tables up to date unless it is read-only.

        Raises ProjectError for anything that isn't a sound project file.
        """
        self.path = path
        self.read_only = read_only
        self._mutex = threading.RLock()
        self._timer: threading.Timer | None = None
        self._failure: ProjectError | None = None
        self._depth = 0
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        check_file(path)
        with self._explained():
            self._connection = self._connect()
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self.close()
            raise
        with _OPEN_MUTEX:
            _OPEN.add(self)

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a SELECT, what is not committed yet included; each gives its values by number and by name."""
        with self._mutex, self._explained():
            self._require_open()
            return self._connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs one statement inside `writing` and returns the id of the row it inserted."""
        with self._mutex, self._explained():
            return self._connection.execute(sql, parameters).lastrowid or 0

    @contextmanager
    def writing(self, durable: bool = True) -> Iterator[None]:
        """All or nothing: what is executed inside, or none of it when an exception comes out.

        `durable` commits at the end; otherwise that happens within half a second. Blocks may be nested; the outermost
        one decides when to commit.
        """
        if self.read_only:
            raise ProjectError(f"{self.path.name} is open read-only, so it can't be changed.")
        with self._mutex, self._explained():
            self._require_open()
            if self._failure:
                failure, self._failure = self._failure, None
                raise failure
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("SAVEPOINT edit")
            self._depth += 1
            try:
                yield
                self._connection.execute("RELEASE edit")
            except BaseException:
                self._undo_savepoint()
                raise
            finally:
                self._depth -= 1
            if not self._depth:
                self._schedule(durable)

    def commit(self) -> None:
        """Makes everything written so far durable."""
        with self._mutex:
            self._stop_timer()
            with self._explained():
                self._commit()

    def move(self, path: Path) -> None:
        """Commits, and gives the file another place, where a file may be that goes."""
        with self._mutex, self._explained():
            self.commit()
            self._connection.close()
            try:
                put_in_place(self.path, path)
                self.path = path
            finally:
                self._connection = self._connect()

    def close(self) -> None:
        """Commits and closes. The file is then complete on its own, without side files."""
        with self._mutex:
            connection = getattr(self, "_connection", None)
            if connection is None:
                return
            try:
                self.commit()
            finally:
                del self._connection
                with suppress(sqlite3.Error):
                    connection.close()
                if self._copy:
                    self._copy.cleanup()
                elif self.read_only:
                    _tidy(self.path)
        if self._failure:
            failure, self._failure = self._failure, None
            raise failure

    def is_at(self, path: Path) -> bool:
        """Whether it has the file at this place open."""
        with suppress(OSError):
            return hasattr(self, "_connection") and self.path.samefile(path)
        return False

    def _require_open(self) -> None:
        if not hasattr(self, "_connection"):
            raise ProjectError(f"{self.path.name} was closed; open it again.")

    def _connect(self) -> sqlite3.Connection:
        path = self.path
        if not self.read_only:
            connection = _open(path, "rw")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            return connection
        connection = _open(path, "ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
            # A file in a folder that can't be written, or on a full disk: SQLite wants to make side files there.
            log = path.with_name(path.name + "-wal")
            if not log.exists() or not log.stat().st_size:
                return _open(path, "ro&immutable=1")
            # The last commits of a killed process are still in the log: a copy takes them in.
            self._copy = tempfile.TemporaryDirectory(prefix="masklet-")
            for suffix in ("", "-wal"):
                side = path.with_name(path.name + suffix)
                if side.exists():
                    shutil.copyfile(side, Path(self._copy.name, path.name + suffix))
            connection = _open(Path(self._copy.name, path.name), "rw")
            connection.execute("PRAGMA query_only = ON")
            return connection

    def _prepare(self) -> None:
        version = schema.check(self._connection, self.path.name)
        if version == schema.VERSION:
            return
        if self.read_only and self._copy is None:
            # Reading an older file must not change it: work on a private copy, brought up to date.
            self._copy = tempfile.TemporaryDirectory(prefix="masklet-")
            copy = sqlite3.connect(Path(self._copy.name, self.path.name))
            self._connection.backup(copy)
            copy.close()
            self._connection.close()
            self._connection = _open(Path(self._copy.name, self.path.name), "rw")
        self._connection.execute("PRAGMA query_only = OFF")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            schema.migrate(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if self.read_only:
            self._connection.execute("PRAGMA query_only = ON")

    def _undo_savepoint(self) -> None:
        # After a full disk SQLite may have rolled the whole transaction back on its own.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO edit")
            self._connection.execute("RELEASE edit")
            if self._depth == 1:
                self._schedule(durable=False)

    def _schedule(self, durable: bool) -> None:
        if durable:
            self._stop_timer()
            self._commit()
        elif self._timer is None:
            self._timer = threading.Timer(COMMIT_SECONDS, self._timed_commit)
            self._timer.daemon = True
            self._timer.start()

    def _timed_commit(self) -> None:
        with self._mutex:
            self._timer = None
            if not hasattr(self, "_connection"):
                return
            try:
                with self._explained():
                    self._commit()
            except ProjectError as problem:
                self._failure = problem  # the next write raises it where somebody listens

    def _commit(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except MaskletError:
            raise
        except sqlite3.Error as problem:
            raise explain(problem, self.path) from problem


def check_file(path: Path) -> None:
    """Raises ProjectError unless there is an SQLite file at this place."""
    # Closing a file takes all locks away that this process has on it, SQLite's too (POSIX): what is open is not read.
    if any(database.is_at(path) for database in _all_open()):
        return
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise ProjectError(f"There is no project at {path}. masklet track … --project {path.name} makes one.") from None
    except OSError as problem:
        raise ProjectError(f"Can't read {path}: {problem.strerror or problem}.") from problem
    if head != _MAGIC:
        raise ProjectError(f"{path} is not a masklet project.")


def put_in_place(file: Path, path: Path) -> None:
    """Gives a database that nobody has open another place, where a file may be that goes. Raises ProjectError."""
    with explained(ProjectError, f"Can't write {path}"):
        for suffix in ("-wal", "-shm"):  # the other file's log would be played into this one
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        file.replace(path)


def copy_database(path: Path, target: Path) -> None:
    """Writes what a database held at its last commit to a new file, also while somebody writes to it. Room that the old
    file doesn't need any more isn't copied, and the new one gets no files beside it as long as it is only read.

    Raises ProjectError.
    """
    try:
        with closing(_open(path, "ro")) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as problem:
        raise explain(problem, path) from problem


def explain(problem: sqlite3.Error, path: Path) -> ProjectError:
    """What an SQLite error means for the person whose file it is."""
    text = str(problem)
    if "full" in text:
        return ProjectError(
            f"The disk is full: {path.name} could not be written. What was there half a second ago is safe. "
            "Free some space and go on with: masklet resume " + path.name
        )
    if "locked" in text:
        return ProjectInUseError(f"{path.name} is in use by another program. Close it there first.")
    if "readonly" in text or "unable to open" in text:
        return ProjectError(
            f"Can't write {path}: the file or its folder is read-only. "
            "Copy the project to a folder that can be written."
        )
    if "malformed" in text or "not a database" in text or "corrupt" in text:
        return ProjectError(f"{path} is damaged ({text}). Restore it from a backup.")
    if "disk I/O" in text:
        return ProjectError(
            f"The disk failed while {path.name} was written or read ({text}). It may be full, or gone. "
            "What was there half a second ago is safe."
        )
    return ProjectError(f"{path} can't be used: {text}.")


def _tidy(path: Path) -> None:
    """Removes the empty side files that reading leaves; SQLite does, unless somebody else has the project open."""
    log = path.with_name(path.name + "-wal")
    with suppress(OSError, sqlite3.Error):
        if not log.stat().st_size:
            with closing(_open(path, "rw")) as connection:
                connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5.0,
    )
    connection.row_factory = sqlite3.Row
    # Nothing that a stranger's file says may run or reach other files.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
