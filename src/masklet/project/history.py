"""Undo and redo of everything a user does, masks included.

A step holds, for each row it touched, the version that is not in the tables: the old one while the step is
done, the new one while it is undone. Undoing and redoing are therefore the same act, a swap. Steps are data;
no SQL is kept in the file.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masklet.errors import InputError, ProjectError
from masklet.project.database import Database
from masklet.project.records import ProjectObject, PromptRecord, dumps, loads, mask_from_row, mask_row

STEPS_KEPT = 200

_KEYS = {"object": ("id",), "prompt": ("id",), "mask": ("object_id", "frame"), "setting": ("key",)}


@dataclass(frozen=True)
class HistoryStep:
    """One edit as the user sees it; `created` is in seconds since 1970."""

    id: int
    label: str
    created: float
    undone: bool


class History:
    """Writes rows and remembers what they replaced. Every method must be called inside `Database.writing`."""

    def __init__(self, database: Database, size: tuple[int, int]) -> None:
        self._database = database
        self._size = size

    def begin(self, label: str) -> int:
        """Starts a step and returns its number. What was undone before can't be redone any more."""
        self._database.execute("DELETE FROM step WHERE undone = 1")
        step = self._database.execute(
            "INSERT INTO step (label, created, undone) VALUES (?, ?, 0)", (label, time.time())
        )
        self._database.execute("DELETE FROM step WHERE id <= ?", (step - STEPS_KEPT,))
        return step

    def discard_if_empty(self, step: int) -> None:
        """Forgets a step that changed nothing."""
        self._database.execute(
            "DELETE FROM step WHERE id = ? AND NOT EXISTS (SELECT 1 FROM change WHERE step_id = step.id)",
            (step,),
        )

    def newest(self) -> int | None:
        """Number of the last step, done or undone; None when there is none."""
        return self._database.query("SELECT max(id) FROM step")[0][0]

    def steps(self) -> list[HistoryStep]:
        """All steps that are remembered, oldest first."""
        rows = self._database.query("SELECT id, label, created, undone FROM step ORDER BY id")
        return [
            HistoryStep(number, str(label), float(created), bool(undone)) for number, label, created, undone in rows
        ]

    def put(self, step: int, table: str, row: Mapping[str, Any]) -> None:
        """Writes a row over the one with its key."""
        self._remember(step, table, [row[column] for column in _KEYS[table]])
        self._write(table, row)

    def delete(self, step: int, table: str, key: Sequence[Any]) -> None:
        """Removes the row with this key, if there is one."""
        self._remember(step, table, key)
        self._remove(table, key)

    def swap(self, step: int) -> None:
        """Undoes a step that is done, or redoes one that is undone."""
        changes = self._database.query("SELECT table_name, key, row FROM change WHERE step_id = ?", (step,))
        for table, key_text, row_text in changes:
            if table not in _KEYS:
                raise ProjectError(f"The history of this project is damaged: it names a table {table!r:.40}.")
            key = loads(key_text, list)
            if len(key) != len(_KEYS[table]):
                raise ProjectError(f"The history of this project is damaged: key {key_text!r:.40} of {table}.")
            current = self._read(table, key)
            if row_text is None:
                self._remove(table, key)
            else:
                self._write(table, self._checked(table, key, loads(row_text, dict)))
            self._database.execute(
                "UPDATE change SET row = ? WHERE step_id = ? AND table_name = ? AND key = ?",
                (None if current is None else dumps(current), step, table, key_text),
            )
        self._database.execute("UPDATE step SET undone = 1 - undone WHERE id = ?", (step,))

    def before(self, step: int, table: str, key: Sequence[Any]) -> dict[str, Any] | None:
        """The row with this key as it was before a step and all that are done since, or None where there was none."""
        rows = self._database.query(
            "SELECT row FROM step CROSS JOIN change ON step_id = step.id AND table_name = ? AND key = ? "
            "WHERE step.id >= ? AND NOT undone ORDER BY step.id LIMIT 1",
            (table, dumps(list(key)), step),
        )
        if not rows:
            return self._read(table, key)
        return None if rows[0][0] is None else loads(rows[0][0], dict)

    def _remember(self, step: int, table: str, key: Sequence[Any]) -> None:
        current = self._read(table, key)
        self._database.execute(
            "INSERT OR IGNORE INTO change (step_id, table_name, key, row) VALUES (?, ?, ?, ?)",
            (step, table, dumps(list(key)), None if current is None else dumps(current)),
        )

    def _read(self, table: str, key: Sequence[Any]) -> dict[str, Any] | None:
        rows = self._database.query(f"SELECT * FROM {table} WHERE {_where(table)}", key)
        return dict(rows[0]) if rows else None

    def _write(self, table: str, row: Mapping[str, Any]) -> None:
        self._database.execute(
            f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
        )

    def _remove(self, table: str, key: Sequence[Any]) -> None:
        self._database.execute(f"DELETE FROM {table} WHERE {_where(table)}", key)

    def _checked(self, table: str, key: Sequence[Any], row: dict[str, Any]) -> Mapping[str, Any]:
        """A row out of the history, made anew: neither its values nor its columns are believed."""
        try:
            if table == "object":
                row = ProjectObject.from_row(row).row()
            elif table == "prompt":
                row = PromptRecord.from_row(row).row()
            elif table == "mask":
                row = mask_row(mask_from_row(row, self._size))
            else:
                row = {"key": row["key"], "value": row["value"]}
                if not all(isinstance(value, str) for value in row.values()):
                    raise InputError("a setting is not text")
        except (InputError, KeyError, TypeError, ValueError) as problem:
            raise ProjectError(f"The history of this project is damaged: {problem}") from problem
        if [row[column] for column in _KEYS[table]] != list(key):
            raise ProjectError("The history of this project is damaged: a row has another key than its step says.")
        return row


def _where(table: str) -> str:
    return " AND ".join(f"{column} = ?" for column in _KEYS[table])
