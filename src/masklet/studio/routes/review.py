"""The review queue: what deserves a look, where a click helps most, and what was said about it."""

from __future__ import annotations

import cv2
import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response

from masklet.project import review
from masklet.studio import schemas
from masklet.studio.routes.common import PROBLEMS, PROJECT, Asked, ProjectOf
from masklet.studio.routes.pictures import PNG

router = APIRouter(responses=PROBLEMS, tags=["review"])

_OPACITY = 0.75


@router.get(f"{PROJECT}/review")
def get_review(project: ProjectOf) -> schemas.ReviewState:
    """The stretches of frames that deserve a look, worst first, and where one click is expected to help most."""
    opened = project.project
    ids = [known.id for known in opened.objects() if not known.locked]
    seen = review.review_objects(opened, ids)
    return schemas.ReviewState(
        queue=review.queue(seen),
        next=review.next_click(opened, seen),
        accepted=sum(len(review.reviewed(opened, number, "accepted")) for number in ids),
        revision=project.revision,
    )


@router.post(f"{PROJECT}/review")
def judge(project: ProjectOf, given: schemas.Judge) -> schemas.Done:
    """Accepts or rejects an object's masks on some frames, or takes that back; it holds until those masks change."""
    review.judge(project.project, given.object, given.first, given.last, given.verdict)
    return schemas.Done(revision=project.changed("review", "history", objects=[given.object]))


@router.get(f"{PROJECT}/review/heat.png", response_class=Response, responses=PNG)
def get_heat(project: ProjectOf, frame: Asked, object: Asked) -> Response:
    """Where an object's mask on a frame is likely to be wrong: a picture to lay over the frame, the hotter the more
    opaque."""
    heat = review.heat_of(project.project, object, frame)
    bgr = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    opacity = (heat * 255 * _OPACITY).astype(np.uint8)
    return Response(cv2.imencode(".png", np.dstack([bgr, opacity]))[1].tobytes(), media_type="image/png")
