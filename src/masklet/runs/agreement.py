"""Where tracking again may end: the new masks are as the old ones were, so what follows would be as it was.

A run compares with what its step of undo replaced, so one that was killed and goes on ends at the same frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from masklet.project.run import Leg
from masklet.results import ObjectMask

if TYPE_CHECKING:
    from masklet.project.store import Project
    from masklet.results import FrameMasks

#: IoU from which two masks of a frame say the same.
AGREEING_IOU = 0.9
#: So many such frames in a row end a leg.
AGREEING_FRAMES = 8


def agree(old: ObjectMask | None, new: ObjectMask | None) -> bool:
    """Whether two masks of an object on a frame say the same; none and another never do."""
    if old is None or new is None or old.lost != new.lost:
        return False
    union = int(np.count_nonzero(old.mask | new.mask))
    return union == 0 or int(np.count_nonzero(old.mask & new.mask)) >= AGREEING_IOU * union


class Agreement:
    """Looks along the legs of a run for frames on which its masks are as they were before the run."""

    def __init__(self, project: Project, step: int) -> None:
        self._project, self._step = project, step
        # What this run saw: its newest masks may be on their way into the project.
        self._seen: dict[tuple[int, int], bool] = {}

    def look(self, masks: FrameMasks) -> None:
        """Takes the masks of a frame that are about to be kept."""
        for found in masks:
            place = masks.index, found.object_id
            self._seen[place] = agree(self._project.mask_before(self._step, *place), found)

    def reached(self, leg: Leg, frame: int) -> bool:
        """Whether this frame of a leg is the last of enough that agree."""
        frames = [frame - i * leg.step for i in range(AGREEING_FRAMES)]
        return all(self._agrees(place, object_id) for place in frames for object_id in leg.object_ids)

    def _agrees(self, frame: int, object_id: int) -> bool:
        place = frame, object_id
        if place not in self._seen:
            before, now = self._project.mask_before(self._step, *place), self._project.mask(*place)
            self._seen[place] = agree(before, now)
        return self._seen[place]
