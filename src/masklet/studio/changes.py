"""What news say of a change, so that no page has to ask for what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masklet.studio import schemas

if TYPE_CHECKING:
    from masklet.studio.workspace import OpenProject

_MOST_MASKS = 32


def changed_parts(opened: OpenProject, news: schemas.ProjectChanged) -> schemas.ChangedParts | None:
    """The parts named as they are now; None where that is too much for news, or everything may have changed."""
    from masklet.studio.workspace import prompt_state

    what, frames, objects = news.what, news.frames, news.objects
    if "settings" in what:
        return None
    project = opened.project
    parts = schemas.ChangedParts(history=opened.history(), run=opened.run())
    if "objects" in what:
        parts.objects = [opened.object_state(known) for known in project.objects()]
    if "masks" in what or "prompts" in what:
        if frames is None or objects is None or len(frames) * len(objects) > _MOST_MASKS:
            return None
        records = [record for frame in frames for record in project.prompts(frame)]
        parts.prompts = [prompt_state(record) for record in records if record.object_id in objects]
        parts.masks = []
        for frame in frames:
            found = [mask for number in objects if (mask := project.mask(frame, number)) is not None]
            states, plain = opened.overlays.news(found)
            parts.masks.append(schemas.FrameMasksState(frame=frame, objects=states))
            parts.plain = parts.plain and plain
    return parts
