"""J: how much of two regions is shared (region similarity, the Jaccard index).

DAVIS 2016, "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", section 4.1.
"""

from __future__ import annotations

import numpy as np

from masklet.errors import InputError


def region_similarity(truth_hw: np.ndarray, mask_hw: np.ndarray, void_hw: np.ndarray | None = None) -> float:
    """Intersection over union of two masks, in [0, 1]. Two empty masks agree completely: 1.

    Args:
        truth_hw: annotation, (H, W), bool (any other type: non-zero is foreground).
        mask_hw: what is being scored, same shape.
        void_hw: pixels that count for nothing, same shape, or None.

    Raises:
        InputError: the shapes differ.
    """
    truth, mask = without_void(truth_hw, mask_hw, void_hw)
    union = int(np.count_nonzero(truth | mask))
    if union == 0:
        return 1.0
    return int(np.count_nonzero(truth & mask)) / union


def without_void(
    truth_hw: np.ndarray, mask_hw: np.ndarray, void_hw: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Annotation and mask as bool arrays, (H, W) and equally large, with void pixels in neither of them."""
    truth = np.asarray(truth_hw).astype(bool, copy=False)
    mask = np.asarray(mask_hw).astype(bool, copy=False)
    void = None if void_hw is None else np.asarray(void_hw).astype(bool, copy=False)
    if truth.ndim != 2 or truth.shape != mask.shape or (void is not None and void.shape != truth.shape):
        shapes = ", ".join(str(a.shape) for a in (truth, mask, void) if a is not None)
        raise InputError(f"masks to compare must have one shape (height, width); got {shapes}")
    return (truth, mask) if void is None else (truth & ~void, mask & ~void)
