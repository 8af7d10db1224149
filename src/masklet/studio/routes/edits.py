"""Edits by hand that reach over many frames or several objects."""

from __future__ import annotations

from fastapi import APIRouter

from masklet.project.edits import Edit
from masklet.studio import schemas
from masklet.studio.routes.common import PROBLEMS, PROJECT, ProjectOf

router = APIRouter(responses=PROBLEMS, tags=["edits"])


@router.post(f"{PROJECT}/edits")
def edit(project: ProjectOf, given: Edit) -> schemas.EditAnswer:
    """Deletes, copies, interpolates, merges, swaps, reassigns or splits masks, as one step of undo."""
    done = given.apply(project.project)
    revision = project.changed("objects", "prompts", "masks", "history", "run", objects=done.objects)
    return schemas.EditAnswer(**done.model_dump(), revision=revision)
