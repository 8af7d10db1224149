"""A run as it goes through its frames: masks are written as they come, and the tracker's state now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import update_wrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, ParamSpec

import numpy as np

from masklet.project.run import RunPlace, TrackingRun
from masklet.prompts import Prompt, waits
from masklet.results import ObjectMask
from masklet.runs.agreement import Agreement
from masklet.runs.request import ObjectReport, RunReport, TrackProgress

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.results import FrameMasks
    from masklet.tracking.session import Session

P = ParamSpec("P")
Progress = Callable[[TrackProgress], None]
Stopped = Callable[[], bool]

#: Frames that the network looks at before one is written, where the disk is slow.
_AHEAD = 2
_STATE_SECONDS = 0.5
_STATE_SHARE = 10  # a state may cost a tenth of the time
_STATE_BYTES_PER_SECOND = 4 << 20


@dataclass(frozen=True)
class RunStep:
    """One frame of a run: its masks (none on frames that only lead to what is kept), and how far the run is.

    `total` is 0 while the run is still being prepared; `done` is 0 once it is about to begin. `lost` are the names of
    objects that can't be seen here. `image_hwc` is the frame's picture where there are masks, uint8 RGB (height, width,
    3).
    """

    frame: int
    masks: tuple[ObjectMask, ...]
    done: int
    total: int
    lost: tuple[str, ...] = ()
    image_hwc: np.ndarray | None = field(default=None, repr=False, compare=False)


#: A run, frame by frame; its value is the report, which says what ended it. To send True or to close it stops the run,
#: which can be gone on with later.
RunSteps = Generator[RunStep, bool | None, RunReport]


def drive(
    steps: RunSteps,
    progress: Progress | None = None,
    stopped: Stopped | None = None,
    see: Callable[[RunStep], None] = lambda step: None,
) -> RunReport:
    """Carry out a run, whose report says what ended it.

    Args:
        progress: told before the first frame, when everything is loaded, and after every one.
        stopped: asked after every frame; once it says yes, what is done is kept and the run ends.
        see: gets every step.
    """
    stop: bool | None = None
    try:
        while True:
            step = steps.send(stop)
            try:
                see(step)
                if progress is not None and step.total:
                    progress(TrackProgress("track", step.done, step.total, step.lost))
                stop = step.done > 0 and stopped is not None and stopped()
            except BaseException as error:  # the run ends as if it had failed by itself
                steps.throw(error)
    except StopIteration as end:
        report: RunReport = end.value
        return report


class Action(Generic[P]):
    """What starts a run. To call it carries the run out and raises what ended it early; `steps` gives its frames.

    A call takes `progress` and `stopped` besides (see `drive`).
    """

    def __init__(self, steps: Callable[P, RunSteps]) -> None:
        self.steps = steps
        update_wrapper(self, steps)

    def __call__(
        self, *given: Any, progress: Progress | None = None, stopped: Stopped | None = None, **more: Any
    ) -> RunReport:
        return carry_out(self.steps(*given, **more), progress, stopped)


def carry_out(steps: RunSteps, progress: Progress | None = None, stopped: Stopped | None = None) -> RunReport:
    """`drive`, but raises what ended the run early."""
    report = drive(steps, progress, stopped)
    if report.problem is not None:
        raise report.problem
    return report


@dataclass(frozen=True)
class _Found:
    """A frame that the network has looked at: its masks, of those the ones to keep, and the place of the run after it.

    `resolved` are the prompts, by object, that had waited for the mask of this frame.
    """

    masks: FrameMasks
    kept: tuple[ObjectMask, ...]
    resolved: dict[int, tuple[Prompt, ...]]
    image_hwc: np.ndarray | None
    place: RunPlace | None


class Runner:
    """Carries out a run: tracks, writes masks as they come, and keeps the tracker's state now and then."""

    def __init__(self, project: Project, session: Session) -> None:
        self.project, self.session = project, session
        self._state_due = 0.0

    def go(self, run: TrackingRun, step: int | None = None) -> RunSteps:
        """Tracks from the run's place to its end, until it is stopped or closed, or until an edit ends it.

        Its masks belong to `step`, a step of undo, or to a new one.
        """
        project, session = self.project, self.session
        names = {known.id: known.name for known in project.objects()}
        report = RunReport(session.model.spec.name, notes=[*session.video.info.notes])
        report.objects = {i: ObjectReport(names[i]) for leg in run.legs for i in leg.object_ids if i in names}
        waiting: dict[int, list[int]] = {}
        for (frame, object_id), prompts in project.said().items():
            if object_id in session.object_ids and waits(prompts):
                waiting.setdefault(frame, []).append(object_id)
        total = run.frames_left
        run = project.begin_run(run, self._state(run), step)
        step = run.undo_step
        began = time.perf_counter()
        project.recording = True
        recorder = ThreadPoolExecutor(1, "masklet-recorder")
        frames, ahead, problem = self._frames(run, names, waiting), deque[_Found](), None
        try:
            yield RunStep(run.place.frame, (), 0, total)
            ahead.extend(islice(frames, 1))
            while ahead:
                found = ahead.popleft()
                if found.place is not None:
                    run = run.model_copy(update={"place": found.place})
                due = found.place is not None and time.monotonic() >= self._state_due
                state = self._state(run) if due else None
                recording = recorder.submit(project.record_run, run, step, found.kept, found.resolved, state)
                try:  # the network looks at the next frame meanwhile; a run that stops here will find it again
                    while problem is None and (not ahead or (len(ahead) < _AHEAD and not recording.done())):
                        ahead.append(next(frames))
                except StopIteration:
                    pass
                except Exception as error:
                    problem = error
                recorded = recording.result()
                if recorded is None:
                    report.notes.append(
                        f"Something was changed meanwhile, so this run ended before frame {found.masks.index}."
                    )
                    return report
                step = recorded
                if found.kept:
                    project.show()
                lost = [report.objects[mask.object_id] for mask in found.masks if mask.lost]
                for known in lost:
                    known.add_lost(found.masks.index)
                report.frames += 1
                report.seconds = time.perf_counter() - began
                total = report.frames + (0 if found.place is None else run.frames_left)  # legs may end early
                lost_names = tuple(known.name for known in lost)
                try:
                    stop = yield RunStep(
                        found.masks.index, found.kept, report.frames, total, lost_names, found.image_hwc
                    )
                except GeneratorExit:
                    if found.place is None:
                        project.finish_run(run)
                    else:
                        project.record_run(run, step, state=self._state(run))
                    raise
                if found.place is not None and stop:
                    project.record_run(run, step, state=self._state(run))
                    return report
            if problem is not None:
                raise problem
            project.finish_run(run)
            report.complete = True
            return report
        except Exception as error:  # whatever it is: hours of work may be behind it
            report.problem = error
            return report
        finally:
            recorder.shutdown()
            report.notes += session.video.damage_notes()
            project.recording = False
            project.end_step(step)
            project.flush()

    def _frames(self, run: TrackingRun, ids: Container[int], waiting: Mapping[int, Sequence[int]]) -> Iterator[_Found]:
        """The frames from the run's place on; `waiting` are the objects whose prompts wait for the mask of a frame."""
        session = self.session
        agreement = Agreement(self.project, run.undo_step) if any(leg.until_agrees for leg in run.legs) else None
        for number in range(run.place.leg, len(run.legs)):
            leg = run.legs[number]
            if agreement is not None and leg.until_agrees and agreement.reached(leg, leg.first - leg.step):
                continue
            for masks in session.propagate(
                run.place.frame if number == run.place.leg else leg.first,
                leg.last,
                direction="forward" if leg.step > 0 else "backward",
                objects=[i for i in leg.object_ids if i in ids],
            ):
                kept = tuple(masks) if leg.keeps(masks.index) else ()
                resolved = {i: session.prompts(masks.index, i) for i in waiting.get(masks.index, ()) if kept}
                image_hwc = session.frame.image_hwc if session.frame and kept else None
                ends = False
                if agreement is not None:
                    agreement.look(masks)
                    ends = leg.until_agrees and agreement.reached(leg, masks.index)
                yield _Found(masks, kept, resolved, image_hwc, run.after(RunPlace(number, masks.index), ends))
                if ends:
                    break

    def _state(self, run: TrackingRun) -> dict[int, bytes]:
        """The tracker's state at the run's place."""
        from masklet.tracking.state import export_state

        began, place = time.monotonic(), run.place
        later = [(leg.first, leg.step) for leg in run.legs[place.leg + 1 :]]
        again = [range(min(leg.first, leg.last), max(leg.first, leg.last) + 1) for leg in run.legs[place.leg :]]
        state = export_state(self.session, [(place.frame, run.legs[place.leg].step), *later], again if later else ())
        now, size = time.monotonic(), sum(map(len, state.values()))
        self._state_due = now + max(_STATE_SECONDS, (now - began) * _STATE_SHARE, size / _STATE_BYTES_PER_SECOND)
        return state
