"""A run as it goes through its frames: masks are written as they come, and the tracker's state now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from masklet.project.records import Run, RunPlace
from masklet.prompts import waits
from masklet.results import ObjectMask
from masklet.runs.request import ObjectReport, TrackProgress
from masklet.tracking.state import export_state

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import Session

Progress = Callable[[TrackProgress], None]
Stopped = Callable[[], bool]

_STATE_SECONDS = 0.5
_STATE_SHARE = 10  # a state may cost a tenth of the time
_STATE_BYTES_PER_SECOND = 4 << 20


@dataclass(frozen=True)
class RunStep:
    """One frame of a run: its masks (none on frames that only lead to what is kept), and how far the run is.

    `total` is 0 while the run is still being prepared.
    """

    frame: int
    masks: tuple[ObjectMask, ...]
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


class Runner:
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
        waiting: dict[int, list[int]] = {}
        for (frame, object_id), prompts in project.said().items():
            if object_id in session.object_ids and waits(prompts):
                waiting.setdefault(frame, []).append(object_id)
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
                        records = list(masks)
                        resolved = {i: session.prompts(masks.index, i) for i in waiting.get(masks.index, ())}
                        step = project.record_masks(step, run.label, records, resolved)
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
        state = b"".join(export_state(self.session, [(place.frame, run.legs[place.leg].step), *later]).values())
        self.project.save_run(run.model_copy(update={"state_place": place}), state)
        self._saved_at = time.monotonic()
        cost = self._saved_at - began
        self._pause = max(_STATE_SECONDS, cost * _STATE_SHARE, len(state) / _STATE_BYTES_PER_SECOND)

    def _finished(self, report: RunReport) -> RunReport:
        if damaged := list(self.session.video.damaged):
            shown = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
            report.notes.append(f"{len(damaged)} damaged frames were replaced by their neighbours: {shown}")
        return report
