"""How good the very first mask is: after a box, after one click, after corrective clicks; nothing is tracked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.layouts.base import MaskDataset
from masklet.evaluation.region import region_similarity
from masklet.evaluation.run import prompt_of
from masklet.masks.boxes import mask_to_box
from masklet.masks.distance import deepest_point
from masklet.media.images import read_image
from masklet.settings import Shape

if TYPE_CHECKING:
    from masklet.models.sam2 import SAM2
    from masklet.tracking.tracker import VideoTracker

#: Frames that are prompted, each on its own.
FRAMES = (0, 20, 40)
#: After how many clicks a mask is scored.
CLICKS = (1, 3, 5)


@dataclass(frozen=True)
class FirstMask:
    """One object on one frame: IoU (0…1) with the annotation after each kind of prompt.

    ``filled box`` and ``ellipse`` are what needs no network: the annotation's box, filled, and the ellipse in it.
    """

    sequence: str
    frame: str
    object_id: int
    iou: dict[str, float]


def first_masks(
    dataset: MaskDataset,
    model: SAM2,
    *,
    frames: tuple[int, ...] = FRAMES,
    resolution: int | None = None,
    shape: Shape = "square",
    finished: Callable[[str], None] | None = None,
) -> list[FirstMask]:
    """Prompt every object on some frames of every sequence, each time as if nothing was known of the video.

    The box is the annotation's own. The first click is the object's deepest point; every further one is the deepest
    point of what is still missing or of what is too much, whichever reaches deeper. Objects that a frame doesn't show,
    and frames that its tracking isn't scored on, are left out.

    Args:
        finished: called with each sequence's name when it is done.

    Raises:
        InputError: no frame shows an object. MediaError: a picture can't be read.
    """
    from masklet.tracking.tracker import VideoTracker

    scored = []
    tracker = partial(VideoTracker, model, resolution=resolution, shape=shape)
    for sequence in dataset.sequences:
        for target in sequence.targets:
            for frame in frames:
                if frame not in (target.prompt_frame, *target.scored):  # there is no annotation elsewhere
                    continue
                truth = sequence.truth(frame, target.object_id)
                if truth.any():
                    image = read_image(sequence.image_paths()[frame])
                    name = sequence.frames[frame]
                    iou = _without_network(truth) | _prompted(image, truth, tracker, sequence.name)
                    scored.append(FirstMask(sequence.name, name, target.object_id, iou))
        if finished:
            finished(sequence.name)
    if not scored:
        raise InputError(f"no object of {dataset.name} is to be seen on the frames {', '.join(map(str, frames))}")
    return scored


def next_click(truth_hw: np.ndarray, mask_hw: np.ndarray) -> tuple[tuple[float, float], int]:
    """Where somebody would correct a mask, ``(x, y)``, and whether the click adds (1) or takes away (0)."""
    missing, missing_depth = deepest_point(truth_hw & ~mask_hw)
    extra, extra_depth = deepest_point(mask_hw & ~truth_hw)
    if missing_depth >= extra_depth:
        return missing if missing_depth else deepest_point(truth_hw)[0], 1
    return extra, 0


def _without_network(truth_hw: np.ndarray) -> dict[str, float]:
    box = mask_to_box(truth_hw)
    assert box is not None
    x1, y1, x2, y2 = box
    filled = np.zeros(truth_hw.shape, bool)
    filled[int(y1) : int(y2), int(x1) : int(x2)] = True
    y, x = np.mgrid[: truth_hw.shape[0], : truth_hw.shape[1]] + 0.5
    ellipse = ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2 <= 0.25
    return {"filled box": region_similarity(truth_hw, filled), "ellipse": region_similarity(truth_hw, ellipse)}


def _prompted(
    image_hwc: np.ndarray, truth_hw: np.ndarray, start: Callable[[], VideoTracker], name: str
) -> dict[str, float]:
    tracker = start()
    tracker.push(image_hwc)
    mask = tracker.prompt(1, **prompt_of(truth_hw, "box", name))[1].mask
    iou = {"box": region_similarity(truth_hw, mask)}
    mask = tracker.prompt(2, **prompt_of(truth_hw, "click", name))[2].mask
    for count in range(1, max(CLICKS) + 1):
        if count > 1:
            point, label = next_click(truth_hw, mask)
            mask = tracker.prompt(2, points=[point], labels=[label])[2].mask
        if count in CLICKS:
            iou["click" if count == 1 else f"{count} clicks"] = region_similarity(truth_hw, mask)
    return iou
