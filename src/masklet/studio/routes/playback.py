"""What playing needs: masks of many frames, sound, and a picture at once where the right one takes a while."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse

from masklet.media.audio import sound_between
from masklet.studio import packed
from masklet.studio.frames import LARGEST_SIDE
from masklet.studio.overlays import MOST_FRAMES
from masklet.studio.problems import NotFoundError
from masklet.studio.routes.common import PROBLEMS, PROJECT, Asked, FrameOf, ProjectOf

router = APIRouter(responses=PROBLEMS, tags=["playing"])

MOST_SECONDS = 60
_MASKS: dict[int | str, dict[str, Any]] = {200: {"content": {packed.MEDIA_TYPE: {}}}}
_WAV: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/wav": {}}}}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "headers": {"X-Frame": {"schema": {"type": "integer"}}}}
}


@router.get(f"{PROJECT}/mask-stream", response_class=StreamingResponse, responses=_MASKS)
def stream_masks(
    project: ProjectOf,
    start: Asked = 0,
    count: Annotated[int, Query(ge=1, le=MOST_FRAMES)] = MOST_FRAMES,
    backward: bool = False,
) -> StreamingResponse:
    """The masks of frames from `start` on, as their mask settings want them, in the bytes that `studio/packed.py`
    tells of. They come as they are ready.
    """
    project.overlays.check(start, start)
    return StreamingResponse(packed.stream(project.overlays, start, count, backward), media_type=packed.MEDIA_TYPE)


@router.get(f"{PROJECT}/sound.wav", response_class=Response, responses=_WAV)
def get_sound(
    project: ProjectOf,
    start: Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False, description="Seconds from the first frame")] = 0.0,
    seconds: Annotated[float, Query(gt=0, le=MOST_SECONDS, allow_inf_nan=False)] = 10.0,
) -> Response:
    """A part of the source's sound; it is shorter where the sound ends."""
    if not project.reader.info.has_audio:
        raise NotFoundError("This source has no sound.")
    begin = Fraction(start).limit_denominator(1_000_000)
    wav = sound_between(project.reader.info.path, begin, begin + Fraction(seconds).limit_denominator(1_000_000))
    return Response(wav, media_type="audio/wav")


@router.get(f"{PROJECT}/frames/{{frame}}/preview.jpg", response_class=Response, responses=_JPEG)
def get_preview(
    project: ProjectOf, frame: FrameOf, width: Annotated[int | None, Query(ge=16, le=LARGEST_SIDE)] = None
) -> Response:
    """What can be shown of a frame at once: the nearest key frame. The header `X-Frame` says which that is."""
    near, jpeg = project.frames.preview(frame, width)
    return Response(jpeg, media_type="image/jpeg", headers={"X-Frame": str(near)})
