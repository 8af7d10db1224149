"""Tracking that is kept in a project: begun, stopped and gone on with, and corrected.

Masks are in the file half a second after they were found, and with them what the tracker needs to go on: a run that was
killed gives the masks that it would have given.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from masklet.errors import InputError, ProjectError
from masklet.jobs import explain
from masklet.jobs.objects import FramePrompt, TrackedObject, collect_objects
from masklet.jobs.plan import Leg, Range, make_legs
from masklet.jobs.request import (
    DEFAULT_DIRECTION,
    DEFAULT_MODEL,
    DEFAULT_POLICY,
    ObjectReport,
    TrackProgress,
    TrackRequest,
)
from masklet.masks import rle
from masklet.project.records import MaskRecord, PromptRecord, Run, RunLeg, RunPlace, TrackSettings
from masklet.tracking.state import export_state, import_state

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import FrameMasks, ObjectMask, Session

Progress = Callable[[TrackProgress], None]
Stopped = Callable[[], bool]

#: Frames before a correction that are tracked again, so that its clicks meet the memories that they are to correct.
LEAD_IN = 32
_STATE_SECONDS = 0.5
_STATE_SHARE = 10  # a state may cost a tenth of the time
_STATE_BYTES_PER_SECOND = 4 << 20


@dataclass(frozen=True)
class RunStep:
    """One frame of a run: its masks (none on frames that only lead to what is kept), and how far the run is.

    `total` is 0 while the run is still being prepared.
    """

    frame: int
    masks: tuple[MaskRecord, ...]
    done: int
    total: int


@dataclass
class RunReport:
    """What a run did: `frames` tracked in `seconds`; `complete` when nothing is left of it."""

    model: str
    frames: int = 0
    seconds: float = 0.0
    complete: bool = False
    objects: dict[int, ObjectReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


#: A run, frame by frame; its value is the report. To close it stops the run, which can be gone on with later.
RunSteps = Generator[RunStep, None, RunReport]


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
    from masklet.tracking import make_policy

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
        settings = TrackSettings(
            model=request.model or DEFAULT_MODEL,
            checkpoint=None if request.checkpoint is None else str(request.checkpoint.absolute()),
            policy=request.policy or DEFAULT_POLICY,
            policy_options=dict(request.policy_settings),
            resolution=request.resolution,
            dtype=request.dtype,
        )
        # All that can be wrong is found out before an older project may be overwritten.
        make_policy(settings.policy, get_spec(settings.model), **settings.policy_options)
        make_legs(things, _range(len(reader), start, end), direction)
        project = Project.create(path, reader, settings=settings, overwrite=request.overwrite)
        try:
            with project:
                with project.edit("Prompts"):
                    for thing in things:
                        project.add_object(thing.id, thing.name)
                        for frame, prompt in thing.prompts.items():
                            project.add_prompt(frame, thing.id, **prompt.arguments())
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
    with _open_session(project, device) as session:
        yield from _prompt_steps(session, project, [thing.id for thing in chosen])
        run = Run(
            label="Track",
            legs=tuple(_kept_leg(leg) for leg in legs),
            place=RunPlace(leg=0, frame=legs[0].first),
            dtype=_dtype(session),
        )
        report = yield from _Runner(project, session, progress, stopped).go(run, project.begin_step(run.label))
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
    with _open_session(project, device) as session:
        report = RunReport(session.model.spec.name, notes=notes)
        records = []
        for thing in chosen:
            report.objects[thing.id] = ObjectReport(thing.name, "")
            if frame in thing.prompts:
                continue
            _add_prompts(session, project, [thing.id])
            step = 1 if min(thing.prompts) < frame else -1
            _lead_in(session, project, thing.id, frame, step, list(thing.prompts))
            found = _record(session.masks(frame), thing.id, step)
            if found.lost:
                report.objects[thing.id].add_lost(frame)
            records.append(found)
            yield RunStep(frame, (found,), len(records), len(chosen))
        if records:
            number = project.begin_step(label)
            project.record_masks(number, label, records, durable=True)
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
    with _open_session(project, device, run.dtype) as session:
        place = _restore(session, project, run)
        steps = [step for step in project.history() if not step.undone]
        # The same step of undo, unless something else was done since.
        same = bool(steps) and steps[-1].label == run.label
        step = steps[-1].id if same else project.begin_step(run.label)
        run = run.model_copy(update={"place": place})
        return (yield from _Runner(project, session, progress, stopped).go(run, step))


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

    Clicks add to those that the frame has; on a tracked frame they correct the mask that memory gives. `direction` is
    away from the object's earlier prompts unless it is said: forward, backward or both. The prompt and all that follows
    from it are one step of undo. An unfinished run goes on after it.

    Raises:
        UnknownObjectError, InputError, PromptError: no such object or frame, it is locked, or the prompt can't be used.
        ProjectError: the source isn't found, or the file can't be written.
    """
    thing = project.get_object(object_id)
    if thing.locked:
        raise InputError(f"{thing.name} is locked: unlock it to change its masks")
    prompted = sorted({prompt.frame for prompt in project.prompts(object_id=object_id)})
    steps = _ways(direction, frame, prompted)
    unfinished = project.run
    with _open_session(project, device, unfinished.dtype if unfinished else None) as session:
        if unfinished is not None:
            place = _restore(session, project, unfinished)
        if object_id not in session.object_ids:
            _add_prompts(session, project, [object_id])
        if project.mask(frame, object_id) is not None:
            _lead_in(session, project, object_id, frame, steps[0], prompted)
        answer = session.add_prompt(frame, object_id, points=points, labels=labels, box=box, mask=mask)
        label = f"Correct {thing.name} on frame {frame}"[:100]
        step = project.begin_step(label)
        with project.edit(label, step):
            project.add_prompt(
                frame, object_id, points=points, labels=labels, box=box, mask=mask, clear_old=mask is not None
            )
        project.record_masks(step, label, [_record(answer, object_id, 0)], durable=True)
        legs = _legs_from(project, object_id, frame, steps, prompted)
        if unfinished is not None:
            here = unfinished.legs[place.leg]
            legs += [here.model_copy(update={"first": place.frame}), *unfinished.legs[place.leg + 1 :]]
        run = Run(label=label, legs=tuple(legs), place=RunPlace(leg=0, frame=frame), dtype=_dtype(session))
        return _finish(_Runner(project, session, progress, stopped).go(run, step))


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
    with _open_session(project, device) as session:
        yield from _prompt_steps(session, project, [object_id])
        label = f"Track {thing.name} from frame {frame}"[:100]
        run = Run(label=label, legs=tuple(legs), place=RunPlace(leg=0, frame=frame), dtype=_dtype(session))
        return (yield from _Runner(project, session, progress, stopped).go(run, project.begin_step(label)))


class _Runner:
    """Carries out a run: tracks, writes masks as they come, and saves the tracker's state now and then."""

    def __init__(self, project: Project, session: Session, progress: Progress | None, stopped: Stopped | None) -> None:
        self.project, self.session = project, session
        self.tell = progress or (lambda state: None)
        self.stopped = stopped or (lambda: False)
        self._saved_at = 0.0
        self._pause = _STATE_SECONDS

    def go(self, run: Run, step: int) -> RunSteps:
        """Tracks from the run's place to its end, or until it is stopped or closed."""
        project, session = self.project, self.session
        names = {thing.id: thing.name for thing in project.objects()}
        report = RunReport(session.model.spec.name, notes=[*session.video.info.notes])
        report.objects = {i: ObjectReport(names[i], "") for leg in run.legs for i in leg.object_ids if i in names}
        total = run.frames_after(run.place)
        self._save(run)
        self.tell(TrackProgress("track", 0, total))
        began = time.perf_counter()
        project.recording = True
        place: RunPlace | None = run.place
        try:
            for number in range(run.place.leg, len(run.legs)):
                assert place is not None
                leg = run.legs[number]
                direction = "forward" if leg.step > 0 else "backward"
                for masks in session.propagate(
                    place.frame, leg.last, direction=direction, objects=[i for i in leg.object_ids if i in names]
                ):
                    records = []
                    if (masks.index - leg.keep_from) * leg.step >= 0:
                        records = [_record(masks, one.object_id, leg.step) for one in masks]
                        step = project.record_masks(step, run.label, records)
                    place = run.after(RunPlace(leg=number, frame=masks.index))
                    if place is not None:
                        run = run.model_copy(update={"place": place})
                        self._keep_up(run)
                    lost = [report.objects[one.object_id] for one in masks if one.lost]
                    for thing in lost:
                        thing.add_lost(masks.index)
                    report.frames += 1
                    report.seconds = time.perf_counter() - began
                    self.tell(TrackProgress("track", report.frames, total, tuple(thing.name for thing in lost)))
                    if place is not None and self.stopped():
                        self._save(run)
                        return self._finished(report)
                    try:
                        yield RunStep(masks.index, tuple(records), report.frames, total)
                    except GeneratorExit:
                        if place is not None:
                            self._save(run)
                        else:
                            project.finish_run()
                        raise
            project.finish_run()
            report.complete = True
            return self._finished(report)
        finally:
            project.recording = False
            project.end_step(step)

    def _keep_up(self, run: Run) -> None:
        if time.monotonic() - self._saved_at >= self._pause:
            self._save(run)
        else:
            self.project.save_run(run, durable=False)

    def _save(self, run: Run) -> None:
        """Masks so far, the place, and the tracker's state there, all at once."""
        began = time.monotonic()
        place = run.place
        later = [(leg.first, leg.step) for leg in run.legs[place.leg + 1 :]]
        state = export_state(self.session, [(place.frame, run.legs[place.leg].step), *later])
        self.project.save_run(run.model_copy(update={"state_place": place}), state)
        self._saved_at = time.monotonic()
        cost = self._saved_at - began
        self._pause = max(_STATE_SECONDS, cost * _STATE_SHARE, len(state) / _STATE_BYTES_PER_SECOND)

    def _finished(self, report: RunReport) -> RunReport:
        if damaged := list(self.session.video.damaged):
            shown = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
            report.notes.append(f"{len(damaged)} damaged frames were replaced by their neighbours: {shown}")
        return report


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


def _open_session(project: Project, device: str | None, dtype: str | None = None) -> Session:
    from masklet.tracking import Session

    settings = project.track_settings
    options: dict[str, Any] = dict(settings.policy_options)
    return Session(
        project.open_source(),
        settings.model,
        policy=settings.policy,
        resolution=settings.resolution,
        device=device,
        dtype=dtype or settings.dtype,
        checkpoint=settings.checkpoint,
        **options,
    )


def _restore(session: Session, project: Project, run: Run) -> RunPlace:
    """Brings a session to where the run's state was saved, or else to its beginning; returns that place."""
    state = project.tracker_state
    if state is not None and run.state_place is not None:
        import_state(session, state)
        return run.state_place
    _add_prompts(session, project, sorted({i for leg in run.legs for i in leg.object_ids}))
    return RunPlace(leg=0, frame=run.legs[0].first)


def _prompted(project: Project, wanted: Sequence[int] | None) -> tuple[list[TrackedObject], list[str]]:
    """The objects to track, with the frames of their prompts; and what to say about those that aren't."""
    there = project.objects() if wanted is None else [project.get_object(number) for number in wanted]
    found, notes = [], []
    for thing in there:
        frames = {prompt.frame: FramePrompt() for prompt in project.prompts(object_id=thing.id)}
        if thing.locked:
            notes.append(f"{thing.name} is locked and was left as it is.")
        elif frames:
            found.append(TrackedObject(thing.id, thing.name, dict(sorted(frames.items()))))
        else:
            notes.append(f"{thing.name} has no point, box or mask on any frame, so it was not tracked.")
    if not found:
        reason = " ".join(notes) or "There are no objects."
        raise InputError(f"There is nothing to track in {project.path.name}. {reason}")
    return found, notes


def _add_prompts(session: Session, project: Project, object_ids: Iterable[int]) -> None:
    for _ in _prompt_steps(session, project, object_ids):
        pass


def _prompt_steps(session: Session, project: Project, object_ids: Iterable[int]) -> Iterator[RunStep]:
    wanted = set(object_ids)
    # A mask that says "not here" needs another prompt that shows the object.
    for prompt in sorted(project.prompts(), key=lambda prompt: prompt.mask is not None and rle.is_empty(prompt.mask)):
        if prompt.object_id in wanted:
            session.add_prompt(prompt.frame, prompt.object_id, **_arguments(prompt))
            yield RunStep(prompt.frame, (), 0, 0)


def _arguments(prompt: PromptRecord) -> dict[str, Any]:
    if prompt.mask is not None:
        return {"mask": rle.decode(prompt.mask)}
    return {"points": prompt.points or None, "labels": prompt.labels or None, "box": prompt.box}


def _lead_in(
    session: Session, project: Project, object_id: int, frame: int, step: int, prompted: Sequence[int]
) -> None:
    """Tracks up to a frame without keeping anything, so that it is known there what memory says.

    It starts from the object's last prompt before the frame; where that is far, from a mask that is nearer.
    """
    behind = [t for t in prompted if (frame - t) * step >= 0]
    if not behind:
        return
    start = max(behind) if step > 0 else min(behind)
    near = frame - step * LEAD_IN
    if (near - start) * step > 0:
        found = _seen(project, object_id, near, start, step)
        if found is not None:
            start = found.frame
            session.add_prompt(start, object_id, mask=found.mask_hw())
    if start == frame:
        return
    direction = "forward" if step > 0 else "backward"
    for _ in session.propagate(start, frame, direction=direction, objects=[object_id]):
        pass


def _seen(project: Project, object_id: int, frame: int, start: int, step: int) -> MaskRecord | None:
    """The mask on the last frame at or before `frame`, but after `start`, that shows the object."""
    for index in range(frame, start, -step):
        found = project.mask(index, object_id)
        if found is not None and found.area and not found.lost:
            return found
    return None


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


def _record(masks: FrameMasks, object_id: int, step: int) -> MaskRecord:
    return record_of(masks[object_id], masks.index, step)


def record_of(one: ObjectMask, frame: int, step: int) -> MaskRecord:
    """What a project keeps of a mask that was found in direction `step` (+1 or -1), or decided by a prompt (0)."""
    return MaskRecord(
        frame=frame,
        object_id=one.object_id,
        rle=rle.encode(one.mask),
        object_score=one.object_score,
        predicted_iou=one.predicted_iou,
        motion_score=one.motion_score,
        candidate=one.candidate,
        lost=one.lost,
        is_prompt=one.is_prompt,
        explanation=explain.pack(one.explanation, 0 if one.is_prompt else step),
    )


def _dtype(session: Session) -> str:
    return str(session.model.dtype).removeprefix("torch.")
