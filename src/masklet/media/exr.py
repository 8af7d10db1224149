"""OpenEXR: scene-linear float pictures and layers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from masklet.atomic import atomic_path
from masklet.errors import InputError, MediaError

FloatImage = npt.NDArray[np.float32]


def read_exr(path: Path) -> FloatImage:
    """The picture as scene-linear float32, height × width × 3 (RGB) or × 4 (with alpha), at the display window's size.

    Takes R, G, B (and A); if there are none, those of the first layer that has them; if there is none, the first
    channel as grey.

    Raises:
        MediaError: not an OpenEXR file, or damaged.
    """
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header = dict(file.header())  # the package empties its own when the file is closed
            channels = {name: np.asarray(c.pixels, np.float32) for name, c in file.channels().items()}
    except Exception as error:  # the package raises plain RuntimeError and others
        raise MediaError(f"{path} can't be read as OpenEXR: {error}.") from error
    names = _picture_channels(list(channels))
    if not names:
        raise MediaError(f"{path} holds no picture channels.")
    shape = channels[names[0]].shape
    if any(channels[name].shape != shape for name in names):
        raise MediaError(f"{path}: its channels differ in size (subsampled chroma), which masklet can't read.")
    picture = np.stack([channels[name] for name in names], axis=-1)
    return _in_display_window(picture, header)


def _picture_channels(names: Sequence[str]) -> list[str]:
    """Which channels are the picture: RGB or RGBA of the main layer or of the first one, else one channel as grey."""
    layers = dict.fromkeys(name.rpartition(".")[0] for name in sorted(names, key=lambda n: ("." in n, n)))
    for layer in layers:
        prefix = f"{layer}." if layer else ""
        for letters in ("RGB", "rgb"):
            picture = [prefix + letter for letter in letters]
            if all(name in names for name in picture):
                alpha = prefix + ("A" if letters == "RGB" else "a")
                return [*picture, alpha] if alpha in names else picture
    grey = next((name for name in names if name.rpartition(".")[2] == "Y"), None) or next(iter(names), None)
    return [grey] * 3 if grey else []


def _in_display_window(picture: FloatImage, header: Mapping[str, Any]) -> FloatImage:
    data, display = header.get("dataWindow"), header.get("displayWindow")
    if data is None or display is None:
        return picture
    (dx, dy), (wx0, wy0), (wx1, wy1) = data[0], display[0], display[1]
    height, width = int(wy1 - wy0 + 1), int(wx1 - wx0 + 1)
    x, y = int(dx - wx0), int(dy - wy0)
    if (x, y) == (0, 0) and picture.shape[:2] == (height, width):
        return picture
    canvas = np.zeros((height, width, picture.shape[2]), np.float32)
    top, left = max(0, y), max(0, x)
    bottom, right = min(height, y + picture.shape[0]), min(width, x + picture.shape[1])
    if bottom > top and right > left:
        canvas[top:bottom, left:right] = picture[top - y : bottom - y, left - x : right - x]
    return canvas


def write_exr(
    path: str | os.PathLike[str],
    channels: Mapping[str, npt.NDArray[np.floating]],
    *,
    half: bool = False,
    pixel_aspect: float = 1.0,
    rate: Fraction | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = True,
) -> None:
    """Write named channels ("R", "bunny.A", …), all of one size, as one OpenEXR file (ZIP, scan lines).

    Args:
        channels: height × width float arrays; names as Nuke shows them, "layer.channel".
        half: 16-bit floats instead of 32-bit.
        pixel_aspect: width : height of a pixel.
        rate: frames per second, kept as the standard attribute `framesPerSecond`.
        metadata: further text attributes.

    Raises:
        MediaError: the file can't be written.
        InputError: no channel, or channels that differ in size.
    """
    import OpenEXR

    arrays = {name: np.ascontiguousarray(c, np.float16 if half else np.float32) for name, c in channels.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise InputError(f"OpenEXR channels must be 2-D and of one size, not {sorted(shapes)}.")
    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "pixelAspectRatio": float(pixel_aspect),
        **(metadata or {}),
    }
    if rate is not None:
        header["framesPerSecond"] = rate
    with atomic_path(path, overwrite) as temporary:
        try:
            with OpenEXR.File(header, arrays) as file:
                file.write(str(temporary))
        except Exception as error:
            raise MediaError(f"{path} can't be written as OpenEXR: {error}.") from error
