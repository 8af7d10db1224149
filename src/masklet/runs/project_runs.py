"""Tracking that is kept in a project: begun, stopped and gone on with, and corrected.

Masks are in the file half a second after they were found, and with them what the tracker needs to go on: a run that was
killed gives the masks that it would have given.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from masklet.errors import InputError, ProjectError, PromptError
from masklet.project.records import TrackSettings
from masklet.project.run import Leg, RunPlace, TrackingRun
from masklet.prompts import Prompt, prompts_after, waits
from masklet.runs.objects import TrackedObject, collect_objects
from masklet.runs.plan import make_legs
from masklet.runs.request import (
    DEFAULT_DIRECTION,
    DEFAULT_MODEL,
    ObjectReport,
    TrackProgress,
    TrackRequest,
)
from masklet.runs.run_sessions import add_prompts, lead_in, open_session, prompt_steps, restore
from masklet.runs.run_steps import Progress, Runner, RunReport, RunStep, RunSteps, Stopped

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import Session

T = TypeVar("T")


def begin(
    path: str | os.PathLike[str],
    request: TrackRequest,
    *,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunReport:
    """Makes a project of what `masklet track` was asked for, and tracks it; `request.output` is not used.

    Raises:
        ProjectError: there is a project already (unless `request.overwrite`), or it can't be written.
        MaskletError: what was asked for can't be used. Nothing is left behind then.
    """
    from masklet.media import open_media, parse_position
    from masklet.models import get_spec
    from masklet.project.store import Project
    from masklet.tracking import DEFAULT_POLICY, make_policy

    settings = TrackSettings(
        model=request.model or DEFAULT_MODEL,
        checkpoint=None if request.checkpoint is None else str(request.checkpoint.absolute()),
        policy=request.policy or DEFAULT_POLICY,
        policy_options=dict(request.policy_settings),
        resolution=request.resolution,
        dtype=request.dtype,
    )
    # Before a model is fetched.
    spec = get_spec(settings.model)
    make_policy(settings.policy, spec, **settings.policy_options)
    if request.resolution is not None:
        spec.check_resolution(request.resolution)
    with open_media(request.source, rate=request.rate) as reader:
        start, end = (None if text is None else parse_position(text, reader) for text in (request.start, request.end))
        direction = request.direction or DEFAULT_DIRECTION
        place = (len(reader) - 1 if end is None else end) if direction == "backward" else start or 0
        if request.frame is not None:
            place = parse_position(request.frame, reader)
        objects = collect_objects(request.prompts, reader, place)
        if not objects:
            raise InputError("say what to track: --point 640,300, --box 153,219,571,558 or --mask first.png")
        with Project.create(path, reader, settings=settings, overwrite=request.overwrite, hidden=True) as project:
            with project.edit("Prompts"):
                for known in objects:
                    project.add_object(known.id, known.name)
                    for frame, prompts in known.prompts.items():
                        project.set_prompts(frame, known.id, prompts)

            def tell(state: TrackProgress) -> None:
                if state.done:
                    project.show()
                if progress is not None:
                    progress(state)

            return track(
                project,
                start=start,
                end=end,
                direction=direction,
                device=request.device,
                progress=tell,
                stopped=stopped,
            )


def track(
    project: Project,
    *,
    objects: Sequence[int] | None = None,
    start: int | None = None,
    end: int | None = None,
    direction: str = "forward",
    device: str | None = None,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunReport:
    """Tracks a project's prompted objects, and keeps the masks of frames `start` to `end`, both included.

    Locked objects and painted frames are left alone. An unfinished run is forgotten: this one takes its place.

    Raises:
        InputError: nothing is prompted, a range that makes no sense, an unknown direction.
        ProjectError: the source isn't found, or the file can't be written.
    """
    return _finish(track_steps(project, objects, start, end, direction, device, progress, stopped))


def track_steps(
    project: Project,
    objects: Sequence[int] | None = None,
    start: int | None = None,
    end: int | None = None,
    direction: str = "forward",
    device: str | None = None,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunSteps:
    """`track`, frame by frame."""
    kept = _range(project.source.frame_count, start, end)
    chosen, notes = _prompted(project, objects)
    legs = make_legs(chosen, kept, direction)
    with open_session(project, device) as session:
        yield from prompt_steps(session, project, [thing.id for thing in chosen])
        report = yield from Runner(project, session, progress, stopped).go(_run("Track", legs, session))
    report.notes += notes
    return report


def check_track(
    project: Project, objects: Sequence[int] | None, start: int | None, end: int | None, direction: str
) -> None:
    """Raises what `track` would raise about what it is asked for, without doing anything."""
    chosen, _ = _prompted(project, objects)
    make_legs(chosen, _range(project.source.frame_count, start, end), direction)


def check_frame(project: Project, frame: int, objects: Sequence[int] | None) -> None:
    """The same for `track_frame`."""
    _range(project.source.frame_count, frame, frame)
    _prompted(project, objects)


def track_frame(
    project: Project, frame: int, *, objects: Sequence[int] | None = None, device: str | None = None
) -> RunReport:
    """Tracks one frame alone: from the nearest frame before it that shows an object, else from the nearest after it.

    Raises what `track` does.
    """
    return _finish(frame_steps(project, frame, objects, device))


def frame_steps(
    project: Project, frame: int, objects: Sequence[int] | None = None, device: str | None = None
) -> RunSteps:
    """`track_frame`, frame by frame."""
    _range(project.source.frame_count, frame, frame)
    chosen, notes = _prompted(project, objects)
    label = f"Track frame {frame}"
    with open_session(project, device) as session:
        report = RunReport(session.model.spec.name, notes=notes)
        records, resolved = [], {}
        for thing in chosen:
            report.objects[thing.id] = ObjectReport(thing.name, "")
            if frame in thing.starts:
                continue
            add_prompts(session, project, [thing.id])
            step = 1 if thing.starts[0] < frame else -1
            yield from lead_in(session, project, thing.id, frame, step)
            found = session.masks(frame)[thing.id]
            if frame in thing.prompts:
                resolved[thing.id] = session.prompts(frame, thing.id)
            if found.lost:
                report.objects[thing.id].add_lost(frame)
            records.append(found)
            yield RunStep(frame, (found,), len(records), len(chosen))
        if records:
            number = project.begin_step(label)
            project.record_masks(number, label, records, resolved, durable=True)
            project.end_step(number)
        report.frames, report.complete = len(records), True
    return report


def resume(
    project: Project, *, device: str | None = None, progress: Progress | None = None, stopped: Stopped | None = None
) -> RunReport:
    """Goes on with the run that was stopped or killed, exactly where it was.

    Raises:
        ProjectError: there is no unfinished run, or the source isn't found.
    """
    return _finish(resume_steps(project, device, progress, stopped))


def resume_steps(
    project: Project, device: str | None = None, progress: Progress | None = None, stopped: Stopped | None = None
) -> RunSteps:
    """`resume`, frame by frame."""
    run = project.run
    if run is None:
        raise ProjectError(f"{project.path.name} has no unfinished run: there is nothing to go on with.")
    with open_session(project, device, run.dtype) as session:
        run = restore(session, project, run)
        return (yield from Runner(project, session, progress, stopped).go(run, run.undo_step))


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
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunReport:
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
    prompts = prompts_after(project.said(object_id).get((frame, object_id), ()), project.mask(frame, object_id), new)
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
        _finish(lead_in(session, project, object_id, frame - steps[0], steps[0]))
        label = f"Correct {name} on frame {frame}"[:100]
        step = project.begin_step(label)
        with project.edit(label, step):
            project.set_prompts(frame, object_id, prompts)
            project.put_masks([answer[object_id]])
        legs = _legs_from(project, object_id, frame, steps, prompted)
        if unfinished is not None:
            here = unfinished.legs[unfinished.place.leg]
            legs += [replace(here, first=unfinished.place.frame), *unfinished.legs[unfinished.place.leg + 1 :]]
        return _finish(Runner(project, session, progress, stopped).go(_run(label, legs, session), step))


def follow_steps(
    project: Project,
    frame: int,
    object_id: int,
    direction: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
) -> RunSteps:
    """Tracks an object again from a frame that was prompted, frame by frame, to its next prompt, or as far as it was
    tracked; where it was not, to the end of the video.

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
        return (yield from Runner(project, session, progress, stopped).go(run))


def _prompted_frames(project: Project, object_id: int) -> list[int]:
    """The frames on which an object is prompted, rising. Raises UnknownObjectError, or InputError: it is locked."""
    known = project.get_object(object_id)
    if known.locked:
        raise InputError(f"{known.name} is locked: unlock it to change its masks")
    return sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})


def _run(label: str, legs: Sequence[Leg], session: Session) -> TrackingRun:
    dtype = str(session.model.dtype).removeprefix("torch.")
    return TrackingRun(label=label, legs=tuple(legs), place=RunPlace(0, legs[0].first), dtype=dtype)


def _finish(steps: Generator[RunStep, None, T]) -> T:
    """Carries out all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _range(count: int, start: int | None, end: int | None) -> range:
    first, last = start or 0, count - 1 if end is None else end
    if not 0 <= first <= last < count:
        raise InputError(f"frames {first} to {last} can't be tracked: there are frames 0 to {count - 1}")
    return range(first, last + 1)


def _prompted(project: Project, wanted: Sequence[int] | None) -> tuple[list[TrackedObject], list[str]]:
    """The objects to track, with the frames of their prompts; and what to say about those that aren't."""
    there = project.objects() if wanted is None else [project.get_object(number) for number in wanted]
    found, notes = [], []
    for thing in there:
        said = TrackedObject(thing.id, thing.name, {t: prompts for (t, _), prompts in project.said(thing.id).items()})
        if thing.locked:
            notes.append(f"{thing.name} is locked and was left as it is.")
        elif said.starts:
            found.append(said)
        else:
            notes.append(f"No point, box or mask shows {thing.name} on any frame, so it was not tracked.")
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
