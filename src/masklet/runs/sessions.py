"""The session of a run: opened by a project's settings, prompted as the project says, brought to where a run stands."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from masklet.project.records import TrackSettings
from masklet.project.run import TrackingRun
from masklet.prompts import Prompt
from masklet.results import ObjectMask
from masklet.runs.engine import RunStep

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.tracking.session import Session

#: Frames that are tracked again so that what comes after them finds memories: as many as a frame reads.
LEAD_IN = 16


def open_session(
    project: Project,
    device: str | None,
    dtype: str | None = None,
    settings: TrackSettings | None = None,
    **how: Any,
) -> Session:
    """A session about the project's source, by its settings or by others; `how` are more arguments of `Session`."""
    from masklet.tracking.session import Session

    settings = settings or project.track_settings
    how |= settings.policy_options
    session = Session(
        project.open_source(),
        settings.model,
        policy=settings.policy,
        resolution=settings.resolution,
        shape=settings.shape,
        zoom=settings.zoom,
        device=device,
        dtype=dtype or settings.dtype,
        checkpoint=settings.checkpoint,
        **how,
    )
    if settings == project.track_settings and settings.checkpoint is not None:
        project.note_model(session.model.spec.name)
    return session


def restore(session: Session, project: Project, run: TrackingRun) -> TrackingRun:
    """Brings a session to where the run stands; to its beginning where no state is kept. Returns the run there."""
    from masklet.tracking.state import import_state

    if state := project.tracker_state:
        import_state(session, state.values())
        return run
    add_prompts(session, project, sorted({i for leg in run.legs for i in leg.object_ids}))
    return run.model_copy(update={"place": run.start})


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


def lead_in(
    session: Session, project: Project, object_id: int, frame: int, step: int
) -> Generator[RunStep, None, None]:
    """Tracks up to a frame, itself included, without keeping anything: what comes after it finds its memories there.

    It starts from the object's last prompt; where that is far, from a mask that is nearer. That mask is taken back at
    the end: it is what tracking found, not what somebody said.
    """
    behind = [t for t in session.prompt_frames(object_id) if (frame - t) * step >= 0]
    if not behind or frame in session.tracked_frames(object_id):
        return
    start = max(behind) if step > 0 else min(behind)
    near = frame - step * (LEAD_IN - 1)
    found = _seen(project, object_id, near, start, step) if (near - start) * step > 0 else None
    if found is not None:
        start = found.frame
        session.set_prompts(start, object_id, [Prompt(mask=found.rle, origin="tracked")])
    direction = "forward" if step > 0 else "backward"
    for masks in session.propagate(start, frame, direction=direction, objects=[object_id]):
        yield RunStep(masks.index, (), 0, 0)
    if found is not None:
        session.clear_prompts(start, object_id)


def _seen(project: Project, object_id: int, frame: int, start: int, step: int) -> ObjectMask | None:
    """The mask on the last frame at or before `frame`, but after `start`, that shows the object."""
    for index in range(frame, start, -step):
        found = project.mask(index, object_id)
        if found is not None and found.area and not found.lost:
            return found
    return None
