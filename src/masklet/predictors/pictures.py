"""Whatever a caller calls a picture becomes uint8 RGB."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from masklet.errors import InputError

ImageArray = npt.NDArray[np.uint8]


def as_rgb(image: Any) -> ImageArray:
    """A picture as uint8 RGB, ``[h, w, 3]``, contiguous.

    Args:
        image: a path (see :func:`masklet.media.read_image`); a Pillow image of any mode but float, turned upright as
            its EXIF data say; or an array: grey ``[h, w]`` or ``[h, w, 1]``, RGB ``[h, w, 3]``, or RGBA ``[h, w, 4]``
            with straight alpha, which is put on black; uint8, uint16 (0…65535) or bool.

    Raises:
        InputError: none of these, or a picture without pixels.
        MediaError: the file is missing, damaged or not a picture.
    """
    if isinstance(image, (str, os.PathLike)):
        from masklet.media import read_image

        return read_image(image)
    if hasattr(image, "getbands"):  # a Pillow image, without importing Pillow to ask
        image = _pillow_array(image)
    return _array_as_rgb(np.asarray(image))


def _pillow_array(image: Any) -> npt.NDArray[Any]:
    from PIL import ImageOps

    if 0 in image.size:
        raise InputError("the picture has no pixels")
    image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode == "I":  # 16-bit grey, as Pillow holds it in 32 bits
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "F":
        raise InputError("a float picture (Pillow mode F) has no known white: convert it to 8 bits first")
    if mode not in ("L", "RGB", "RGBA"):
        transparent = mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info
        image = image.convert("RGBA" if transparent else "RGB")
    return np.asarray(image)


def _array_as_rgb(array: npt.NDArray[Any]) -> ImageArray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = ": move the channels to the end with array.transpose(1, 2, 0)"
        raise InputError(
            f"a picture is an array of height x width, with 3 (RGB) or 4 (RGBA) channels last, but this one has the "
            f"shape {array.shape}{hint}"
        )
    if 0 in array.shape:
        raise InputError(f"the picture has no pixels: its shape is {array.shape}")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(f"a picture holds uint8 (0 to 255) or uint16 (0 to 65535) values, but this one {array.dtype}")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    elif array.shape[2] == 4:
        from masklet.media.color import over_black

        array = over_black(array)
    return np.ascontiguousarray(array)
