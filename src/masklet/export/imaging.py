"""Pictures as files, and opacity in the number formats that files want."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.atomic import atomic_path
from masklet.masks import palette


def write_picture(path: Path, image: np.ndarray, quality: int = 95) -> None:
    """Grey, RGB or RGBA, uint8 or uint16, in the format of the name's suffix."""
    from masklet.media import write_image

    write_image(path, image, quality=quality, overwrite=False)


def write_mask(path: Path, alpha_hw: np.ndarray) -> None:
    """Opacity, uint8 (height, width), as a grey PNG. Masks come by the thousand, so nobody waits for the disk."""
    import cv2

    # Runs are nearly all that there is to find in a mask: quicker than any other way, and smaller.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.11
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    done, data = cv2.imencode(".png", alpha_hw, options)
    assert done
    with atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(data.tobytes())


def write_indexed_png(path: Path, labels_hw: np.ndarray) -> None:
    """uint8 indices (h, w), with the colours that DAVIS's own files have."""
    from masklet.media import write_image

    colors = np.frombuffer(palette.davis_palette_bytes(), np.uint8).reshape(-1, 3)
    write_image(path, labels_hw, palette=colors.tolist(), overwrite=False)


def to_16_bit(alpha_hw: np.ndarray) -> np.ndarray:
    """Opacity 0 to 255 as uint16 0 to 65535."""
    return alpha_hw.astype(np.uint16) * 257


def to_float(alpha_hw: np.ndarray) -> np.ndarray:
    """Opacity 0 to 255 as float32 0 to 1."""
    return alpha_hw.astype(np.float32) / 255
