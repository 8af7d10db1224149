"""The review queue: what deserves a look, where a click helps most, and what was said about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import cv2
import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from masklet.project import review
from masklet.studio import schemas
from masklet.studio.routes.common import PROBLEMS, PROJECT, ProjectOf
from masklet.studio.routes.pictures import PNG

router = APIRouter(responses=PROBLEMS, tags=["review"])

_OPACITY = 0.75


@router.get(f"{PROJECT}/review")
def get_review(project: ProjectOf) -> schemas.ReviewState:
    """The stretches of frames that deserve a look, worst first, and where one click is expected to help most."""
    opened = project.project
    ids = [known.id for known in opened.objects() if not known.locked]
    seen = review.review_objects(opened, ids)
    click = review.next_click(opened, seen)
    return schemas.ReviewState(
        queue=[schemas.StretchState(**asdict(stretch)) for stretch in review.queue(seen)],
        next=None if click is None else schemas.NextClickState(**asdict(click)),
        accepted=sum(len(review.reviewed(opened, number, "accepted")) for number in ids),
        revision=project.revision,
    )


@router.post(f"{PROJECT}/review")
def judge(project: ProjectOf, given: schemas.Judge) -> schemas.Done:
    """Accepts or rejects an object's masks on some frames, or takes that back; it holds until those masks change."""
    review.judge(project.project, given.object, given.first, given.last, given.verdict)
    return schemas.Done(revision=project.changed("review", "history", objects=[given.object]))


@router.get(f"{PROJECT}/review/heat.png", response_class=Response, responses=PNG)
def get_heat(
    project: ProjectOf,
    frame: Annotated[int, Query(ge=0, lt=2**31)],
    object: Annotated[int, Query(ge=0, lt=2**31)],
) -> Response:
    """Where an object's mask on a frame is likely to be wrong: a picture to lay over the frame, the hotter the more
    opaque."""
    heat = review.heat_of(project.project, object, frame)
    bgr = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (heat * 255 * _OPACITY).astype(np.uint8)
    return Response(cv2.imencode(".png", np.dstack([bgr, opacity]))[1].tobytes(), media_type="image/png")
