"""Label maps: PNG files whose pixel values are object numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from masklet.errors import InputError, MediaError

VOID = 255


def read_label_map(path: Path) -> np.ndarray:
    """Object numbers of a PNG, (H, W) uint8. Palette files give their indices.

    Raises:
        MediaError: the file can't be read.
        InputError: it holds colours instead of object numbers.
    """
    with _open(path) as image:
        if image.mode in ("P", "L", "1", "I", "I;16"):
            return np.asarray(image).astype(np.uint8)
        channels = np.asarray(image.convert("RGBA"))[..., :3]
    if (channels != channels[..., :1]).any():
        raise InputError(f"{path} holds colours; a label map has one number per pixel (palette or grey PNG)")
    return np.ascontiguousarray(channels[..., 0])


def foreground(path: Path) -> np.ndarray:
    """A PNG as one object, (H, W) uint8 of 0 and 1.

    Palette files: everything but index 0. Others: the first channel above half of its brightest value, so
    0/1, 0/255 and anti-aliased masks all come out right.
    """
    with _open(path) as image:
        if image.mode == "P":
            return (np.asarray(image) != 0).astype(np.uint8)
        values = np.asarray(image)
    values = values[..., 0] if values.ndim == 3 else values
    brightest = int(values.max()) if values.size else 0
    return (values > brightest / 2).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise MediaError(f"{path} can't be read as a mask picture: {error}") from error
    return image
