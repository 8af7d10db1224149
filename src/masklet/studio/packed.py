"""Masks of many frames as one stream of bytes, for who plays them.

Little-endian. Every frame begins with its number (uint32) and how many masks follow (uint32). A mask is its object
(uint32), object score, predicted IoU and motion score (float32, NaN: not known), candidate (uint8), flags (uint8: 1
lost, 2 prompt, 4 painted, 8 soft edge), the number of bytes of its run lengths (uint32), and those: COCO's compressed
run lengths of a mask of the source's size.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from masklet.studio.overlays import Overlays
from masklet.studio.schemas import FrameMasksState

MEDIA_TYPE = "application/vnd.masklet.masks"
_FRAME = struct.Struct("<II")
_MASK = struct.Struct("<IfffBBI")
_AT_ONCE = 16  # frames


def stream(overlays: Overlays, start: int, count: int, backward: bool = False) -> Iterator[bytes]:
    """Frame `start` and those after it (before it: `backward`), `count` in all, as far as the source goes.

    Frames without a mask are in it too. Raises InputError for a `start` that the source doesn't have.
    """
    overlays.check(start, start)
    step = -1 if backward else 1
    frames = [f for f in range(start, start + step * count, step) if 0 <= f < overlays.frames.count]
    for i in range(0, len(frames), _AT_ONCE):
        wanted = frames[i : i + _AT_ONCE]
        found = {state.frame: state for state in overlays.finished(min(wanted), max(wanted))}
        yield b"".join(pack(found.get(f) or FrameMasksState(frame=f, objects=[])) for f in wanted)


def pack(masks: FrameMasksState) -> bytes:
    """One frame."""
    parts = [_FRAME.pack(masks.frame, len(masks.objects))]
    for mask in masks.objects:
        scores = (mask.object_score, mask.predicted_iou, mask.motion_score)
        flags = mask.lost + 2 * mask.prompt + 4 * mask.painted + 8 * mask.soft
        counts = mask.rle.counts.encode("ascii")
        numbers = [math.nan if score is None else score for score in scores]
        parts += [_MASK.pack(mask.object, *numbers, mask.candidate, flags, len(counts)), counts]
    return b"".join(parts)
