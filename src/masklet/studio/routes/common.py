"""What all routes share: the studio and the project of a request, and how long answers are waited for."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Query, Request

from masklet.studio.app import Studio
from masklet.studio.problems import SupersededError
from masklet.studio.schemas import ProblemAnswer
from masklet.studio.workspace import OpenProject

T = TypeVar("T")

PROJECT = "/api/projects/{project}"
_POLL_SECONDS = 0.2

#: What every route may answer when it fails, for OpenAPI.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": ProblemAnswer, "description": "What was asked for can't be done; the sentence says why"},
    401: {"model": ProblemAnswer, "description": "No token"},
    403: {"model": ProblemAnswer, "description": "Another host or site, or a path that leaves the root"},
    404: {"model": ProblemAnswer, "description": "There is no such project, object, job or file"},
    409: {"model": ProblemAnswer, "description": "Not now: in use, busy, superseded, or a model is missing"},
    413: {"model": ProblemAnswer, "description": "Larger than allowed"},
    422: {"model": ProblemAnswer, "description": "Fields that are missing, unknown or out of range"},
}


async def the_studio(request: Request) -> Studio:
    return request.app.state.studio


StudioOf = Annotated[Studio, Depends(the_studio)]


async def the_project(studio: StudioOf, project: Annotated[str, Path(max_length=100)]) -> OpenProject:
    return studio.workspace.get(project)


ProjectOf = Annotated[OpenProject, Depends(the_project)]
FrameOf = Annotated[int, Path(ge=0, lt=2**31, description="Frame, from 0")]
ObjectOf = Annotated[int, Path(ge=0, lt=2**31, description="Id of an object")]
#: A frame, or the id of an object, behind the question mark.
Asked = Annotated[int, Query(ge=0, lt=2**31)]
MaybeAsked = Annotated[int | None, Query(ge=0, lt=2**31)]


async def answer_of(request: Request, future: Future[T]) -> T:
    """Waits for the worker. When the client goes away, work that has not begun is not done."""
    waiting = asyncio.wrap_future(future)
    while True:
        done, _ = await asyncio.wait({waiting}, timeout=_POLL_SECONDS)
        if done:
            if waiting.cancelled():
                raise SupersededError("Nobody waits for this any more.")
            return waiting.result()
        if await request.is_disconnected() and future.cancel():
            raise SupersededError("Nobody waits for this any more.")
