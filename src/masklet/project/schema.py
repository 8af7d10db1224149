"""The tables of a project file, version by version.

A new file is made by running every script in turn, an older one by running those it has not seen, so both end
with the same tables to the letter. That makes it possible to refuse a file whose schema says anything else:
triggers, views or virtual tables in a file from a stranger would run inside SQLite.
"""

from __future__ import annotations

import sqlite3
from functools import cache

from masklet.errors import ProjectError

APPLICATION_ID = 0x6D736B6C  # "mskl"

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE source (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    path TEXT NOT NULL,
    relative_path TEXT,
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    frame_count INTEGER NOT NULL,
    rate TEXT NOT NULL,
    pixel_aspect TEXT NOT NULL,
    has_audio INTEGER NOT NULL,
    tick TEXT,
    times BLOB
);
CREATE TABLE object (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    color INTEGER NOT NULL,
    visible INTEGER NOT NULL,
    locked INTEGER NOT NULL,
    position INTEGER NOT NULL,
    mask_settings TEXT
);
CREATE TABLE prompt (
    id INTEGER PRIMARY KEY,
    frame INTEGER NOT NULL,
    object_id INTEGER NOT NULL REFERENCES object (id) DEFERRABLE INITIALLY DEFERRED,
    data TEXT NOT NULL
);
CREATE INDEX prompt_by_place ON prompt (object_id, frame);
CREATE TABLE mask (
    object_id INTEGER NOT NULL REFERENCES object (id) DEFERRABLE INITIALLY DEFERRED,
    frame INTEGER NOT NULL,
    counts TEXT NOT NULL,
    object_score REAL,
    predicted_iou REAL,
    motion_score REAL,
    candidate INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    is_prompt INTEGER NOT NULL,
    PRIMARY KEY (object_id, frame)
);
CREATE INDEX mask_by_frame ON mask (frame);
CREATE TABLE setting (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE step (
    id INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    created REAL NOT NULL,
    undone INTEGER NOT NULL
);
CREATE TABLE change (
    step_id INTEGER NOT NULL REFERENCES step (id) ON DELETE CASCADE,
    table_name TEXT NOT NULL,
    key TEXT NOT NULL,
    row TEXT,
    PRIMARY KEY (step_id, table_name, key)
);
"""

# Runs that can be gone on with after a crash, and masks painted by hand, which tracking never touches.
_VERSION_2 = """
ALTER TABLE mask ADD COLUMN painted INTEGER NOT NULL DEFAULT 0;
CREATE TABLE run (id INTEGER PRIMARY KEY CHECK (id = 1), data TEXT NOT NULL);
CREATE TABLE tracker_state (id INTEGER PRIMARY KEY CHECK (id = 1), data BLOB NOT NULL);
"""

# Why each mask looks as it does: what the policy saw and chose from.
_VERSION_3 = """
ALTER TABLE mask ADD COLUMN explanation TEXT;
"""

# The tracker's state in parts: what SQLite takes at once is limited, and what did not change is not written again.
# Older states did not always belong to the place that was kept with them, so a run without one begins again.
_VERSION_4 = """
ALTER TABLE run ADD COLUMN undo_step INTEGER NOT NULL DEFAULT 0;
DROP TABLE tracker_state;
CREATE TABLE tracker_state (part INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""

# What data sets say of an object beside its name.
_VERSION_5 = """
ALTER TABLE object ADD COLUMN category TEXT;
ALTER TABLE object ADD COLUMN attributes TEXT;
"""

SCRIPTS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
VERSION = len(SCRIPTS)


def build(connection: sqlite3.Connection, version: int = VERSION) -> None:
    """Makes the tables of a new file, inside the transaction that is open."""
    _run(connection, 0, version)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings an older file's tables up to date, inside the transaction that is open."""
    _run(connection, version_of(connection), VERSION)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables in this file; 0 for a file without tables."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection, name: str) -> int:
    """The file's version, once its tables turned out to be exactly those that masklet makes.

    Raises ProjectError for a database of another program, a newer version, and tables that differ.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ProjectError(f"{name} is a database of another program, not a masklet project.")
    version = version_of(connection)
    if version > VERSION:
        raise ProjectError(
            f"{name} was made by a newer masklet: project version {version}, this one knows {VERSION}. "
            "Update masklet: pip install --upgrade masklet"
        )
    if version < 1 or _tables(connection) != _expected(version):
        raise ProjectError(
            f"{name} has other tables than a masklet project of version {version}. "
            "It was changed by another program, so it is not opened."
        )
    return version


def _run(connection: sqlite3.Connection, since: int, until: int) -> None:
    for script in SCRIPTS[since:until]:
        for statement in script.split(";"):  # executescript would commit the transaction
            if statement.strip():
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {until}")


def _tables(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str, str | None]]:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    return frozenset(map(tuple, rows))


@cache
def _expected(version: int) -> frozenset[tuple[str, str, str, str | None]]:
    connection = sqlite3.connect(":memory:")
    try:
        build(connection, version)
        return _tables(connection)
    finally:
        connection.close()
