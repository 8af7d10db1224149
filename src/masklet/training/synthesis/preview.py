"""Contact sheets: clips as rows of frames, with the outlines of their masks."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from masklet.masks.palette import color
from masklet.training.synthesis.clips import Clip

_GAP = 3


def contact_sheet(clips: Iterable[Clip], *, masks: bool = True, columns: int = 1) -> np.ndarray:
    """One row of frames per clip, `columns` clips side by side, (H, W, 3) uint8 RGB.

    Args:
        masks: draw each object's outline and a light tint in its colour.
    """
    rows = [_row(clip, masks) for clip in clips]
    while len(rows) % columns:
        rows.append(np.full_like(rows[0], 255))
    bands = [np.hstack(rows[i : i + columns]) for i in range(0, len(rows), columns)]
    return np.vstack(bands)


def _row(clip: Clip, masks: bool) -> np.ndarray:
    frames = []
    for image, labels in zip(clip.frames_thwc, clip.labels_thw, strict=True):
        shown = image.copy()
        if masks:
            for object_id in clip.objects:
                mask = (labels == object_id).astype(np.uint8)
                if not mask.any():
                    continue
                paint = np.array(color(object_id), np.float32)
                shown[mask > 0] = (shown[mask > 0] * 0.7 + paint * 0.3).astype(np.uint8)
                outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(shown, outlines, -1, color(object_id), 1)
        frames.append(cv2.copyMakeBorder(shown, _GAP, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    frames[-1] = cv2.copyMakeBorder(frames[-1], 0, 0, 0, 2 * _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.hstack(frames)
