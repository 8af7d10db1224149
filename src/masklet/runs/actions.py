"""Tracking that is kept in a project: begun, stopped and gone on with, and corrected.

Masks are in the file half a second after they were found, and with them what the tracker needs to go on: a run that was
killed gives the masks that it would have given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError, ProjectError
from masklet.masks.settings import MaskSettings
from masklet.media import MediaReader, open_media, parse_position
from masklet.models.specs import get_spec
from masklet.project.records import TrackSettings
from masklet.project.run import Asked, Leg, RunPlace, TrackingRun
from masklet.runs.engine import Action, Progress, Runner, RunStep, RunSteps, Stopped, carry_out
from masklet.runs.objects import TrackedObject, collect_objects, objects_of
from masklet.runs.plan import legs_left, make_legs, moved_to, ways
from masklet.runs.request import (
    DEFAULT_DIRECTION,
    ObjectReport,
    RunReport,
    TrackRequest,
)
from masklet.runs.sessions import add_prompts, lead_in, open_session, prompt_steps, restore
from masklet.settings import DEFAULT_MODEL, check_shape
from masklet.tracking.policies import make_policy

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking.session import Session


@dataclass(frozen=True)
class Plan:
    """What `masklet track` was asked for, checked against the video before a model is fetched or anything written."""

    settings: TrackSettings
    objects: list[TrackedObject]
    asked: Asked


def make_plan(request: TrackRequest, reader: MediaReader) -> Plan:
    """Raises MaskletError for what can't be used."""
    settings = settings_of(request)
    kept, place = places_of(request, reader)
    direction = request.direction or DEFAULT_DIRECTION
    if not request.prompts:
        raise InputError(
            "say what to track: a point on it (--point 640,300), a box around it (--box 153,219,571,558) or a "
            "picture of its mask (--mask first.png)"
        )
    objects = collect_objects(request.prompts, reader, place)
    make_legs(objects, kept, direction)
    return Plan(settings, objects, Asked(first=kept[0], last=kept[-1], direction=direction))


def places_of(request: TrackRequest, reader: MediaReader) -> tuple[range, int]:
    """The frames that a request keeps, and where its prompts belong that name no frame.

    Raises InputError for positions that aren't in the video, or in the wrong order.
    """
    first, last = (parse_position(text, reader) for text in (request.start or "0", request.end or "last"))
    kept = frames_between(first, last)
    if request.frame is not None:
        return kept, parse_position(request.frame, reader)
    return kept, last if request.direction == "backward" else first


def settings_of(request: TrackRequest, before: TrackSettings | None = None) -> TrackSettings:
    """The settings that a request asks for; what it leaves open is as `before`.

    Raises InputError for what model, policy or mask settings can't take.
    """
    settings = before or TrackSettings()
    asked = {name: getattr(request, name) for name in ("resolution", "dtype", "shape", "zoom")}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if request.model is not None or request.checkpoint is not None:
        checkpoint = None if request.checkpoint is None else str(request.checkpoint.absolute())
        given = {"resolution": None, "dtype": None, **given, "checkpoint": checkpoint}
        same = checkpoint is not None and checkpoint == settings.checkpoint
        given["model"] = request.model or (settings.model if same else DEFAULT_MODEL)
    if request.policy in (None, settings.policy):
        given["policy_options"] = {**settings.policy_options, **request.policy_settings}
    else:
        given |= {"policy": request.policy, "policy_options": dict(request.policy_settings)}
    settings = settings.model_copy(update=given)
    check_network(settings)
    MaskSettings.from_dict(request.finish)
    return settings


def check_network(settings: TrackSettings) -> None:
    """Raises InputError for what model or policy can't take."""
    spec = get_spec(settings.model)
    make_policy(settings.policy, spec, **settings.policy_options)
    if settings.resolution is not None:
        spec.check_resolution(settings.resolution)
    check_shape(settings.shape, settings.zoom)


def frames_between(first: int, last: int) -> range:
    """Both included. Raises InputError where the last one comes first."""
    if last < first:
        raise InputError(f"the last frame to track, {last}, lies before the first, {first}")
    return range(first, last + 1)


@contextmanager
def new_project(path: Path, plan: Plan, reader: MediaReader, request: TrackRequest) -> Iterator[Project]:
    """A project that holds a plan. It stays hidden, and is removed, until its first mask is there.

    Raises ProjectError: there is a project already (unless `request.overwrite`), or it can't be written.
    """
    from masklet.project.store import Project

    with Project.create(path, reader, settings=plan.settings, overwrite=request.overwrite, hidden=True) as project:
        with project.edit("Prompts"):
            keep_objects(project, plan.objects)
            if request.finish:
                project.set_mask_settings(request.finish)
        yield project


def keep_objects(project: Project, objects: Iterable[TrackedObject]) -> None:
    """Keeps objects and what is said about them."""
    there = {known.id for known in project.objects()}
    for known in objects:
        if known.id not in there:
            project.add_object(known.id, known.name)
        for frame, prompts in known.prompts.items():
            project.set_prompts(frame, known.id, prompts)


def begin(
    path: str | os.PathLike[str],
    request: TrackRequest,
    *,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunReport:
    """Makes a project of what `masklet track` was asked for, and tracks it.

    Raises:
        ProjectError: there is a project already (unless `request.overwrite`), or it can't be written.
        MaskletError: what was asked for can't be used. Nothing is left behind then.
    """
    with open_media(request.source, rate=request.rate) as reader:
        plan = make_plan(request, reader)
        with new_project(Path(path), plan, reader, request) as project:
            steps = plan_steps(project, plan, request)
            return carry_out(steps, progress, stopped)


def plan_steps(project: Project, plan: Plan, request: TrackRequest) -> RunSteps:
    """Tracks a new project, frame by frame."""
    asked = plan.asked
    return track.steps(project, None, asked.first, asked.last, asked.direction, request.device)


@Action
def track(
    project: Project,
    objects: Sequence[int] | None = None,
    start: int | None = None,
    end: int | None = None,
    direction: str = "forward",
    device: str | None = None,
) -> RunSteps:
    """Tracks a project's prompted objects, and keeps the masks of frames `start` to `end`, both included.

    Locked objects and painted frames are left alone. An unfinished run is forgotten: this one takes its place.

    Raises:
        InputError: nothing is prompted, a range that makes no sense, an unknown direction.
        ProjectError: the source isn't found, or the file can't be written.
    """
    kept = _range(project.source.frame_count, start, end)
    chosen, notes = _prompted(project, objects)
    legs = make_legs(chosen, kept, direction)

    def steps() -> RunSteps:
        with open_session(project, device) as session:
            run = make_run("Track", legs, session)
            _note(project, session, Asked(first=kept[0], last=kept[-1], direction=direction))
            yield from prompt_steps(session, project, [known.id for known in chosen])
            report = yield from Runner(project, session).go(run)
        report.notes += notes
        return report

    return steps()


@Action
def track_frame(
    project: Project, frame: int, objects: Sequence[int] | None = None, device: str | None = None
) -> RunSteps:
    """Tracks one frame alone: from the nearest frame before it that shows an object, else from the nearest after it.

    Raises what `track` does.
    """
    _range(project.source.frame_count, frame, frame)
    chosen, notes = _prompted(project, objects)
    label = f"Track frame {frame}"

    def steps() -> RunSteps:
        with open_session(project, device) as session:
            report = RunReport(session.model.spec.name, notes=notes)
            records, resolved = [], {}
            for known in chosen:
                report.objects[known.id] = ObjectReport(known.name)
                if frame in known.starts:
                    continue
                add_prompts(session, project, [known.id])
                step = 1 if known.starts[0] < frame else -1
                yield from lead_in(session, project, known.id, frame, step)
                found = session.masks(frame)[known.id]
                if frame in known.prompts:
                    resolved[known.id] = session.prompts(frame, known.id)
                if found.lost:
                    report.objects[known.id].add_lost(frame)
                records.append(found)
                yield RunStep(frame, (found,), len(records), len(chosen))
            if records:
                number = project.begin_step(label)
                project.record_masks(number, label, records, resolved, durable=True)
                project.end_step(number)
            report.frames, report.complete = len(records), True
        return report

    return steps()


@Action
def resume(project: Project, device: str | None = None, onto: tuple[Asked, Sequence[Leg]] | None = None) -> RunSteps:
    """Goes on with the run that was stopped or killed, exactly where it was; `onto` other frames, with legs that go
    through the run's place (`moved_to`).

    Raises:
        ProjectError: there is no unfinished run, or the source isn't found.
    """
    run = project.run
    if run is None:
        raise ProjectError(f"{project.path.name} has no unfinished run: there is nothing to go on with.")
    with open_session(project, device, run.dtype) as session:
        run = restore(session, project, run)
        if onto is not None:
            asked, legs = onto
            run = moved_to(run, legs) or run
            _note(project, session, asked)
            for known in project.objects():
                project.clear_masks(known.id, asked.last + 1)
        return (yield from Runner(project, session).go(run, run.undo_step))


@Action
def track_again(
    project: Project,
    objects: Sequence[TrackedObject],
    asked: Asked,
    settings: TrackSettings,
    again: int | None = None,
    device: str | None = None,
) -> RunSteps:
    """Goes on with other prompts, settings or frames: tracks whatever is missing then.

    Args:
        objects: all of them, with what is said about them now. Masks that follow from something new are tracked again.
        asked: frames outside of it lose their masks.
        again: frames from this one on are tracked again.

    Raises what `track` does.
    """
    legs = make_legs(objects, range(asked.first, asked.last + 1), asked.direction)
    with open_session(project, device, settings=settings) as session:
        with project.edit("Track again"):
            project.set_track_settings(settings.model_copy(update={"model": session.model.spec.name}))
            _note(project, session, asked)
            for known in objects:
                _forget(project, known, asked, again)
            keep_objects(project, objects)
        tracked = {known.id: set(project.tracked_frames(known.id)) for known in objects}
        left = legs_left(legs, tracked)
        if not left:
            project.finish_run()
            return RunReport(session.model.spec.name, complete=True)
        ids = sorted({i for leg in left for i in leg.object_ids})
        yield from prompt_steps(session, project, ids)
        for leg in left:
            for object_id in leg.object_ids:
                yield from lead_in(session, project, object_id, leg.first - leg.step, leg.step)
        return (yield from Runner(project, session).go(make_run("Track", left, session)))


def _forget(project: Project, known: TrackedObject, asked: Asked, again: int | None) -> None:
    """Removes the masks of an object that are not asked for, are tracked again, or follow from a prompt that is new."""
    if not project.tracked_frames(known.id):
        return
    project.clear_masks(known.id, 0, asked.first)
    project.clear_masks(known.id, asked.last + 1 if again is None else again)
    before = {frame: prompts for (frame, _), prompts in project.said(known.id).items()}
    for frame in (frame for frame, prompts in known.prompts.items() if before.get(frame) != prompts):
        others = sorted(before.keys() - {frame})
        direction = asked.direction
        if direction == "both":
            direction = "backward" if others and frame < others[0] else "forward"
        for way in ways(direction):
            ahead = [t for t in others if (t - frame) * way > 0]
            if way > 0:
                project.clear_masks(known.id, frame, min(ahead, default=None))
            else:
                project.clear_masks(known.id, max(ahead, default=-1) + 1, frame + 1)


def _note(project: Project, session: Session, asked: Asked) -> None:
    dtype = str(session.model.dtype).removeprefix("torch.")
    project.note_asked(asked.model_copy(update={"dtype": dtype, "resolution": session.engine.image_size}))


def make_run(label: str, legs: Sequence[Leg], session: Session) -> TrackingRun:
    dtype = str(session.model.dtype).removeprefix("torch.")
    return TrackingRun(label=label, legs=tuple(legs), place=RunPlace(0, legs[0].first), dtype=dtype)


def _range(count: int, start: int | None, end: int | None) -> range:
    first, last = start or 0, count - 1 if end is None else end
    if not 0 <= first <= last < count:
        raise InputError(f"frames {first} to {last} can't be tracked: there are frames 0 to {count - 1}")
    return range(first, last + 1)


def _prompted(project: Project, wanted: Sequence[int] | None) -> tuple[list[TrackedObject], list[str]]:
    """The objects to track, with the frames of their prompts; and what to say about those that aren't."""
    project.find_objects(wanted or ())
    found, notes = [], []
    for known in objects_of(project):
        if wanted is not None and known.id not in wanted:
            continue
        if known.locked:
            notes.append(f"{known.name} is locked and was left as it is.")
        elif any(prompt.shows for prompts in known.prompts.values() for prompt in prompts):
            found.append(known)
        else:
            notes.append(f"{known.name} has no point, box or mask that shows it on any frame, so it was not tracked.")
    if not found:
        reason = " ".join(notes) or "There are no objects."
        raise InputError(f"There is nothing to track in {project.path.name}. {reason}")
    return found, notes
