"""Tracking that is kept in a project: begun, stopped and gone on with, and corrected.

Masks are in the file half a second after they were found, and with them what the tracker needs to go on: a run that was
killed gives the masks that it would have given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from masklet.errors import InputError, ProjectError, PromptError
from masklet.masks.settings import MaskSettings
from masklet.media import MediaReader, open_media, parse_position
from masklet.models import get_spec
from masklet.models.shape import check_shape
from masklet.project.records import TrackSettings
from masklet.project.run import Asked, Leg, RunPlace, TrackingRun
from masklet.prompts import Prompt, waits
from masklet.runs.engine import Action, Progress, Runner, RunStep, RunSteps, Stopped, carry_out
from masklet.runs.objects import TrackedObject, collect_objects, objects_of
from masklet.runs.plan import legs_left, make_legs, moved_to
from masklet.runs.request import (
    DEFAULT_DIRECTION,
    DEFAULT_MODEL,
    ObjectReport,
    RunReport,
    TrackRequest,
)
from masklet.runs.sessions import add_prompts, lead_in, open_session, prompt_steps, restore
from masklet.tracking import make_policy

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import Session


@dataclass(frozen=True)
class Plan:
    """What `masklet track` was asked for, checked against the video before a model is fetched or anything written."""

    settings: TrackSettings
    objects: list[TrackedObject]
    asked: Asked


def make_plan(request: TrackRequest, reader: MediaReader) -> Plan:
    """Raises MaskletError for what can't be used."""
    settings = settings_of(request)
    start, end = (None if text is None else parse_position(text, reader) for text in (request.start, request.end))
    kept = frames_between(start or 0, len(reader) - 1 if end is None else end)
    direction = request.direction or DEFAULT_DIRECTION
    place = kept[-1] if direction == "backward" else kept[0]
    if request.frame is not None:
        place = parse_position(request.frame, reader)
    if not request.prompts:
        raise InputError(
            "say what to track: a point on it (--point 640,300), a box around it (--box 153,219,571,558) or a "
            "picture of its mask (--mask first.png)"
        )
    objects = collect_objects(request.prompts, reader, place)
    make_legs(objects, kept, direction)
    return Plan(settings, objects, Asked(first=kept[0], last=kept[-1], direction=direction))


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
    spec = get_spec(settings.model)
    make_policy(settings.policy, spec, **settings.policy_options)
    if settings.resolution is not None:
        spec.check_resolution(settings.resolution)
    check_shape(settings.shape, settings.zoom)
    MaskSettings.from_dict(request.finish)
    return settings


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
            run = _run("Track", legs, session)
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
        return (yield from Runner(project, session).go(_run("Track", left, session)))


def _forget(project: Project, known: TrackedObject, asked: Asked, again: int | None) -> None:
    """Removes the masks of an object that are not asked for, are tracked again, or follow from a prompt that is new."""
    if not project.tracked_frames(known.id):
        return
    project.clear_masks(known.id, 0, asked.first)
    project.clear_masks(known.id, asked.last + 1 if again is None else again)
    before = {frame: prompts for (frame, _), prompts in project.said(known.id).items()}
    for frame in (frame for frame, prompts in known.prompts.items() if before.get(frame) != prompts):
        others = sorted(before.keys() - {frame})
        for way in _ways(None if asked.direction == "both" else asked.direction, frame, others):
            ahead = [t for t in others if (t - frame) * way > 0]
            if way > 0:
                project.clear_masks(known.id, frame, min(ahead, default=None))
            else:
                project.clear_masks(known.id, max(ahead, default=-1) + 1, frame + 1)


@Action
def correct(
    project: Project,
    frame: int,
    object_id: int,
    *,
    points: Sequence[Sequence[float]] | None = None,
    labels: Sequence[int] | None = None,
    box: Sequence[float] | None = None,
    mask: np.ndarray | None = None,
    direction: str | None = None,
    device: str | None = None,
) -> RunSteps:
    """Corrects an object on a frame, and tracks it again from there to its next prompt, or as far as it was tracked.

    Clicks and boxes correct the mask that is there (see `masklet.prompts.prompts_after`). `direction` is away from the
    object's earlier prompts unless it is said: forward, backward or both. The prompt and all that follows from it are
    one step of undo. An unfinished run goes on after it.

    Raises:
        UnknownObjectError, InputError, PromptError: no such object or frame, it is locked, or the prompt can't be used.
        ProjectError: the source isn't found, or the file can't be written.
    """
    prompted = _prompted_frames(project, object_id)
    steps = _ways(direction, frame, prompted)
    new = Prompt.make(points, labels, box, mask, width=project.source.width, height=project.source.height)
    prompts = project.prompts_after(frame, object_id, new)
    name = project.get_object(object_id).name
    if waits(prompts):
        raise PromptError(f"frame {frame} shows nothing of {name} that could be taken away: click on it first")
    unfinished = project.run
    with open_session(project, device, unfinished.dtype if unfinished else None) as session:
        if unfinished is not None:
            unfinished = restore(session, project, unfinished)
        if object_id not in session.object_ids:
            add_prompts(session, project, [object_id])
        answer = session.set_prompts(frame, object_id, prompts)
        yield from lead_in(session, project, object_id, frame - steps[0], steps[0])
        label = f"Correct {name} on frame {frame}"[:100]
        step = project.begin_step(label)
        project.say(label, prompts, answer[object_id], step)
        legs = _legs_from(project, object_id, frame, steps, prompted)
        if unfinished is not None:
            here = unfinished.legs[unfinished.place.leg]
            legs += [replace(here, first=unfinished.place.frame), *unfinished.legs[unfinished.place.leg + 1 :]]
        return (yield from Runner(project, session).go(_run(label, legs, session), step))


@Action
def follow(
    project: Project, frame: int, object_id: int, direction: str | None = None, device: str | None = None
) -> RunSteps:
    """Tracks an object again from a frame that was prompted, to its next prompt, or as far as it was tracked; where it
    was not, to the end of the video.

    `direction` is away from the object's earlier prompts unless it is said: forward, backward or both.

    Raises:
        UnknownObjectError, InputError: no such object, it is locked, or it has no prompt on the frame.
        ProjectError: the source isn't found, or the file can't be written.
    """
    prompted = _prompted_frames(project, object_id)
    name = project.get_object(object_id).name
    if frame not in prompted:
        raise InputError(f"{name} has no prompt on frame {frame}: click, box or paint it there first")
    steps = _ways(direction, frame, [place for place in prompted if place != frame])
    legs = _legs_from(project, object_id, frame, steps, prompted, to_end=True)
    with open_session(project, device) as session:
        yield from prompt_steps(session, project, [object_id])
        yield from lead_in(session, project, object_id, frame - steps[0], steps[0])
        run = _run(f"Track {name} from frame {frame}"[:100], legs, session)
        return (yield from Runner(project, session).go(run))


def _prompted_frames(project: Project, object_id: int) -> list[int]:
    """The frames on which an object is prompted, rising. Raises UnknownObjectError, or InputError: it is locked."""
    project.unlocked(object_id)
    return sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})


def _note(project: Project, session: Session, asked: Asked) -> None:
    dtype = str(session.model.dtype).removeprefix("torch.")
    project.note_asked(asked.model_copy(update={"dtype": dtype, "resolution": session.engine.image_size}))


def _run(label: str, legs: Sequence[Leg], session: Session) -> TrackingRun:
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


def _ways(direction: str | None, frame: int, prompted: Sequence[int]) -> tuple[Literal[1, -1], ...]:
    """The steps of a direction, which is away from the prompted frames (rising) unless it is said."""
    directions: dict[str, tuple[Literal[1, -1], ...]] = {"forward": (1,), "backward": (-1,), "both": (1, -1)}
    if direction is None:
        direction = "backward" if prompted and frame < prompted[0] else "forward"
    if direction not in directions:
        raise InputError(f"there is no direction {direction!r}; choose one of: {', '.join(directions)}")
    return directions[direction]


def _legs_from(
    project: Project,
    object_id: int,
    frame: int,
    steps: Iterable[Literal[1, -1]],
    prompted: Sequence[int],
    to_end: bool = False,
) -> list[Leg]:
    """The ways from a prompted frame; `to_end` goes on to the video's end where nothing was tracked that way yet."""
    legs = []
    for way in steps:
        first, last = _reach(project, object_id, frame, way, prompted)
        if to_end and first == last and not any((t - frame) * way > 0 for t in prompted):
            last = project.source.frame_count - 1 if way > 0 else 0
        legs.append(Leg(way, first, last, (object_id,), first))
    return legs


def _reach(project: Project, object_id: int, frame: int, step: int, prompted: Sequence[int]) -> tuple[int, int]:
    """First and last frame that follow from a correction: up to before the next prompt, else all that was tracked."""
    tracked = [t for t in project.tracked_frames(object_id) if (t - frame) * step > 0]
    ahead = [t for t in prompted if (t - frame) * step > 0]
    if ahead:
        return frame, (min(ahead) - 1 if step > 0 else max(ahead) + 1)
    if not tracked:
        return frame, frame
    return frame, max(tracked) if step > 0 else min(tracked)
