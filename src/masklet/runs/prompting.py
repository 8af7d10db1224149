"""Prompts of a project answered at once, frame by frame, without tracking.

What a prompt gives here is what tracking will start from: it is decided by the same session from the same prompts, and
kept in the project with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError, PromptError
from masklet.prompts import Prompt, waits
from masklet.results import PAINTED, ObjectMask
from masklet.runs.sessions import open_session

if TYPE_CHECKING:
    from masklet.project.store import Project

FEATURE_BYTES = 256 << 20
_ANSWERS_KEPT = 64


@dataclass(frozen=True)
class Answer:
    """What a frame shows of an object after a prompt: its mask (None where nothing is left), and what else the network
    offered for it (see `Session.candidates`).
    """

    frame: int
    object_id: int
    mask: ObjectMask | None
    candidates: tuple[ObjectMask, ...] = ()


def require_weights(project: Project) -> None:
    """Raises CheckpointError where the project's model would have to be downloaded first."""
    from masklet.weights.loading import find_weights

    settings = project.track_settings
    if settings.checkpoint is None:
        find_weights(settings.model, download=False)


class Prompter:
    """A session that stays open for the prompts of one project, which it keeps there. Not for two threads at once.

    Clicks and boxes are given as `points`, `labels` and `box` of `Prompt.make`.

    Args:
        project: open for writing.
        device: see :func:`masklet.load_model`.
        picture: gives a frame's picture, uint8 RGB (height, width, 3); by default the project's source is read.
        feature_bytes: how much of what the network saw is kept, so that the next click on a frame is quick.

    Raises:
        CheckpointError: the weights are not there; they are not downloaded here.
        InputError, DeviceError: the project's settings can't be used.
    """

    def __init__(
        self,
        project: Project,
        *,
        device: str | None = None,
        picture: Callable[[int], np.ndarray] | None = None,
        feature_bytes: int = FEATURE_BYTES,
    ) -> None:
        require_weights(project)
        self.project = project
        self.session = open_session(project, device, picture=picture, feature_bytes=feature_bytes)
        self.settings = project.track_settings
        self._lately: dict[tuple[int, int], None] = {}

    @property
    def is_current(self) -> bool:
        """Whether the project's settings are still those that this was made for."""
        return self.settings == self.project.track_settings

    def preview(self, frame: int, object_id: int | None = None, **given: Any) -> ObjectMask:
        """What a prompt would give, as a correction of what the frame shows of the object. Nothing is kept."""
        new = self._prompt(given)
        prompts = (new,) if object_id is None else self.project.prompts_after(frame, object_id, new)
        return self.session.preview(frame, prompts, object_id or 0)

    def look(self, frame: int, object_id: int) -> Answer:
        """What the frame shows of an object, with the candidates that its clicks gave. Nothing is changed."""
        self.project.get_object(object_id)
        mask, said = self.project.mask(frame, object_id), self._said(frame, object_id)
        if mask is None or not said or (said[-1].mask is not None and said[-1].origin != "candidate") or waits(said):
            return Answer(frame, object_id, mask)
        self._decide(frame, object_id, said)
        return Answer(frame, object_id, mask, self.session.candidates(frame, object_id))

    def add(self, frame: int, object_id: int, *, clear: bool = False, **given: Any) -> Answer:
        """Keep clicks or a box, as a correction of what the frame shows (unless `clear`), and the mask that they give.

        Raises:
            UnknownObjectError, InputError, PromptError: no such object or frame, it is locked, or the prompt can't be
                used. Nothing is kept then.
        """
        self.project.unlocked(object_id)
        new = self._prompt(given)
        prompts = (new,) if clear else self.project.prompts_after(frame, object_id, new)
        if waits(prompts):
            raise PromptError("There is nothing to take away from: click on the object first, or draw a box.")
        # The network runs before the file is touched: others may read it meanwhile.
        return self._keep("Click" if new.box is None else "Box", prompts, self._decide(frame, object_id, prompts))

    def paint(self, frame: int, object_id: int, mask: np.ndarray | dict[str, Any]) -> Answer:
        """Keep a mask that was painted, boolean (height, width) or run lengths: it decides the frame for good.

        Raises UnknownObjectError, InputError: no such object or frame, it is locked, or the mask has another size.
        """
        self.project.unlocked(object_id)
        new = self._prompt({"mask": mask})
        prompts = self.project.prompts_after(frame, object_id, new)
        found = ObjectMask(object_id, frame, new.mask, scores=PAINTED, lost=not new.shows, is_prompt=True, painted=True)
        self.project.say("Paint", prompts, found)
        return Answer(frame, object_id, found)

    def choose(self, frame: int, object_id: int, candidate: int) -> Answer:
        """Take another of the candidates that the frame's clicks gave.

        Raises InputError where there are no candidates, or none of this number.
        """
        self.project.unlocked(object_id)
        said = self._said(frame, object_id)
        if waits(said):
            raise InputError("There is only one mask here: candidates come with the first click on an object.")
        self._decide(frame, object_id, said)
        chosen = self.session.choose(frame, object_id, candidate)[object_id]
        return self._keep("Choose candidate", self.session.prompts(frame, object_id), chosen)

    def clear(self, frame: int, object_id: int) -> Answer:
        """Take back what was said about an object on a frame; what tracking had found there comes back."""
        project = self.project
        project.unlocked(object_id)
        said = self._said(frame, object_id)
        if not said:
            return Answer(frame, object_id, project.mask(frame, object_id))
        found = ObjectMask(object_id, frame, said[0].mask) if said[0].origin == "tracked" else None
        with project.edit("Clear prompts"):
            project.clear_prompts(frame, object_id)
            if found is None:
                project.clear_masks(object_id, frame, frame + 1)
            else:
                project.put_masks([found])
        return Answer(frame, object_id, found)

    def _said(self, frame: int, object_id: int) -> tuple[Prompt, ...]:
        return self.project.said(object_id).get((frame, object_id), ())

    def _prompt(self, given: dict[str, Any]) -> Prompt:
        size = self.session.size
        said = {name: value for name, value in given.items() if value is not None and len(value)}
        return Prompt.make(**said, width=size.width, height=size.height)

    def _decide(self, frame: int, object_id: int, prompts: tuple[Prompt, ...]) -> ObjectMask:
        """What prompts come to; a bounded number of them is remembered."""
        mask = self.session.set_prompts(frame, object_id, prompts)[object_id]
        self._lately.pop((frame, object_id), None)
        self._lately[frame, object_id] = None
        if len(self._lately) > _ANSWERS_KEPT:
            oldest = next(iter(self._lately))
            del self._lately[oldest]
            self.session.clear_prompts(*oldest)
        return mask

    def _keep(self, label: str, prompts: tuple[Prompt, ...], mask: ObjectMask) -> Answer:
        self.project.say(label, prompts, mask)
        return Answer(mask.frame, mask.object_id, mask, self.session.candidates(mask.frame, mask.object_id))
