"""All objects of a frame in one picture of numbers, for formats where a pixel belongs to one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from masklet.errors import ExportError
from masklet.export.job import Picture
from masklet.project.records import ProjectObject

_MOST = 254  # 255 means "ignore" in DAVIS and YouTube-VOS


def numbered(objects: Sequence[ProjectObject]) -> dict[int, int]:
    """1, 2, … for the objects by id. Raises ExportError for more than one byte can tell apart."""
    if len(objects) > _MOST:
        raise ExportError(f"This format tells at most {_MOST} objects apart, but there are {len(objects)}.")
    return {chosen.id: number for number, chosen in enumerate(objects, start=1)}


def label_map(picture: Picture, numbers: Mapping[int, int]) -> np.ndarray:
    """uint8 (height, width): the number of the object that a pixel belongs to, 0 for none.

    Where objects overlap, the more opaque one wins, then the one with the higher predicted IoU.
    """
    labels = np.zeros(picture.size, np.uint8)
    strongest = np.zeros(picture.size, np.uint8)
    best_first = sorted(picture.layers.items(), key=lambda item: -(item[1].record.scores.predicted_iou or 0.0))
    for object_id, layer in best_first:
        take = layer.mask_hw & (layer.opacity_hw > strongest)
        labels[take] = numbers[object_id]
        strongest[take] = layer.opacity_hw[take]
    return labels
