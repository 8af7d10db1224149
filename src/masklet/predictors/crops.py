"""Where a search for everything looks: grids of points, and overlapping crops in layers."""

from __future__ import annotations

import math

import numpy as np


def point_grid(points_per_side: int) -> np.ndarray:
    """Centres of a grid's cells in the unit square, row by row: float64 ``[n * n, 2]`` (x, y)."""
    centres = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(centres, centres)
    return np.stack((x.ravel(), y.ravel()), axis=1)


def crop_boxes(
    width: int, height: int, layers: int, overlap_ratio: float
) -> list[tuple[int, tuple[int, int, int, int]]]:
    """The whole picture, and in layer i a grid of ``2**i`` x ``2**i`` overlapping crops (SAM, arXiv 2304.02643, B).

    Args:
        overlap_ratio: overlap of the first layer's crops as a share of the shorter side; halved with every layer.

    Returns:
        ``(layer, (x1, y1, x2, y2))`` in pixels, right and bottom exclusive. Crops without pixels, which a picture that
        is smaller than the grid would have, are left out.
    """
    boxes = [(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        side = 2**layer
        overlap = int(overlap_ratio * min(width, height) * 2 / side)
        crop_width = math.ceil((overlap * (side - 1) + width) / side)
        crop_height = math.ceil((overlap * (side - 1) + height) / side)
        for column in range(side):
            x = (crop_width - overlap) * column
            for row in range(side):
                y = (crop_height - overlap) * row
                box = (x, y, min(x + crop_width, width), min(y + crop_height, height))
                if box[2] > x and box[3] > y:
                    boxes.append((layer, box))
    return boxes


def cut_off(boxes_n4: np.ndarray, crop_xyxy: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    """Which boxes (in pixels of the picture) come close to a side of their crop that isn't a side of the picture.

    Closer than 20 pixels, as in the reference: the object probably goes on outside of the crop.
    """
    to_crop = np.abs(boxes_n4 - np.array(crop_xyxy, np.float64)) <= _CLOSE
    to_picture = np.abs(boxes_n4 - np.array((0, 0, width, height), np.float64)) <= _CLOSE
    return (to_crop & ~to_picture).any(axis=1)


_CLOSE = 20.0
