"""The session of a run: opened by a project's settings, prompted as the project says, brought to where a run stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from masklet.project.records import Run, RunPlace
from masklet.prompts import Prompt
from masklet.results import ObjectMask
from masklet.runs.run_steps import RunStep
from masklet.tracking.state import import_state

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking import Session

#: Frames before a correction that are tracked again, so that its clicks meet the memories that they are to correct.
LEAD_IN = 32


def open_session(project: Project, device: str | None, dtype: str | None = None) -> Session:
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


def restore(session: Session, project: Project, run: Run) -> RunPlace:
    """Brings a session to where the run's state was saved, or else to its beginning; returns that place."""
    state = project.tracker_state
    if state is not None and run.state_place is not None:
        import_state(session, [state])
        return run.state_place
    add_prompts(session, project, sorted({i for leg in run.legs for i in leg.object_ids}))
    return RunPlace(leg=0, frame=run.legs[0].first)


def add_prompts(session: Session, project: Project, object_ids: Iterable[int]) -> None:
    for _ in prompt_steps(session, project, object_ids):
        pass


def prompt_steps(session: Session, project: Project, object_ids: Iterable[int]) -> Iterator[RunStep]:
    wanted = set(object_ids)
    # A mask that says "not here" needs another prompt that shows the object.
    said = {place: prompts for place, prompts in project.said().items() if place[1] in wanted}
    for (frame, object_id), prompts in sorted(said.items(), key=lambda entry: not entry[1][-1].shows):
        session.set_prompts(frame, object_id, prompts)
        yield RunStep(frame, (), 0, 0)


def lead_in(session: Session, project: Project, object_id: int, frame: int, step: int, prompted: Sequence[int]) -> None:
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
            session.set_prompts(start, object_id, [Prompt(mask=found.rle, origin="tracked")])
    if start == frame:
        return
    direction = "forward" if step > 0 else "backward"
    for _ in session.propagate(start, frame, direction=direction, objects=[object_id]):
        pass


def _seen(project: Project, object_id: int, frame: int, start: int, step: int) -> ObjectMask | None:
    """The mask on the last frame at or before `frame`, but after `start`, that shows the object."""
    for index in range(frame, start, -step):
        found = project.mask(index, object_id)
        if found is not None and found.area and not found.lost:
            return found
    return None
