"""Objects that don't overlap: every pixel belongs to one of them, or is shared in parts that add up to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError


def separate(masks: Mapping[int, NDArray[Any]], scores: Mapping[int, float]) -> dict[int, NDArray[Any]]:
    """Masks (boolean) or opacities (uint8, 0 to 255) of several objects on one frame, (h, w), without overlap.

    Objects take what they cover in the order of their scores (object scores, predicted IoUs), and those after them
    what is left: soft edges that meet leave no seam, and opacities add up to 255 at most. On equal scores the object
    that comes first in `masks` goes first. Raises InputError where sizes differ or a score is missing.
    """
    shapes = {mask.shape for mask in masks.values()}
    if len(shapes) > 1:
        raise InputError(f"The masks of one frame have different sizes (height, width): {sorted(shapes)}.")
    for object_id in masks:
        if object_id not in scores or np.isnan(scores[object_id]):
            raise InputError(f"Object {object_id} has no score, or one that is not a number (NaN).")
    shares: dict[int, NDArray[Any]] = {}
    left: Any = None
    for object_id in sorted(masks, key=lambda number: -scores[number]):
        mask = masks[object_id]
        left = np.full_like(mask, 255) if left is None else left
        shares[object_id] = np.minimum(mask, left)
        left = left ^ shares[object_id] if mask.dtype == np.bool_ else left - shares[object_id]
    return {object_id: shares[object_id] for object_id in masks}
