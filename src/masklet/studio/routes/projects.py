"""Projects: opened, looked at, set up, undone, closed."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter

from masklet.errors import MaskletError
from masklet.project.history import HistoryStep
from masklet.studio import schemas
from masklet.studio.app import Studio
from masklet.studio.problems import BusyError
from masklet.studio.routes.common import PROBLEMS, PROJECT, MaybeAsked, ProjectOf, StudioOf
from masklet.studio.worker import Urgency
from masklet.studio.workspace import OpenProject

router = APIRouter(responses=PROBLEMS, tags=["projects"])


@router.get("/api/projects")
def list_projects(studio: StudioOf) -> list[schemas.ProjectState]:
    """The projects that are open, without their lanes."""
    found = []
    for project in studio.workspace.all():
        try:
            found.append(_state(studio, project, lanes=False))
        except MaskletError:
            if not project.closed:  # it was closed while it was listed
                raise
    return found


@router.post("/api/projects")
def open_project(studio: StudioOf, given: schemas.OpenRequest) -> schemas.ProjectState:
    """Opens a project, or makes one for a video, a picture or a sequence."""
    return _state(studio, studio.workspace.open(given))


@router.get(PROJECT)
def get_project(studio: StudioOf, project: ProjectOf, lanes: bool = True) -> schemas.ProjectState:
    """Everything about a project but its pictures and masks."""
    return _state(studio, project, lanes)


@router.delete(PROJECT)
async def close_project(studio: StudioOf, project: ProjectOf) -> schemas.Done:
    """Closes a project. Its jobs stop; a track can be gone on with later."""

    def close() -> None:
        studio.board.leave(project)
        # In the worker, so that no click that is being answered finds it closed.
        studio.worker.submit(lambda: studio.workspace.close(project), Urgency.PROMPT).result()

    await to_thread.run_sync(close)
    return schemas.Done()


@router.get(f"{PROJECT}/lanes")
def get_lanes(project: ProjectOf, object: MaybeAsked = None) -> list[schemas.Lane]:
    """Where each object was tracked, and with what scores."""
    if object is not None:
        return [project.lane(project.project.get_object(object).id)]
    return [project.lane(object_.id) for object_ in project.project.objects()]


@router.get(f"{PROJECT}/history")
def get_history(project: ProjectOf) -> list[HistoryStep]:
    """All steps that can be taken back or done again, oldest first."""
    return project.project.history()


@router.post(f"{PROJECT}/undo")
def undo(project: ProjectOf) -> schemas.UndoAnswer:
    """Takes the last change back."""
    _require_rest(project)
    return _swapped(project, project.project.undo())


@router.post(f"{PROJECT}/redo")
def redo(project: ProjectOf) -> schemas.UndoAnswer:
    """Does again what was taken back last."""
    _require_rest(project)
    return _swapped(project, project.project.redo())


@router.put(f"{PROJECT}/settings")
def change_settings(project: ProjectOf, given: schemas.ChangeSettings) -> schemas.SettingsState:
    """Model, resolution, policy and number format for tracking from now on; mask settings for all objects."""
    project.change_settings(given)
    project.changed("settings", "objects", "history", "run")
    return project.settings()


def _state(studio: Studio, project: OpenProject, lanes: bool = True) -> schemas.ProjectState:
    return project.state([job.snapshot() for job in studio.board.of(project)], lanes)


def _require_rest(project: OpenProject) -> None:
    if project.project.recording:
        raise BusyError("Tracking is writing to this project. Pause or cancel it first.")


def _swapped(project: OpenProject, label: str | None) -> schemas.UndoAnswer:
    if label is None:
        return schemas.UndoAnswer(label=None, revision=project.revision)
    revision = project.changed("objects", "prompts", "masks", "settings", "history", "run")
    return schemas.UndoAnswer(label=label, revision=revision)
