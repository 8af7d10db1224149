"""Tracking that is kept in a project: begun, stopped and gone on with, and corrected.

Masks are in the file half a second after they were found, and with them what the tracker needs to go on: a run that was
killed gives the masks that it would have given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from masklet.errors import InputError, ProjectError, PromptError
from masklet.project.records import Run, RunLeg, RunPlace, TrackSettings
from masklet.prompts import Prompt, prompts_after, waits
from masklet.runs.objects import TrackedObject, collect_objects
from masklet.runs.plan import Leg, Range, make_legs
from masklet.runs.request import (
    DEFAULT_DIRECTION,
    DEFAULT_MODEL,
    ObjectReport,
    TrackRequest,
)
from masklet.runs.run_sessions import add_prompts, lead_in, open_session, prompt_steps, restore
from masklet.runs.run_steps import Progress, Runner, RunReport, RunStep, RunSteps, Stopped

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import Session


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

    reader = open_media(request.source, rate=request.rate)
    with reader:
        start, end = (None if text is None else parse_position(text, reader) for text in (request.start, request.end))
        direction = request.direction or DEFAULT_DIRECTION
        place = (len(reader) - 1 if end is None else end) if direction == "backward" else start or 0
        if request.frame is not None:
            place = parse_position(request.frame, reader)
        things = collect_objects(request.prompts, reader, place)
        if not things:
            raise InputError("say what to track: --point 640,300, --box 153,219,571,558 or --mask first.png")
        spec = get_spec(request.model or DEFAULT_MODEL)
        if request.resolution is not None:
            spec.check_resolution(request.resolution)
        settings = TrackSettings(
            model=request.model or DEFAULT_MODEL,
            checkpoint=None if request.checkpoint is None else str(request.checkpoint.absolute()),
            policy=request.policy or DEFAULT_POLICY,
            policy_options=dict(request.policy_settings),
            resolution=request.resolution,
            dtype=request.dtype,
        )
        # All that can be wrong is found out before an older project may be overwritten.
        make_policy(settings.policy, spec, **settings.policy_options)
        make_legs(things, _range(len(reader), start, end), direction)
        project = Project.create(path, reader, settings=settings, overwrite=request.overwrite)
        try:
            with project:
                with project.edit("Prompts"):
                    for thing in things:
                        project.add_object(thing.id, thing.name)
                        for frame, prompts in thing.prompts.items():
                            project.set_prompts(frame, thing.id, prompts)
                return track(
                    project,
                    start=start,
                    end=end,
                    direction=direction,
                    device=request.device,
                    progress=progress,
                    stopped=stopped,
                )
        except BaseException:
            if _is_empty(Path(path)):
                Path(path).unlink(missing_ok=True)
            raise


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
        run = Run(
            label="Track",
            legs=tuple(_kept_leg(leg) for leg in legs),
            place=RunPlace(leg=0, frame=legs[0].first),
            dtype=_dtype(session),
        )
        report = yield from Runner(project, session, progress, stopped).go(run, project.begin_step(run.label))
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
            lead_in(session, project, thing.id, frame, step, thing.starts)
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
        place = restore(session, project, run)
        steps = [step for step in project.history() if not step.undone]
        # The same step of undo, unless something else was done since.
        same = bool(steps) and steps[-1].label == run.label
        step = steps[-1].id if same else project.begin_step(run.label)
        run = run.model_copy(update={"place": place})
        return (yield from Runner(project, session, progress, stopped).go(run, step))


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
    thing = project.get_object(object_id)
    if thing.locked:
        raise InputError(f"{thing.name} is locked: unlock it to change its masks")
    prompted = sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})
    steps = _ways(direction, frame, prompted)
    new = Prompt.make(points, labels, box, mask, width=project.source.width, height=project.source.height)
    prompts = prompts_after(project.said(object_id).get((frame, object_id), ()), project.mask(frame, object_id), new)
    if waits(prompts):
        raise PromptError(f"frame {frame} shows nothing of {thing.name} that could be taken away: click on it first")
    unfinished = project.run
    with open_session(project, device, unfinished.dtype if unfinished else None) as session:
        if unfinished is not None:
            place = restore(session, project, unfinished)
        if object_id not in session.object_ids:
            add_prompts(session, project, [object_id])
        if project.mask(frame, object_id) is not None:
            lead_in(session, project, object_id, frame, steps[0], prompted)
        answer = session.set_prompts(frame, object_id, prompts)
        label = f"Correct {thing.name} on frame {frame}"[:100]
        step = project.begin_step(label)
        with project.edit(label, step):
            project.set_prompts(frame, object_id, prompts)
            project.put_masks([answer[object_id]])
        legs = _legs_from(project, object_id, frame, steps, prompted)
        if unfinished is not None:
            here = unfinished.legs[place.leg]
            legs += [here.model_copy(update={"first": place.frame}), *unfinished.legs[place.leg + 1 :]]
        run = Run(label=label, legs=tuple(legs), place=RunPlace(leg=0, frame=frame), dtype=_dtype(session))
        return _finish(Runner(project, session, progress, stopped).go(run, step))


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
    thing = project.get_object(object_id)
    if thing.locked:
        raise InputError(f"{thing.name} is locked: unlock it to change its masks")
    prompted = sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})
    if frame not in prompted:
        raise InputError(f"{thing.name} has no prompt on frame {frame}: click, box or paint it there first")
    steps = _ways(direction, frame, [place for place in prompted if place != frame])
    legs = _legs_from(project, object_id, frame, steps, prompted, to_end=True)
    with open_session(project, device) as session:
        yield from prompt_steps(session, project, [object_id])
        label = f"Track {thing.name} from frame {frame}"[:100]
        run = Run(label=label, legs=tuple(legs), place=RunPlace(leg=0, frame=frame), dtype=_dtype(session))
        return (yield from Runner(project, session, progress, stopped).go(run, project.begin_step(label)))


def _finish(steps: RunSteps) -> RunReport:
    """Carries out all of a run."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _range(count: int, start: int | None, end: int | None) -> Range:
    kept = Range(0 if start is None else start, count - 1 if end is None else end)
    if not 0 <= kept.first <= kept.last < count:
        raise InputError(f"frames {kept.first} to {kept.last} can't be tracked: there are frames 0 to {count - 1}")
    return kept


def _is_empty(path: Path) -> bool:
    """Whether a project has no mask and no run that could be gone on with."""
    from masklet.project.store import Project

    with Project.open(path, read_only=True) as project:
        return project.run is None and next(project.masks(), None) is None


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
            notes.append(f"{thing.name} has no point, box or mask that shows it on any frame, so it was not tracked.")
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
) -> list[RunLeg]:
    """The ways from a prompted frame; `to_end` goes on to the video's end where nothing was tracked that way yet."""
    legs = []
    for way in steps:
        first, last = _reach(project, object_id, frame, way, prompted)
        if to_end and first == last and not any((t - frame) * way > 0 for t in prompted):
            last = project.source.frame_count - 1 if way > 0 else 0
        legs.append(RunLeg(step=way, first=first, last=last, object_ids=(object_id,), keep_from=first))
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


def _kept_leg(leg: Leg) -> RunLeg:
    return RunLeg(
        step=1 if leg.step > 0 else -1,
        first=leg.first,
        last=leg.last,
        object_ids=leg.object_ids,
        keep_from=leg.keep_from,
    )


def _dtype(session: Session) -> str:
    return str(session.model.dtype).removeprefix("torch.")
