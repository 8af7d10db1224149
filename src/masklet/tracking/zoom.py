"""Small objects: the network looks at a window around them, at the source's full resolution.

A window is a square of the frame. It stays where it is for as long as the object is well inside; like a camera that
follows, it moves when the object comes near its edge, and shows more or less of the frame when the object's size
changes. Memories are only read through windows of the size in which they were made: on a change of size those of the
prompts, and of the frame just before, are made anew from their pictures.

The network looks at the whole frame where the object is not small, where nothing is known of the frame before (tracking
begins far away from the prompts), and, beside the window, where the object is lost there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from masklet.models.sam2 import ImageFeatures
from masklet.prompts import Prompt
from masklet.results import Box, Window
from masklet.tracking import closer
from masklet.tracking.engine import Engine
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.tracking.windows import Extent, extent_of, moved, placed

#: An object is small while its area is that of a square of so many of the network's cells a side, in the whole frame;
#: once it is looked at through a window, up to the second number.
SMALL, STILL_SMALL = 2.5, 3.5
#: Side of a new window in sides of the object's box (the longer one), and within which bounds a window stays.
ROOM, LEAST_ROOM, MOST_ROOM = 3.0, 1.8, 4.5
#: The part of a window at its edges that the object's box has to stay out of.
MARGIN = 0.08
#: Side of the smallest window in sides of the network's input: there is nothing to be seen in pixels blown up further.
SMALLEST = 0.5
#: Sizes of windows are this far apart, so that they seldom change.
STEP = math.sqrt(2)
#: Part of its box that an object fills, where only the box is known.
FILLED = 0.6


def next_window(
    window: Window | None, extent: Extent | None, size: FrameSize, image_size: int, cell: int
) -> Window | None:
    """Where to look for an object, None for the whole frame.

    Args:
        window: where it was looked for last.
        extent: where it was seen there, None if it was not.
        size: of the frame.
        image_size, cell: side of the network's input, and of a cell of its image embedding, in pixels of the input.
    """
    if extent is None:
        return window
    x1, y1, x2, y2 = extent.box
    longest, shortest_side = max(x2 - x1, y2 - y1, 1.0), min(size.width, size.height)
    cells = math.sqrt(extent.area / (size.width * size.height)) * image_size / cell
    if cells > (SMALL if window is None else STILL_SMALL) or longest * LEAST_ROOM > shortest_side:
        return None
    smallest = SMALLEST * image_size
    centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    if window is not None:
        room = window.width / longest
        fits = room >= LEAST_ROOM and (room <= MOST_ROOM or window.width <= smallest)
        if fits and _well_inside(extent.box, window, size):
            return window
        if fits and room >= 1.2 * LEAST_ROOM:
            return window_at(centre, window.width, size)
    steps = max(0, round(math.log(ROOM * longest / smallest, STEP)))
    return window_at(centre, int(smallest * STEP**steps), size)


def window_at(centre_xy: tuple[float, float], side: int, size: FrameSize) -> Window:
    """The window of a side around a point, as far as the frame allows."""
    side = min(side, size.width, size.height)
    x, y = (round(middle - side / 2) for middle in centre_xy)
    return Window(min(max(x, 0), size.width - side), min(max(y, 0), size.height - side), side, side)


def _well_inside(box: Box, window: Window, size: FrameSize) -> bool:
    """Whether a box stays clear of those edges of a window that are not the frame's."""
    margin = MARGIN * window.width
    right, bottom = window.x + window.width, window.y + window.height
    return (
        (window.x == 0 or box[0] - window.x >= margin)
        and (window.y == 0 or box[1] - window.y >= margin)
        and (right == size.width or right - box[2] >= margin)
        and (bottom == size.height or bottom - box[3] >= margin)
    )


def extent_of_prompts(prompts: Sequence[Prompt]) -> Extent | None:
    """Where prompts show an object; None where they are only clicks, which don't say how large it is."""
    boxes = [prompt.box for prompt in prompts if prompt.box is not None]
    area = FILLED * (boxes[-1][2] - boxes[-1][0]) * (boxes[-1][3] - boxes[-1][1]) if boxes else 0.0
    for prompt in prompts:
        if prompt.mask is not None and (shown := Extent.of(prompt.mask)) is not None:
            boxes.append(shown.box)
            area = shown.area
    if not boxes:
        return None
    corners = np.array([*boxes, *((x, y, x, y) for prompt in prompts for x, y in prompt.points)])
    (x1, y1), (x2, y2) = corners[:, :2].min(0).tolist(), corners[:, 2:].max(0).tolist()
    return Extent((x1, y1, x2, y2), area)


class Zoom:
    """Tracks and prompts objects through windows.

    Args:
        engine: runs the network.
        size: of the frames.
        encode: the features of a frame, or of a window of it: (frame, its picture where it is at hand, window).
    """

    def __init__(
        self,
        engine: Engine,
        size: FrameSize,
        encode: Callable[[int, np.ndarray | None, Window | None], ImageFeatures],
    ) -> None:
        self._engine, self._size, self._encode = engine, size, encode

    def track(self, frame: int, image_hwc: np.ndarray, step: int, track: ObjectTrack) -> list[FrameRecord]:
        """Find an object on a frame.

        Returns:
            The frame's record; before it that of the frame just before, where its memory was made anew.
        """
        before = track.before
        window = None if before is None else self._next(self._followed(before), extent_of(before, self._size))
        *again, found = self._look(window, frame, image_hwc, step, track)
        if window is not None and (found.scores.object_score or 0.0) < 0:
            *again_whole, whole = self._look(None, frame, image_hwc, step, track)
            if (whole.scores.object_score or 0.0) > 0 and _sureness(whole) > _sureness(found):
                again, found = again_whole, whole
        return [*again, found]

    def decide(
        self, track: ObjectTrack, frame: int, prompts: Sequence[Prompt], known: FrameRecord | None
    ) -> FrameRecord:
        """Let prompts decide a frame; see :meth:`Engine.decide`. They mean the same whatever was tracked before."""
        if self._engine.model.spec.closer_look and (prompts[-1].mask is None or prompts[-1].origin == "candidate"):
            look = partial(self._encode, frame, None)
            return closer.decide(self._engine, look, self._size, track, frame, prompts, known)
        extent = extent_of_prompts(prompts)
        window = self._next(None, extent)
        found = self._ask(window, track, frame, prompts, known)
        if extent is None and (seen := extent_of(found, self._size)) is not None:
            window = self._next(None, seen)
            if window is not None and all(window.holds(x, y) for prompt in prompts for x, y in prompt.points):
                found = self._ask(window, track, frame, prompts, known)
        return found

    @staticmethod
    def _followed(record: FrameRecord) -> Window | None:
        """The window that tracking goes on from; that of a closer look, whose memory is the whole frame's, is none."""
        assert record.memory is not None
        return record.window if record.memory.window_side else None

    def _next(self, window: Window | None, extent: Extent | None) -> Window | None:
        spec = self._engine.model.spec
        return next_window(window, extent, self._size, self._engine.image_size, spec.stride)

    def _look(
        self, window: Window | None, frame: int, image_hwc: np.ndarray, step: int, track: ObjectTrack
    ) -> list[FrameRecord]:
        side, before, again = _side(window), track.before, []
        if before is not None and not before.is_prompt and (before.scores.object_score or 0.0) >= 0:
            assert before.memory is not None
            if before.memory.window_side != side:
                again = [replace(before, memory=self._remember(before, window))]
        bank = MemoryBank(
            {t: self._prompt_memory(track, t, side) for t in track.bank.prompts},
            {t: memory for t, memory in track.bank.recent.items() if memory.window_side == side},
        )
        for record in again:
            assert record.memory is not None
            bank.add(record.memory)
        # What a policy knows about places is about places in one window.
        state = track.state if before is not None and self._followed(before) == window else b""
        features = self._encode(frame, image_hwc, window)
        view = ObjectTrack(track.object_id, bank, state)
        [record] = self._engine.track(features, self._looked_at(window), frame, step, [view])
        return [*again, placed(record, window)]

    def _ask(
        self,
        window: Window | None,
        track: ObjectTrack,
        frame: int,
        prompts: Sequence[Prompt],
        known: FrameRecord | None,
    ) -> FrameRecord:
        known = known if known is not None and known.window == window else None
        asked = tuple(prompts)
        if window is not None:
            asked = tuple(window.seen(prompt) for prompt in prompts)
            if known is not None:
                known = replace(known, prompts=tuple(window.seen(prompt) for prompt in known.prompts))
        features = self._encode(frame, None, window)
        found = self._engine.decide(features, self._looked_at(window), track, frame, asked, known)
        return replace(placed(found, window), prompts=tuple(prompts))

    def _prompt_memory(self, track: ObjectTrack, frame: int, side: int) -> FrameMemory:
        """The memory of a prompt frame through a window of some size, with the object in the middle."""
        record = track.prompted[frame]
        assert record.memory is not None
        if record.memory.window_side == side:
            return record.memory
        known = track.prompt_memories.get((frame, side))
        if known is None or known[0] is not record:
            window = None
            if side:
                extent = extent_of(record, self._size)
                x1, y1, x2, y2 = extent.box if extent is not None else (0, 0, self._size.width, self._size.height)
                window = window_at(((x1 + x2) / 2, (y1 + y2) / 2), side, self._size)
            known = record, self._remember(record, window)
            track.prompt_memories[frame, side] = known
        return known[1]

    def _remember(self, record: FrameRecord, window: Window | None) -> FrameMemory:
        """The memory of a frame's mask as if it had been found through another window."""
        features = self._encode(record.frame, None, window)
        kept = record.low_res_11hw.half().float()  # as it is kept for going on later
        logits = moved(kept, record.window, window, self._size, features.shape.low_res)
        return replace(self._engine.remember(features, record, logits), window_side=_side(window))

    def _looked_at(self, window: Window | None) -> FrameSize:
        return self._size if window is None else FrameSize(window.width, window.height)


def _side(window: Window | None) -> int:
    return 0 if window is None else window.width


def _sureness(record: FrameRecord) -> float:
    """How sure the network is that this is the object, 0…1."""
    return float(torch.tensor(record.scores.object_score or 0.0).sigmoid()) * (record.scores.predicted_iou or 0.0)
