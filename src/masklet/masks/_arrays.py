"""Checks that every function on masks shares: what arrives becomes one plain array, or a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError

MaskArray = NDArray[np.bool_]
# uint8 everywhere; OpenCV's type hints promise less than that, so the alias leaves it open.
ByteArray = NDArray[Any]


def as_mask(mask_hw: Any, what: str = "mask") -> MaskArray:
    """A boolean (h, w) array out of a boolean or whole-number one (anything but 0 is inside).

    A boolean array is returned as it is, without a copy. Raises InputError for other shapes, for a side of
    length 0, and for floats: where a soft mask ends is the caller's decision.
    """
    mask = np.asarray(mask_hw)
    if mask.ndim != 2:
        raise InputError(f"The {what} must have the shape (height, width), but has {mask.shape}.")
    if 0 in mask.shape:
        raise InputError(f"The {what} is {mask.shape[1]}x{mask.shape[0]} pixels: there is nothing in it.")
    if mask.dtype == np.bool_:
        return mask
    if np.issubdtype(mask.dtype, np.integer):
        return np.not_equal(mask, 0)
    raise InputError(f"The {what} must be boolean, not {mask.dtype}. Compare it with a threshold first.")


def as_bytes(mask_hw: Any, what: str = "mask") -> ByteArray:
    """The same mask as contiguous uint8 zeros and ones, as OpenCV wants it; no copy where possible."""
    return np.ascontiguousarray(as_mask(mask_hw, what)).view(np.uint8)


def as_alpha(mask_or_alpha_hw: Any, what: str = "mask") -> ByteArray:
    """Opacity as uint8, 0 to 255, out of a boolean mask, uint8 0..255, uint16 0..65535 or float 0..1."""
    alpha = np.asarray(mask_or_alpha_hw)
    if alpha.ndim != 2 or 0 in alpha.shape:
        raise InputError(f"The {what} must have the shape (height, width), but has {alpha.shape}.")
    if alpha.dtype == np.bool_:
        return np.ascontiguousarray(alpha).view(np.uint8) * np.uint8(255)
    if alpha.dtype == np.uint8:
        return np.ascontiguousarray(alpha)
    if alpha.dtype == np.uint16:
        return ((alpha.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if np.issubdtype(alpha.dtype, np.floating):
        if not np.isfinite(alpha).all():
            raise InputError(f"The {what} has values that are not numbers (NaN or infinity).")
        return np.rint(np.clip(alpha, 0.0, 1.0) * 255.0).astype(np.uint8)
    raise InputError(f"The {what} must be boolean, uint8, uint16 or float, not {alpha.dtype}.")


def as_image(image_hwc: Any, what: str = "image") -> ByteArray:
    """A contiguous uint8 RGB picture (h, w, 3), or InputError."""
    image = np.asarray(image_hwc)
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
        raise InputError(
            f"The {what} must be an RGB array, uint8, of the shape (height, width, 3), "
            f"but is {image.dtype} of the shape {image.shape}."
        )
    return np.ascontiguousarray(image)


def same_size(image_hwc: np.ndarray, mask_hw: np.ndarray, what: str = "mask") -> None:
    """Raises InputError unless picture and mask have the same height and width."""
    if image_hwc.shape[:2] != mask_hw.shape[:2]:
        raise InputError(
            f"The {what} is {mask_hw.shape[1]}x{mask_hw.shape[0]} pixels, but the image is "
            f"{image_hwc.shape[1]}x{image_hwc.shape[0]}. Resize one of them first."
        )
