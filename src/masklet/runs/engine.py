"""A run as it goes through its frames: masks are written as they come, and the tracker's state now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from masklet.project.run import Leg, RunPlace, TrackingRun
from masklet.prompts import waits
from masklet.results import ObjectMask
from masklet.runs.request import ObjectReport, RunReport, TrackProgress
from masklet.tracking.state import export_state

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import FrameMasks, Session

Progress = Callable[[TrackProgress], None]
Stopped = Callable[[], bool]

_STATE_SECONDS = 0.5
_STATE_SHARE = 10  # a state may cost a tenth of the time
_STATE_BYTES_PER_SECOND = 4 << 20


@dataclass(frozen=True)
class RunStep:
    """One frame of a run: its masks (none on frames that only lead to what is kept), and how far the run is.

    `total` is 0 while the run is still being prepared. `image_hwc` is the frame's picture where there are masks, uint8
    RGB (height, width, 3).
    """

    frame: int
    masks: tuple[ObjectMask, ...]
    done: int
    total: int
    image_hwc: np.ndarray | None = field(default=None, repr=False, compare=False)


#: A run, frame by frame; its value is the report, which says what ended it. To close it stops the run, which can be
#: gone on with later.
RunSteps = Generator[RunStep, None, RunReport]


class Runner:
    """Carries out a run: tracks, writes masks as they come, and keeps the tracker's state now and then."""

    def __init__(self, project: Project, session: Session, progress: Progress | None, stopped: Stopped | None) -> None:
        self.project, self.session = project, session
        self.tell = progress or (lambda state: None)
        self.stopped = stopped or (lambda: False)
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
        self.tell(TrackProgress("track", 0, total))
        began = time.perf_counter()
        project.recording = True
        recorder = ThreadPoolExecutor(1, "masklet-recorder")
        frames = self._frames(run, names)
        try:
            entry, problem = next(frames, None), None
            while entry is not None:
                leg, masks, place = entry
                kept = list(masks) if leg.keeps(masks.index) else []
                resolved = {i: session.prompts(masks.index, i) for i in waiting.get(masks.index, ()) if kept}
                image_hwc = session.frame.image_hwc if session.frame and kept else None
                if place is not None:
                    run = run.model_copy(update={"place": place})
                due = place is not None and time.monotonic() >= self._state_due
                state = self._state(run) if due else None
                recording = recorder.submit(project.record_run, run, step, kept, resolved, state)
                try:  # the network looks at the next frame meanwhile; a run that stops here will find it again
                    entry = next(frames, None)
                except Exception as error:
                    entry, problem = None, error
                recorded = recording.result()
                if recorded is None:
                    report.notes.append(
                        f"Something was changed meanwhile, so this run ended before frame {masks.index}."
                    )
                    return report
                step = recorded
                if kept:
                    project.show()
                lost = [report.objects[found.object_id] for found in masks if found.lost]
                for known in lost:
                    known.add_lost(masks.index)
                report.frames += 1
                report.seconds = time.perf_counter() - began
                self.tell(TrackProgress("track", report.frames, total, tuple(known.name for known in lost)))
                try:
                    yield RunStep(masks.index, tuple(kept), report.frames, total, image_hwc)
                except GeneratorExit:
                    if place is None:
                        project.finish_run(run)
                    else:
                        project.record_run(run, step, state=self._state(run))
                    raise
                if place is not None and self.stopped():
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

    def _frames(self, run: TrackingRun, ids: Container[int]) -> Iterator[tuple[Leg, FrameMasks, RunPlace | None]]:
        """The frames from the run's place on, each with its leg and the place after it."""
        for number in range(run.place.leg, len(run.legs)):
            leg = run.legs[number]
            for masks in self.session.propagate(
                run.place.frame if number == run.place.leg else leg.first,
                leg.last,
                direction="forward" if leg.step > 0 else "backward",
                objects=[i for i in leg.object_ids if i in ids],
            ):
                yield leg, masks, run.after(RunPlace(number, masks.index))

    def _state(self, run: TrackingRun) -> dict[int, bytes]:
        """The tracker's state at the run's place."""
        began, place = time.monotonic(), run.place
        later = [(leg.first, leg.step) for leg in run.legs[place.leg + 1 :]]
        state = export_state(self.session, [(place.frame, run.legs[place.leg].step), *later])
        now, size = time.monotonic(), sum(map(len, state.values()))
        self._state_due = now + max(_STATE_SECONDS, (now - began) * _STATE_SHARE, size / _STATE_BYTES_PER_SECOND)
        return state
