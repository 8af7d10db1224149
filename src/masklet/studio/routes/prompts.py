"""Objects, and what is said about them: clicks, boxes, painted masks, answered at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request

from masklet.errors import InputError
from masklet.runs.prompting import Answer, Prompter
from masklet.studio import overlays, schemas
from masklet.studio.app import Studio
from masklet.studio.routes.common import (
    PROBLEMS,
    PROJECT,
    Asked,
    FrameOf,
    MaybeAsked,
    ObjectOf,
    ProjectOf,
    StudioOf,
    answer_of,
)
from masklet.studio.worker import Urgency
from masklet.studio.workspace import OpenProject, parse_color, prompt_state

router = APIRouter(responses=PROBLEMS, tags=["objects and prompts"])


# --- objects ---------------------------------------------------------------------------------------------------------


@router.post(f"{PROJECT}/objects", status_code=201)
def add_object(project: ProjectOf, given: schemas.NewObject) -> schemas.ObjectState:
    """A new object, without a mask yet."""
    made = project.project.add_object(name=given.name, color=parse_color(given.color))
    project.changed("objects", "history", objects=[made.id])
    return project.object_state(made)


@router.patch(f"{PROJECT}/objects/{{object}}")
def change_object(project: ProjectOf, object: ObjectOf, given: schemas.ChangeObject) -> schemas.ObjectState:
    """Changes what is given of an object, and leaves the rest."""
    changes: dict[str, Any] = given.model_dump(exclude_unset=True)
    for name in ("name", "color", "visible", "locked", "position", "attributes"):
        if name in changes and changes[name] is None:
            raise InputError(f"{name} can't be null.")
    if "color" in changes:
        changes["color"] = parse_color(given.color)
    changed = project.project.update_object(object, **changes)
    project.changed("objects", "history", objects=[object])
    return project.object_state(changed)


@router.delete(f"{PROJECT}/objects/{{object}}")
def delete_object(project: ProjectOf, object: ObjectOf) -> schemas.Done:
    """Removes an object with its prompts and masks; undo brings all of it back."""
    project.project.unlocked(object)
    project.project.remove_object(object)
    return schemas.Done(revision=project.changed("objects", "prompts", "masks", "history", "run", objects=[object]))


# --- prompts ---------------------------------------------------------------------------------------------------------


@router.get(f"{PROJECT}/prompts")
def list_prompts(project: ProjectOf, frame: MaybeAsked = None, object: MaybeAsked = None) -> list[schemas.PromptState]:
    """Prompts in the order in which they were made."""
    return [prompt_state(record) for record in project.project.prompts(frame, object)]


@router.post(f"{PROJECT}/prompts")
async def add_prompt(
    request: Request, studio: StudioOf, project: ProjectOf, given: schemas.NewPrompt
) -> schemas.PromptAnswer:
    """Keeps clicks, a box or a painted mask, and answers with the mask that they give."""
    clicks = given.model_dump(include={"points", "labels", "box"})
    if given.mask is None:
        return await _answer(
            request, studio, project, lambda p: p.add(given.frame, given.object, **clicks, clear=given.clear)
        )
    if any(clicks.values()):
        raise InputError("Give either a painted mask, or clicks and a box.")
    mask = given.mask.model_dump()
    return await _answer(request, studio, project, lambda p: p.paint(given.frame, given.object, mask))


@router.get(f"{PROJECT}/prompts/candidates")
async def get_candidates(
    request: Request, studio: StudioOf, project: ProjectOf, frame: Asked, object: Asked
) -> schemas.PromptAnswer:
    """The candidates that the clicks on a frame gave, and which of them was chosen. Nothing is changed."""
    return await _answer(request, studio, project, lambda p: p.look(frame, object), changes=False)


@router.post(f"{PROJECT}/prompts/candidate")
async def choose_candidate(
    request: Request, studio: StudioOf, project: ProjectOf, given: schemas.ChooseCandidate
) -> schemas.PromptAnswer:
    """Takes another of the candidates that the clicks on a frame gave."""
    return await _answer(request, studio, project, lambda p: p.choose(given.frame, given.object, given.candidate))


@router.delete(f"{PROJECT}/prompts")
async def delete_prompts(
    request: Request, studio: StudioOf, project: ProjectOf, frame: Asked, object: Asked
) -> schemas.PromptAnswer:
    """Takes back what was said about an object on a frame; what tracking had found there comes back."""
    return await _answer(request, studio, project, lambda p: p.clear(frame, object))


@router.post(f"{PROJECT}/hover")
async def hover(
    request: Request, studio: StudioOf, project: ProjectOf, given: schemas.HoverPrompt
) -> schemas.HoverAnswer:
    """The mask that a prompt would give. Nothing is kept; a newer question takes the place of one that waits."""

    def work() -> schemas.HoverAnswer:
        clicks = given.model_dump(include={"points", "labels", "box"})
        found = project.prompter().preview(given.frame, given.object, **clicks)
        return schemas.HoverAnswer(
            frame=given.frame,
            rle=schemas.Rle(**found.rle),
            predicted_iou=found.scores.predicted_iou or 0.0,
            object_score=found.scores.object_score or 0.0,
        )

    if given.object is not None:
        project.project.get_object(given.object)
    return await answer_of(request, studio.worker.submit(work, Urgency.PREVIEW, ("hover", project.id)))


@router.post(f"{PROJECT}/frames/{{frame}}/encode")
async def encode_frame(request: Request, studio: StudioOf, project: ProjectOf, frame: FrameOf) -> schemas.Encoded:
    """Lets the network look at a frame, so that the first click on it is quick."""

    def work() -> schemas.Encoded:
        began = time.perf_counter()
        project.prompter().session.encode(frame)
        return schemas.Encoded(frame=frame, seconds=round(time.perf_counter() - began, 4))

    return await answer_of(request, studio.worker.submit(work, Urgency.AHEAD, ("encode", project.id)))


async def _answer(
    request: Request,
    studio: Studio,
    project: OpenProject,
    ask: Callable[[Prompter], Answer],
    changes: bool = True,
) -> schemas.PromptAnswer:
    def work() -> schemas.PromptAnswer:
        began = time.perf_counter()
        found = ask(project.prompter())
        seconds = time.perf_counter() - began
        settings = project.project.settings_of(found.object_id)
        revision = project.revision
        if changes:
            revision = project.changed(
                "prompts", "masks", "history", "run", frames=[found.frame], objects=[found.object_id]
            )
        return schemas.PromptAnswer(
            frame=found.frame,
            object=found.object_id,
            mask=None if found.mask is None else overlays.mask_state(found.mask, settings),
            candidates=[
                schemas.CandidateState(
                    index=offered.candidate,
                    rle=schemas.Rle(**offered.rle),
                    predicted_iou=offered.scores.predicted_iou or 0.0,
                    final_score=offered.explanation.final_scores[offered.candidate] if offered.explanation else None,
                    chosen=found.mask is not None and offered.candidate == found.mask.candidate,
                )
                for offered in found.candidates
            ],
            seconds=round(seconds, 4),
            revision=revision,
        )

    return await answer_of(request, studio.worker.submit(work, Urgency.PROMPT))
