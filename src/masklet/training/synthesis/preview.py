"""Contact sheets: clips as rows of frames, with the outlines of their masks."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from masklet.masks.render import overlay
from masklet.training.synthesis.clips import Clip

_GAP = 3


def contact_sheet(clips: Iterable[Clip], *, masks: bool = True, columns: int = 1) -> np.ndarray:
    """One row of frames per clip, `columns` clips side by side, (H, W, 3) uint8 RGB.

    Args:
        masks: draw each object's outline and a tint in its colour.
    """
    rows = [_row(clip, masks) for clip in clips]
    while len(rows) % columns:
        rows.append(np.full_like(rows[0], 255))
    bands = [np.hstack(rows[i : i + columns]) for i in range(0, len(rows), columns)]
    return np.vstack(bands)


def _row(clip: Clip, masks: bool) -> np.ndarray:
    frames = []
    for image, labels in zip(clip.frames_thwc, clip.labels_thw, strict=True):
        shown = overlay(image, {i: labels == i for i in clip.objects}) if masks else image
        frames.append(cv2.copyMakeBorder(shown, _GAP, 0, 0, _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    frames[-1] = cv2.copyMakeBorder(frames[-1], 0, 0, 0, 2 * _GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.hstack(frames)
