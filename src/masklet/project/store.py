"""`Project`: read and edit one saved session."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError, ProjectError, UnknownObjectError
from masklet.masks import palette, rle
from masklet.masks.settings import MaskSettings
from masklet.project.database import Database
from masklet.project.file import ProjectFile, sound
from masklet.project.history import History, HistoryStep
from masklet.project.lock import ProjectLock
from masklet.project.records import (
    ProjectObject,
    PromptRecord,
    TrackSettings,
    dumps,
    explanation_from,
    loads,
    mask_from_row,
    mask_row,
    parse,
)
from masklet.project.run import Asked, TrackingRun
from masklet.prompts import Prompt, prompts_after
from masklet.results import Explanation, ObjectMask, found_again

_MASK_COLUMNS = (
    "object_id, frame, counts, object_score, predicted_iou, motion_score, candidate, lost, is_prompt, painted"
)
_CHUNK = 256  # frames read at a time, so that a long video's masks are never in memory together


class Project(ProjectFile):
    """A saved session: one SQLite file, written as work goes on.

    Every edit is one step of undo and redo and is durable when the call returns. Methods may be called from several
    threads. Frames count from 0; coordinates are pixels of the source frame.
    """

    def __init__(self, path: Path, database: Database, lock: ProjectLock | None) -> None:
        """Use `Project.create` or `Project.open`."""
        super().__init__(path, database, lock)
        self._history = History(database, self.source.size)
        self._step: int | None = None
        self.recording = False

    # Objects

    def objects(self) -> list[ProjectObject]:
        """All objects in the order that the user gave them."""
        rows = self._database.query("SELECT * FROM object ORDER BY position, id")
        return [sound(ProjectObject.from_row, row) for row in rows]

    def get_object(self, object_id: int) -> ProjectObject:
        """One object. Raises UnknownObjectError."""
        found = next((known for known in self.objects() if known.id == object_id), None)
        return found or self.find_objects([object_id])[0]

    def unlocked(self, object_id: int) -> ProjectObject:
        """An object whose masks may be changed. Raises UnknownObjectError, and InputError for one that is locked."""
        found = self.get_object(object_id)
        if found.locked:
            raise InputError(f"{found.name} is locked: unlock it to change its masks.")
        return found

    def find_objects(self, wanted: Iterable[int | str]) -> list[ProjectObject]:
        """Objects by id or name, in the project's order; a name means all that have it. Raises UnknownObjectError."""
        there, chosen = self.objects(), set()
        for want in wanted:
            found = {known.id for known in there if want == known.name or str(known.id) == str(want).strip()}
            if not found:
                names = ", ".join(f"{known.id} ({known.name})" for known in there) or "none"
                raise UnknownObjectError(f"There is no object {want!r} in {self.path.name}; its objects are: {names}.")
            chosen |= found
        return [known for known in there if known.id in chosen]

    def add_object(
        self, object_id: int | None = None, name: str | None = None, color: tuple[int, int, int] | None = None
    ) -> ProjectObject:
        """A new object. Ids of removed objects are not given out again. Raises InputError for a used id."""
        with self.edit("Add object"):
            there = self.objects()
            if object_id is None:
                object_id = self._next_object_id(there)
            elif any(candidate.id == object_id for candidate in there):
                raise InputError(f"There is an object {object_id} already.")
            made = ProjectObject(
                id=object_id,
                name=name if name is not None else f"object {object_id}",
                color=color if color is not None else palette.color(object_id),
                position=max((candidate.position for candidate in there), default=-1) + 1,
            )
            self._put("object", made.row())
            self._set_meta("next_object_id", max(object_id + 1, self._next_object_id(there)))
            return made

    def update_object(self, object_id: int, **changes: Any) -> ProjectObject:
        """Changes fields of an object (all but its id, see `ProjectObject`) and returns it."""
        unknown = set(changes) - {known.name for known in fields(ProjectObject)} | set(changes) & {"id"}
        if unknown:
            raise InputError(f"An object has no {', '.join(sorted(unknown))} that could be changed.")
        with self.edit("Change object"):
            if changes.get("mask_settings") is not None:
                MaskSettings.from_dict(changes["mask_settings"])
            changed = replace(self.get_object(object_id), **changes)
            self._put("object", changed.row())
            return changed

    def remove_object(self, object_id: int) -> None:
        """Removes an object with its prompts and masks. Raises UnknownObjectError."""
        with self.edit("Remove object"):
            self.get_object(object_id)
            self.clear_prompts(object_id=object_id)
            self.clear_masks(object_id)
            self._delete("object", [object_id])
            self.finish_run()

    # Prompts

    def prompts(self, frame: int | None = None, object_id: int | None = None) -> list[PromptRecord]:
        """Prompts in the order in which they were made, of all or of one frame and object."""
        rows = self._database.query(
            "SELECT * FROM prompt WHERE (?1 IS NULL OR frame = ?1) AND (?2 IS NULL OR object_id = ?2) ORDER BY id",
            (frame, object_id),
        )
        return [sound(PromptRecord.from_row, row) for row in rows]

    def said(self, object_id: int | None = None) -> dict[tuple[int, int], tuple[Prompt, ...]]:
        """What is said about one object or all: the prompts of every (frame, object id), first said first."""
        said: dict[tuple[int, int], tuple[Prompt, ...]] = {}
        for kept in self.prompts(object_id=object_id):
            place = kept.frame, kept.object_id
            said[place] = (*said.get(place, ()), kept.prompt)
        return said

    def add_prompt(
        self,
        frame: int,
        object_id: int,
        *,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: np.ndarray | Mapping[str, Any] | None = None,
        clear_old: bool = True,
    ) -> tuple[Prompt, ...]:
        """Keeps a prompt: instead of earlier ones of this frame and object, or (`clear_old` off) as a correction of
        what the frame shows (see `masklet.prompts.prompts_after`). Returns what is said there now.

        Labels default to 1 (on the object). `mask` is boolean (height, width) or run lengths, of the source's size. An
        object that isn't there yet is made.

        Raises PromptError for a prompt that doesn't fit the source, InputError for a frame outside the video.
        """
        self._check_frame(frame)
        source = self.source
        new = Prompt.make(points, labels, box, mask, width=source.width, height=source.height)
        with self.edit("Add prompt"):
            prompts = (new,) if clear_old else self.prompts_after(frame, object_id, new)
            self.set_prompts(frame, object_id, prompts)
            return prompts

    def prompts_after(self, frame: int, object_id: int, new: Prompt) -> tuple[Prompt, ...]:
        """What would be said about an object on a frame with `new`, as a correction of what the frame shows of it."""
        self._check_frame(frame)
        there = tuple(kept.prompt for kept in self.prompts(frame, object_id))
        return prompts_after(there, self.mask(frame, object_id), new)

    def say(self, label: str, prompts: Sequence[Prompt], mask: ObjectMask, step: int | None = None) -> None:
        """Keeps just these prompts about an object on a frame, and the mask that they give, as one step of undo (see
        `edit`). Raises what `add_prompt` does.
        """
        with self.edit(label, step):
            self.set_prompts(mask.frame, mask.object_id, prompts)
            self.put_masks([mask])

    def set_prompts(self, frame: int, object_id: int, prompts: Sequence[Prompt]) -> None:
        """Keeps just these prompts about an object on a frame; those that it begins with already stay as they are.

        An object that isn't there yet is made. Raises what `add_prompt` does.
        """
        self._check_frame(frame)
        prompts = [prompt.fitted(self.source.width, self.source.height) for prompt in prompts]
        with self.edit("Change prompts"):
            if not any(candidate.id == object_id for candidate in self.objects()):
                self.add_object(object_id)
            assert self._step is not None
            if self._write_prompts(self._step, frame, object_id, prompts):
                self._prompts_changed(frame, object_id)

    def clear_prompts(self, frame: int | None = None, object_id: int | None = None) -> int:
        """Removes prompts of a frame, an object, or both, and returns how many there were."""
        with self.edit("Clear prompts"):
            found = self.prompts(frame, object_id)
            for prompt in found:
                self._delete("prompt", [prompt.id])
            for place in {(prompt.frame, prompt.object_id) for prompt in found}:
                self._prompts_changed(*place)
            return len(found)

    # Masks

    def mask(self, frame: int, object_id: int) -> ObjectMask | None:
        """The mask of an object on a frame; None where it wasn't tracked."""
        rows = self._database.query(
            f"SELECT {_MASK_COLUMNS} FROM mask WHERE frame = ? AND object_id = ?", (frame, object_id)
        )
        return self._mask_record(rows[0]) if rows else None

    def masks(
        self, object_ids: Sequence[int] | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[ObjectMask]:
        """Masks by rising frame, then object id, of frames from `start` to before `stop`."""
        for _, records in self.frames(object_ids, start, stop):
            yield from records.values()

    def frames(
        self, object_ids: Sequence[int] | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, dict[int, ObjectMask]]]:
        """(frame, {object id: mask}) of every frame that has a mask, by rising frame."""
        stop = self.source.frame_count if stop is None else min(stop, self.source.frame_count)
        wanted = None if object_ids is None else set(object_ids)
        for begin in range(max(start, 0), stop, _CHUNK):
            rows = self._database.query(
                f"SELECT {_MASK_COLUMNS} FROM mask WHERE frame >= ? AND frame < ? ORDER BY frame, object_id",
                (begin, min(begin + _CHUNK, stop)),
            )
            together: dict[int, dict[int, ObjectMask]] = {}
            for row in rows:
                if wanted is None or row["object_id"] in wanted:
                    together.setdefault(row["frame"], {})[row["object_id"]] = self._mask_record(row)
            yield from together.items()

    def tracked_frames(self, object_id: int) -> list[int]:
        """Frames on which this object has a mask (empty ones too), rising."""
        rows = self._database.query("SELECT frame FROM mask WHERE object_id = ? ORDER BY frame", (object_id,))
        return [row[0] for row in rows]

    def scores(self, object_id: int) -> list[dict[str, Any]]:
        """What a timeline shows, without unpacking masks: a dict for every tracked frame, rising, with
        frame, object_score, predicted_iou, motion_score, lost, is_prompt, painted, empty and found_again.
        """
        flags = ("lost", "is_prompt", "painted", "empty")
        nothing = rle.encode(np.zeros(self.source.size, np.bool_))["counts"]
        rows = self._database.query(
            "SELECT frame, object_score, predicted_iou, motion_score, lost, is_prompt, painted, counts = ? AS empty "
            "FROM mask WHERE object_id = ? ORDER BY frame",
            (nothing, object_id),
        )
        back = found_again({row["frame"]: bool(row["lost"]) for row in rows})
        return [
            {**dict(row), **{flag: bool(row[flag]) for flag in flags}, "found_again": row["frame"] in back}
            for row in rows
        ]

    def digest(self) -> str:
        """Another one whenever something is different that exports show: masks, objects, prompts, how masks are
        finished.
        """
        made = hashlib.blake2b(digest_size=16)
        for kept in (self.mask_settings, *self.objects(), *self.prompts()):
            made.update(f"{kept}\n".encode())
        for mask in self.masks():
            made.update(f"{mask}\n".encode())
        return made.hexdigest()

    def explanation(self, frame: int, object_id: int) -> Explanation | None:
        """Why the mask of an object on a frame looks as it does, where that is known."""
        rows = self._database.query(
            "SELECT explanation FROM mask WHERE frame = ? AND object_id = ?", (frame, object_id)
        )
        return None if not rows or rows[0][0] is None else sound(explanation_from, rows[0][0])

    def explanations(self, object_id: int) -> dict[int, Explanation]:
        """Those of all frames of an object, by frame, where they are known."""
        rows = self._database.query(
            "SELECT frame, explanation FROM mask WHERE object_id = ? AND explanation IS NOT NULL", (object_id,)
        )
        return {frame: sound(lambda row: explanation_from(row["why"]), {"why": kept}) for frame, kept in rows}

    def put_masks(self, records: Sequence[ObjectMask]) -> None:
        """Writes masks over those of the same frame and object. Raises InputError where sizes or frames don't
        fit.
        """
        with self.edit("Change masks"):
            for record in records:
                self._check_mask(record)
                self._put("mask", mask_row(record))

    def mask_before(self, step: int, frame: int, object_id: int) -> ObjectMask | None:
        """The mask of an object on a frame as it was before a step of the history and all that are done since."""
        with self._mutex:
            row = self._history.before(step, "mask", [object_id, frame])
        return None if row is None else sound(lambda given: mask_from_row(given, self.source.size), row)

    def clear_masks(self, object_id: int, start: int = 0, stop: int | None = None) -> int:
        """Removes masks of an object from frame `start` to before `stop`, and returns how many there were."""
        stop = self.source.frame_count if stop is None else stop
        with self.edit("Clear masks"):
            rows = self._database.query(
                "SELECT frame FROM mask WHERE object_id = ? AND frame >= ? AND frame < ?",
                (object_id, start, stop),
            )
            for (frame,) in rows:
                self._delete("mask", [object_id, frame])
            return len(rows)

    # Settings

    @property
    def track_settings(self) -> TrackSettings:
        """How the masks of this project are made."""
        text = self._setting("track")
        return TrackSettings() if text is None else parse(TrackSettings, text, "tracking settings")

    def set_track_settings(self, settings: TrackSettings) -> None:
        """Changes model, policy, resolution or number format for tracking from now on."""
        with self.edit("Change tracking settings"):
            if settings != self.track_settings:
                self._put("setting", {"key": "track", "value": settings.model_dump_json()})
                self.finish_run()

    def note_model(self, name: str) -> None:
        """Keeps which model the file `track_settings.checkpoint` turned out to be. That is no edit: nothing changes."""
        if name != self.track_settings.model and not self.read_only:
            text = self.track_settings.model_copy(update={"model": name}).model_dump_json()
            with self._database.writing():
                self._database.execute("UPDATE setting SET value = ? WHERE key = 'track'", (text,))

    @property
    def mask_settings(self) -> dict[str, Any]:
        """How masks are finished where an object has no settings of its own (fields of `MaskSettings`)."""
        text = self._setting("masks")
        return {} if text is None else loads(text, dict)

    def set_mask_settings(self, settings: Mapping[str, Any]) -> None:
        """Changes how masks are finished; the stored masks stay as they are. Raises InputError for bad settings."""
        MaskSettings.from_dict(settings)
        with self.edit("Change mask settings"):
            self._put("setting", {"key": "masks", "value": dumps(dict(settings))})

    def settings_of(self, object_: int | ProjectObject) -> MaskSettings:
        """How the masks of one object are finished: its own settings over those of the project.

        Raises UnknownObjectError for an id that isn't there; an object that was read may have gone since.
        """
        known = self.get_object(object_) if isinstance(object_, int) else object_
        try:
            return MaskSettings.from_dict({**self.mask_settings, **(known.mask_settings or {})})
        except InputError as problem:
            raise ProjectError(f"The mask settings of object {known.id} can't be used: {problem}") from problem

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """What was said about masks that were reviewed (fields of `masklet.project.review.Reviewed`), oldest first."""
        text = self._setting("review")
        return [] if text is None else loads(text, list)

    def set_verdicts(self, verdicts: Sequence[Mapping[str, Any]]) -> None:
        """Keeps these verdicts in place of all others."""
        with self.edit("Review"):
            self._put("setting", {"key": "review", "value": dumps(list(verdicts))})

    # History

    @contextmanager
    def edit(self, label: str, step: int | None = None) -> Iterator[None]:
        """Groups edits into one step of undo: all or nothing, durable at the end. Inside another one it joins
        that. `step` is one of `begin_step` that the edits belong to, unless there were others since.

        with project.edit("Add the dog"):
            dog = project.add_object(name="dog")
            project.add_prompt(0, dog.id, points=[(320, 240)])
        """
        with self._mutex:
            if self._step is not None:
                yield
                return
            with self._database.writing():
                goes_on = step is not None and self._history.newest() == step
                self._step = mine = step if goes_on and step is not None else self._history.begin(label)
                try:
                    yield
                    if not goes_on:
                        self._history.discard_if_empty(mine)
                finally:
                    self._step = None

    def history(self) -> list[HistoryStep]:
        """Steps that can be undone and, after them, those that can be redone; oldest first."""
        return self._history.steps()

    def undo(self) -> str | None:
        """Takes the last step back and returns its label, or None when there is nothing to undo."""
        return self._swap(undone=False)

    def redo(self) -> str | None:
        """Does again what was undone last and returns its label, or None when there is nothing to redo."""
        return self._swap(undone=True)

    def _swap(self, undone: bool) -> str | None:
        with self._mutex:
            if self.recording:
                raise ProjectError("Tracking is writing to this project. Stop it before undoing or redoing.")
            with self._database.writing():
                steps = [step for step in self._history.steps() if step.undone is undone]
                if not steps:
                    return None
                step = steps[0 if undone else -1]
                self._history.swap(step.id)
                self.finish_run()
            return step.label

    # The run that is going on or was interrupted

    @property
    def run(self) -> TrackingRun | None:
        """The tracking run that is not finished, if there is one."""
        rows = self._database.query("SELECT data, undo_step FROM run")
        if not rows:
            return None
        return parse(TrackingRun, rows[0][0], "unfinished run").model_copy(update={"undo_step": rows[0][1]})

    @property
    def asked(self) -> Asked | None:
        """Which frames were asked to be tracked last; None where nothing was tracked yet."""
        text = self._setting("asked")
        return None if text is None else parse(Asked, text, "range to track")

    def note_asked(self, asked: Asked) -> None:
        """Keeps what was asked to be tracked. That is no edit: nothing takes it back."""
        with self._database.writing():
            value = asked.model_dump_json()
            self._database.execute("INSERT OR REPLACE INTO setting (key, value) VALUES ('asked', ?)", (value,))

    @property
    def tracker_state(self) -> dict[int, bytes]:
        """What the tracker needs to go on exactly at the place of `run`, in parts (see `masklet.tracking.state`)."""
        rows = self._database.query("SELECT part, data FROM tracker_state ORDER BY part")
        return {part: bytes(data) for part, data in rows if isinstance(data, bytes)}

    def begin_run(self, run: TrackingRun, state: Mapping[int, bytes], step: int | None = None) -> TrackingRun:
        """Keeps a run that begins or goes on, in place of any other, and returns it as it is kept.

        `step` is the step of undo that it began with, if it goes on: what it replaces is what was there before that.
        """
        with self._mutex, self._database.writing():
            step = step or self._history.begin(run.label)
            run = run.model_copy(update={"undo_step": step})
            self._write_run(run, state)
            return run

    def record_run(
        self,
        run: TrackingRun,
        step: int,
        records: Sequence[ObjectMask] = (),
        resolved: Mapping[int, Sequence[Prompt]] | None = None,
        state: Mapping[int, bytes] | None = None,
    ) -> int | None:
        """Writes what a run found (see `record_masks`) and, with `state`, where it stands: all of it or nothing.

        `state` is the tracker's state at `run.place`; the one is never written without the other. Returns the step of
        undo that the masks belong to; None where an edit ended the run, which writes nothing.
        """
        with self._mutex, self._database.writing(durable=False):
            if not self._goes_on(run):
                return None
            step = self.record_masks(step, run.label, records, resolved)
            if state is not None:
                self._write_run(run, state)
            return step

    def finish_run(self, run: TrackingRun | None = None) -> None:
        """Forgets the run that is kept: it is done, or what it was based on has changed. With `run`, only that one."""
        with self._mutex, self._database.writing():
            if run is None or self._goes_on(run):
                self._database.execute("DELETE FROM run")
                self._database.execute("DELETE FROM tracker_state")

    def begin_step(self, label: str) -> int:
        """A step of undo that goes on over many commits, for `record_masks`."""
        with self._mutex, self._database.writing():
            return self._history.begin(label)

    def record_masks(
        self,
        step: int,
        label: str,
        records: Sequence[ObjectMask],
        resolved: Mapping[int, Sequence[Prompt]] | None = None,
        durable: bool = False,
    ) -> int:
        """Writes tracked masks, except over locked objects, painted frames and what a prompt decided; durable within
        half a second. `resolved` are the prompts, by object, that had waited for the mask of this frame.

        Returns the step that they belong to: `step`, or a new one when the user made another edit meanwhile.
        """
        with self._mutex, self._database.writing(durable):
            if self._history.newest() != step:
                step = self._history.begin(label)
            for record in records:
                self._check_mask(record)
                # Locked objects stay as they are, and so do those that were removed while they were tracked.
                free = self._database.query(
                    "SELECT 1 FROM object WHERE id = ?1 AND NOT locked AND NOT EXISTS (SELECT 1 FROM mask "
                    "WHERE object_id = ?1 AND frame = ?2 AND (painted OR is_prompt))",
                    (record.object_id, record.frame),
                )
                if not free:
                    continue
                self._history.put(step, "mask", mask_row(record))
                if resolved and record.object_id in resolved:
                    self._write_prompts(step, record.frame, record.object_id, resolved[record.object_id])
            return step

    def end_step(self, step: int) -> None:
        """Closes a step of `begin_step`; one that changed nothing is forgotten, unless a run still writes to it."""
        with self._mutex, self._database.writing():
            if self.run is None:
                self._history.discard_if_empty(step)

    def flush(self) -> None:
        """Makes everything written so far durable now."""
        self._database.commit()

    # Insides

    def _goes_on(self, run: TrackingRun) -> bool:
        return bool(self._database.query("SELECT 1 FROM run WHERE undo_step = ?", (run.undo_step,)))

    def _write_run(self, run: TrackingRun, state: Mapping[int, bytes]) -> None:
        write = self._database.execute
        text = run.model_dump_json(exclude={"undo_step"})
        write("INSERT OR REPLACE INTO run (id, data, undo_step) VALUES (1, ?, ?)", (text, run.undo_step))
        for (part,) in self._database.query("SELECT part FROM tracker_state"):
            if part not in state:
                write("DELETE FROM tracker_state WHERE part = ?", (part,))
        for part, data in state.items():
            write(
                "INSERT INTO tracker_state (part, data) VALUES (?, ?) "
                "ON CONFLICT (part) DO UPDATE SET data = excluded.data WHERE data <> excluded.data",
                (part, data),
            )

    def _put(self, table: str, row: Mapping[str, Any]) -> None:
        assert self._step is not None
        self._history.put(self._step, table, row)

    def _delete(self, table: str, key: Sequence[Any]) -> None:
        assert self._step is not None
        self._history.delete(self._step, table, key)

    def _write_prompts(self, step: int, frame: int, object_id: int, prompts: Sequence[Prompt]) -> bool:
        """Puts prompts in the place of those that differ; whether there were any."""
        there = self.prompts(frame, object_id)
        same = len(list(takewhile(lambda pair: pair[0].prompt == pair[1], zip(there, prompts, strict=False))))
        for kept in there[same:]:
            self._history.delete(step, "prompt", [kept.id])
        for prompt in prompts[same:]:
            number = (self._database.query("SELECT max(id) FROM prompt")[0][0] or 0) + 1
            self._history.put(step, "prompt", PromptRecord(number, frame, object_id, prompt).row())
        return bool(there[same:] or prompts[same:])

    def _prompts_changed(self, frame: int, object_id: int) -> None:
        # A run of this object would go on from what is no longer said.
        run = self.run
        if run is not None and any(object_id in leg.object_ids for leg in run.legs):
            self.finish_run()
        before = self.mask(frame, object_id)
        if before is not None and before.is_prompt:
            self._put("mask", mask_row(replace(before, is_prompt=False)))

    def _mask_record(self, row: Any) -> ObjectMask:
        return sound(lambda given: mask_from_row(given, self.source.size), dict(row))

    def _check_mask(self, record: ObjectMask) -> None:
        self._check_frame(record.frame)
        if tuple(record.size) != self.source.size:
            raise InputError(
                f"The mask of object {record.object_id} is {record.size[1]}x{record.size[0]}, "
                f"but the source is {self.source.width}x{self.source.height}."
            )

    def _check_frame(self, frame: int) -> None:
        if isinstance(frame, bool) or not 0 <= frame < self.source.frame_count:
            raise InputError(f"There is no frame {frame}: the source has frames 0 to {self.source.frame_count - 1}.")

    def _next_object_id(self, there: Sequence[ProjectObject]) -> int:
        rows = self._database.query("SELECT value FROM meta WHERE key = 'next_object_id'")
        kept = int(rows[0][0]) if rows and str(rows[0][0]).isdigit() else 1
        return max([kept, *(candidate.id + 1 for candidate in there)])
