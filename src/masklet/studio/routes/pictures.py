"""Pictures and masks of frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response

from masklet.studio import schemas
from masklet.studio.frames import LARGEST_SIDE
from masklet.studio.overlays import MOST_FRAMES
from masklet.studio.routes.common import PROBLEMS, PROJECT, Asked, FrameOf, ObjectOf, ProjectOf
from masklet.studio.workspace import OpenProject

router = APIRouter(responses=PROBLEMS, tags=["pictures and masks"])

_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}},
    304: {"description": "The client has this picture already"},
}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
_Version = Annotated[
    str | None, Query(max_length=100, description="The source's fingerprint: then the picture is cached for ever")
]


@router.get(f"{PROJECT}/frames/{{frame}}.jpg", response_class=Response, responses=_JPEG)
def get_frame(
    request: Request,
    project: ProjectOf,
    frame: FrameOf,
    width: Annotated[int | None, Query(ge=16, le=LARGEST_SIDE, description="At most so many pixels wide")] = None,
    v: _Version = None,
) -> Response:
    """A frame as JPEG."""
    return _jpeg(request, project, v, f"{frame}-{width or 0}", lambda: project.frames.jpeg(frame, width))


@router.get(f"{PROJECT}/thumbnails/{{frame}}.jpg", response_class=Response, responses=_JPEG)
def get_thumbnail(
    request: Request,
    project: ProjectOf,
    frame: FrameOf,
    height: Annotated[int, Query(ge=16, le=512)] = 90,
    v: _Version = None,
) -> Response:
    """A small picture of a frame as JPEG."""
    return _jpeg(request, project, v, f"{frame}-t{height}", lambda: project.frames.thumbnail(frame, height))


@router.get(f"{PROJECT}/masks/{{frame}}")
def get_masks(project: ProjectOf, frame: FrameOf, raw: bool = False) -> schemas.FrameMasksState:
    """The masks of a frame, as their mask settings want them; `raw`: as they were tracked."""
    return _only(frame, project.overlays.raw(frame, frame) if raw else project.overlays.finished(frame, frame))


@router.get(f"{PROJECT}/masks")
def get_many_masks(
    project: ProjectOf,
    start: Asked = 0,
    end: Annotated[int | None, Query(ge=0, lt=2**31, description=f"At most {MOST_FRAMES} frames at a time")] = None,
    raw: bool = False,
    before: Annotated[
        int | None, Query(ge=1, lt=2**63, description="As they were before this step of the history and those since")
    ] = None,
) -> schemas.MasksBatch:
    """The masks of frames `start` to `end`, both included; those that have none are left out."""
    last = project.frames.count - 1
    end = min(start + MOST_FRAMES - 1, last) if end is None else min(end, last)
    shown = project.overlays
    if before is not None:
        found = shown.before(before, start, end)
    else:
        found = shown.raw(start, end) if raw else shown.finished(start, end)
    return schemas.MasksBatch(start=start, end=end, frames=found)


@router.post(f"{PROJECT}/masks/{{frame}}/preview")
def preview_masks(project: ProjectOf, frame: FrameOf, given: schemas.PreviewMasks) -> schemas.FrameMasksState:
    """The masks of a frame with other mask settings; nothing is kept."""
    return _only(frame, project.overlays.finished(frame, frame, given.settings, given.objects))


@router.get(f"{PROJECT}/masks/{{frame}}/{{object}}/alpha.png", response_class=Response, responses=PNG)
def get_alpha(project: ProjectOf, frame: FrameOf, object: ObjectOf) -> Response:
    """The opacity of one object as 8-bit grey PNG, soft edges included."""
    return Response(project.overlays.alpha_png(frame, object), media_type="image/png")


@router.post(f"{PROJECT}/masks/{{frame}}/{{object}}/alpha.png", response_class=Response, responses=PNG)
def preview_alpha(
    project: ProjectOf, frame: FrameOf, object: ObjectOf, settings: Annotated[dict[str, Any], Body(max_length=50)]
) -> Response:
    """The same with other mask settings, which are not kept."""
    return Response(project.overlays.alpha_png(frame, object, settings), media_type="image/png")


def _only(frame: int, found: list[schemas.FrameMasksState]) -> schemas.FrameMasksState:
    return found[0] if found else schemas.FrameMasksState(frame=frame, objects=[])


def _jpeg(
    request: Request, project: OpenProject, version: str | None, name: str, make: Callable[[], bytes]
) -> Response:
    """A picture, unless the client has it already; with the source's fingerprint as its version it lasts for ever."""
    tag = f'"{project.fingerprint}-{name}"'
    cache = "private, max-age=31536000, immutable" if version == project.fingerprint else "private, no-cache"
    headers = {"ETag": tag, "Cache-Control": cache}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="image/jpeg", headers=headers)
