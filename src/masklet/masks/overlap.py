"""Objects that don't overlap: every pixel belongs to one of them, or is shared in parts that add up to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks._arrays import MaskArray, as_alpha, as_mask

Scores = Mapping[int, float | NDArray[np.floating]]


def separate(masks: Mapping[int, Any], scores: Scores) -> dict[int, MaskArray]:
    """Boolean masks of several objects on one frame, each pixel left to the object with the highest score.

    A score is one number for the object (its object score, its predicted IoU) or an array (h, w), such as its
    logits, to decide pixel by pixel. On equal scores the object that comes first in `masks` wins. Raises
    InputError where sizes differ or a score is missing.
    """
    found = {object_id: as_mask(mask) for object_id, mask in masks.items()}
    _check(found, scores)
    best: NDArray[Any] | None = None
    for object_id, mask in found.items():
        score = np.where(mask, scores[object_id], -np.inf)
        best = score if best is None else np.maximum(best, score)
    if best is None:
        return {}
    taken = np.zeros(best.shape, np.bool_)
    shares = {}
    for object_id, mask in found.items():
        shares[object_id] = mask & (np.asarray(scores[object_id]) >= best) & ~taken
        taken |= shares[object_id]
    return shares


def separate_alpha(alphas: Mapping[int, Any], scores: Scores) -> dict[int, NDArray[np.uint8]]:
    """The same for soft masks: uint8 0..255, (h, w), that add up to 255 at most on every pixel.

    Objects take what they cover in the order of their scores, and those after them what is left, so that two
    soft edges that meet leave no seam. Arguments are those of `separate`; raises InputError as it does.
    """
    given = {object_id: as_alpha(alpha) for object_id, alpha in alphas.items()}
    _check(given, scores)
    if not given:
        return {}
    ids = list(given)
    left = np.full(given[ids[0]].shape, 255, np.uint8)
    if all(np.ndim(scores[object_id]) == 0 for object_id in ids):
        shares = {}
        for object_id in sorted(ids, key=lambda i: -float(scores[i])):
            shares[object_id] = np.minimum(given[object_id], left)
            left = left - shares[object_id]
        return {object_id: shares[object_id] for object_id in ids}
    stack = np.stack([given[object_id] for object_id in ids])
    ranks = np.stack([np.broadcast_to(scores[object_id], left.shape) for object_id in ids])
    order = np.argsort(-ranks, axis=0, kind="stable")
    for position in range(len(ids)):
        which = order[position : position + 1]
        share = np.minimum(np.take_along_axis(stack, which, axis=0)[0], left)
        np.put_along_axis(stack, which, share[None], axis=0)
        left = left - share
    return dict(zip(ids, stack, strict=True))


def _check(masks: Mapping[int, np.ndarray], scores: Scores) -> None:
    shapes = {mask.shape for mask in masks.values()}
    if len(shapes) > 1:
        raise InputError(f"The masks of one frame have different sizes (height, width): {sorted(shapes)}.")
    for object_id in masks:
        if object_id not in scores:
            raise InputError(f"Object {object_id} has no score.")
        score = np.asarray(scores[object_id])
        if score.ndim and score.shape not in shapes:
            raise InputError(f"The scores of object {object_id} have the shape {score.shape}, not its mask's.")
        if np.isnan(score).any():
            raise InputError(f"A score of object {object_id} is not a number (NaN).")
