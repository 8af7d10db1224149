"""A closer look: a network that is told of an object looks again at the part of the picture around it.

A small network sees more of an object that fills its input. So a box is decided in a window a little larger than the
box, and a click in one around the mask that the click gave at first; further prompts correct the mask there. Tracking
looks at whole frames, so what is remembered of the frame is made of all of it.

Every prompt goes on from what those before it gave, and nothing else matters: the same prompts give the same mask,
whether they came one by one or together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from masklet.models.sam2 import ImageFeatures
from masklet.prompts import Prompt, asked
from masklet.results import Window
from masklet.tracking.engine import Engine
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.tracking.windows import Extent, extent_of, moved, placed

#: The features of the frame, or of a window of it.
Look = Callable[[Window | None], ImageFeatures]


def decide(
    engine: Engine,
    look: Look,
    size: FrameSize,
    track: ObjectTrack,
    frame: int,
    prompts: Sequence[Prompt],
    known: FrameRecord | None = None,
) -> FrameRecord:
    """Let prompts decide a frame: what :meth:`Engine.decide` does, with a closer look if the network gains by it.

    Args:
        size: of the frame.
        prompts, known: see :meth:`Engine.decide`.

    Returns:
        The frame's record. Its mask lies in its window, if it has one, and its memory is that of the whole frame.
    """
    prompts = tuple(prompts)
    if engine.model.spec.closer_look is None:
        return engine.decide(look(None), size, track, frame, prompts, known)
    if known is not None and (len(known.prompts) >= len(prompts) or known.prompts != prompts[: len(known.prompts)]):
        known = None
    closer = _CloserLook(engine, look, size, track, frame)
    for end in range(1 if known is None else len(known.prompts) + 1, len(prompts) + 1):
        known = closer.after(known, prompts[:end])
    assert known is not None
    if known.window is None:
        return known
    return engine.in_whole_frame(look(None), known, size)


class _CloserLook:
    """Looks at one frame for one object."""

    def __init__(self, engine: Engine, look: Look, size: FrameSize, track: ObjectTrack, frame: int) -> None:
        self._engine, self._look, self._size, self._track, self._frame = engine, look, size, track, frame

    def after(self, before: FrameRecord | None, prompts: tuple[Prompt, ...]) -> FrameRecord:
        """What the frame shows after the last of these prompts; ``before`` is what it showed before that."""
        new, said = prompts[-1], asked(prompts)
        if new.mask is not None:
            if new.origin == "candidate" and before is not None:
                return self._ask(before.window, before, prompts)
            return self._ask(None, None, prompts)
        if before is None and new.box is not None:
            return self._ask(self._around(said, None), None, prompts)
        if before is None:
            found = self._ask(None, None, prompts)
            window = self._around(said, extent_of(found, self._size))
            return found if window is None else self._ask(window, replace(found, prompts=()), prompts)
        given = before.prompts[-1].mask
        if given is not None and before.prompts[-1].origin != "candidate":
            # The mask as it was given: as the frame's record has it, it may be coarser.
            window = self._around(said, Extent.of(given))
            return self._ask(window, replace(self._ask(window, None, prompts[-2:-1]), prompts=prompts[:-1]), prompts)
        if before.window is not None and all(before.window.holds(*corner) for corner in _corners(said)):
            return self._ask(before.window, before, prompts)
        return self._ask(self._around(said, extent_of(before, self._size)), before, prompts)

    def _around(self, said: Prompt, extent: Extent | None) -> Window | None:
        """The window around all that is said and the mask that is there; None for the whole frame."""
        corners = [*_corners(said), *([extent.box[:2], extent.box[2:]] if extent is not None else ())]
        if extent is None and said.box is None:
            return None
        x, y = zip(*corners, strict=True)
        closer = self._engine.model.spec.closer_look
        assert closer is not None
        room = closer.box_room if extent is None else closer.mask_room
        smallest = closer.smallest * self._engine.image_size
        size = self._size.width, self._size.height
        return Window.around((min(x), min(y), max(x), max(y)), size, room, smallest)

    def _ask(self, window: Window | None, before: FrameRecord | None, prompts: tuple[Prompt, ...]) -> FrameRecord:
        features = self._look(window)
        size = self._size if window is None else FrameSize(window.width, window.height)
        said = prompts if before is None else (*before.prompts, prompts[-1])
        if window is not None:
            said = tuple(window.seen(prompt) for prompt in said)
        if before is not None:
            logits = moved(before.low_res_11hw, before.window, window, self._size, features.shape.low_res)
            before = replace(before, low_res_11hw=logits, prompts=said[:-1])
            if any(prompt.mask is not None for prompt in said[:-1]):  # clicks on a mask read the memory that it makes
                before = replace(before, memory=self._engine.remember(features, before, logits))
        found = self._engine.decide(features, size, self._track, self._frame, said, before)
        return replace(placed(found, window), prompts=prompts)


def _corners(said: Prompt) -> list[tuple[float, float]]:
    return [*said.points, *([said.box[:2], said.box[2:]] if said.box is not None else ())]
