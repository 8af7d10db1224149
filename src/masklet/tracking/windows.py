"""Windows of a frame: where in it a mask lies, and prompts and records as they are seen through one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from masklet.masks import rle
from masklet.masks.boxes import mask_to_box
from masklet.masks.rle import RLE
from masklet.models.shape import regridded
from masklet.results import Box, Window
from masklet.tracking.track import FrameRecord, FrameSize


class Extent(NamedTuple):
    """Where an object is and how large: box and area in pixels of the frame."""

    box: Box
    area: float

    @classmethod
    def of(cls, mask: RLE) -> Extent | None:
        """Of a mask; None where it is empty."""
        box = rle.box(mask)
        if box is None:
            return None
        x1, y1, x2, y2 = (float(side) for side in box)
        return cls((x1, y1, x2, y2), float(rle.area(mask)))


def moved(
    logits_b1hw: Tensor, source: Window | None, target: Window | None, size: FrameSize, grid_hw: tuple[int, int]
) -> Tensor:
    """Mask logits of one window, brought to another's grid; `-CERTAIN` where nothing is known."""
    if source == target:
        return logits_b1hw
    return regridded(logits_b1hw, _bounds(source, size), _bounds(target, size), grid_hw)


def _bounds(window: Window | None, size: FrameSize) -> tuple[int, int, int, int]:
    """x, y, width and height of a window or the whole frame."""
    return (0, 0, size.width, size.height) if window is None else (window.x, window.y, window.width, window.height)


def extent_of(record: FrameRecord, size: FrameSize) -> Extent | None:
    """Where a frame shows the object; None where it is lost."""
    # As the logits are kept for going on later.
    shown = (record.low_res_11hw[0, 0].half() > 0).cpu().numpy()
    box = mask_to_box(shown)
    if box is None or (record.scores.object_score or 0.0) < 0:
        return None
    x, y, width, height = _bounds(record.window, size)
    across, down = width / shown.shape[1], height / shown.shape[0]
    x1, y1, x2, y2 = box
    place = (x + x1 * across, y + y1 * down, x + x2 * across, y + y2 * down)
    return Extent(place, float(shown.sum()) * across * down)


def placed(record: FrameRecord, window: Window | None) -> FrameRecord:
    """A record of a window, with its places in the frame's pixels."""
    if window is None:
        return record
    assert record.memory is not None
    why = record.explanation
    if why is not None:
        boxes = why.candidate_boxes
        why = replace(
            why,
            candidate_boxes=None if boxes is None else tuple(window.shifted(box) for box in boxes),
            motion_box_xyxy=window.shifted(why.motion_box_xyxy),
        )
    memory = replace(record.memory, window_side=window.width)
    return replace(record, window=window, memory=memory, explanation=why)
