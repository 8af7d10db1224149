"""What became of the objects of a video, as the report and the studio's page of a batch show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masklet.masks.render import RGB
from masklet.project import Project
from masklet.project.review import Stretch, queue, review_object


@dataclass(frozen=True)
class ObjectSummary:
    """One object of a video.

    Attributes:
        iou: its mean predicted IoU where it was seen, None where nothing is known.
        lost: frames on which it can't be seen.
        doubtful: what deserves a look, worst first; nothing of an object that is locked.
    """

    name: str
    color: RGB
    iou: float | None
    lost: int
    doubtful: list[Stretch]


def summarise_objects(project: Project) -> list[ObjectSummary]:
    """Raises ProjectError where the file is damaged."""
    found = []
    for known in project.objects():
        scores = project.scores(known.id)
        seen = [line["predicted_iou"] for line in scores if not line["lost"] and line["predicted_iou"] is not None]
        doubtful = [] if known.locked else queue([review_object(project, known.id)])
        iou = float(np.mean(seen)) if seen else None
        found.append(ObjectSummary(known.name, known.color, iou, sum(line["lost"] for line in scores), doubtful))
    return found
