"""Outlines that follow the picture: a coarse mask pulled to the edges that the full-resolution frame shows.

Only a band along the outline is decided anew, by a small convolutional network that is told the picture and how
deep each pixel lies in the given mask, counted in how far off that mask may be. It was trained on made scenes for
which the truth is known (tools/train_edges.py) and has learned where in the band an object's edge runs; there is
nothing in it about what objects are. It works from coarse to fine, as cascades for high-resolution segmentation
do (CascadePSP, Cheng et al. 2020): first on a small copy on which the band is a few pixels wide, then on copies of
twice the size each, with less freedom. So the cost depends on the length of the outline and hardly on how coarse
the mask was.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import resources
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks._arrays import ByteArray, as_bytes, as_image, same_size
from masklet.masks.boxes import mask_slices
from masklet.masks.distance import signed_distance

WIDTH = 24
"""Channels of the network's layers."""
DILATIONS = (1, 2, 4, 2, 1)
"""Dilations of the layers between the first and the last one."""

_HALO = 2 * (2 + sum(DILATIONS))
"""Pixels around a pixel that the network sees, to each side."""
_TILE = 64
_AT_ONCE = 4
_COARSE_RADIUS = 5.0
"""Radius in pixels that the network likes to start from."""
_LESS_FREEDOM = 0.45
"""What is left of the radius after one look."""
_SMALLEST_RADIUS = 1.2

Float = NDArray[np.float32]


def radius_for(height: int, width: int, cells: int | None = None) -> float:
    """How far the outline of a mask may be off, in pixels: 0.7 of one of the network's own mask pixels.

    `cells` is how many of them a side has; 256 (the released models) if it isn't known. More than that moves
    outlines that were right (docs/masks.md has the numbers); masks that are worse gain from a larger radius.
    """
    return max(1.0, 0.7 * math.sqrt(height * width) / (cells or 256))


def follow_picture(mask_hw: Any, image_hwc: Any, radius: float, strength: float = 1.0) -> Float:
    """A soft mask, float32 (h, w) 0..1, whose outline (at 0.5) follows the picture's edges.

    Args:
        mask_hw: boolean (h, w).
        image_hwc: the picture, uint8 RGB (h, w, 3).
        radius: how far off in pixels the outline may be; beyond twice that the mask stays as it is.
        strength: how much of the network's advice to take, 0 to 1.

    Raises InputError for sizes that differ, a radius that isn't above 0 or a strength outside 0..1.
    """
    mask, image = as_bytes(mask_hw), as_image(image_hwc)
    same_size(image, mask)
    if not 0 < radius < math.inf or not 0 <= strength <= 1:
        raise InputError(f"A radius of {radius} pixels and a strength of {strength} can't be used.")
    soft = mask.astype(np.float32)
    if strength == 0 or cv2.countNonZero(mask) in (0, mask.size):
        return soft
    steps = max(0, round(math.log2(radius / _COARSE_RADIUS)))
    where = mask_slices(mask, math.ceil(2 * radius) + (_HALO << steps))
    assert where is not None
    soft[where] = _coarse_to_fine(mask[where], image[where], radius, steps, strength)
    return soft


def _coarse_to_fine(mask: ByteArray, image: ByteArray, radius: float, steps: int, strength: float) -> Float:
    height, width = mask.shape
    field = mask.astype(np.float32) - np.float32(0.5)
    for step in range(steps, -1, -1):
        scale = 2**step
        size = (max(2, -(-width // scale)), max(2, -(-height // scale)))
        picture, small = image, field
        if size != (width, height):
            picture = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        if field.shape != size[::-1]:
            how = cv2.INTER_AREA if step == steps else cv2.INTER_CUBIC
            small = np.asarray(cv2.resize(field, size, interpolation=how), np.float32)
        field = _decide(small > 0, picture, max(_SMALLEST_RADIUS, radius / scale), strength)
        radius *= _LESS_FREEDOM
    if field.shape != mask.shape:  # a frame of a single row or column
        field = np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return 1 / (1 + np.exp(-field))


def _decide(inside: NDArray[np.bool_], image: ByteArray, radius: float, strength: float) -> Float:
    """One scale: logits, positive inside. Computed in tiles, where the band passes through them."""
    depth = np.clip(signed_distance(inside) / np.float32(2 * radius), -1, 1)
    field = np.where(inside, np.float32(6), np.float32(-6))
    band = np.abs(depth) < 1
    height, width = depth.shape
    bottom, right = (_HALO + -side % _TILE for side in (height, width))
    edge = cv2.BORDER_REPLICATE
    around = cv2.copyMakeBorder(image, _HALO, bottom, _HALO, right, edge)
    deep = cv2.copyMakeBorder(depth, _HALO, bottom, _HALO, right, edge)
    corners = [
        (y, x)
        for y in range(0, height, _TILE)
        for x in range(0, width, _TILE)
        if band[y : y + _TILE, x : x + _TILE].any()
    ]
    reach = _TILE + 2 * _HALO
    for begin in range(0, len(corners), _AT_ONCE):
        group = corners[begin : begin + _AT_ONCE]
        given = np.empty((4, len(group), reach, reach), np.float32)
        for k, (y, x) in enumerate(group):
            part = around[y : y + reach, x : x + reach].transpose(2, 0, 1)
            given[:3, k] = (part * np.float32(1 / 255) - np.float32(0.5)) * 4
            given[3, k] = deep[y : y + reach, x : x + reach]
        advice = _network(given)
        for k, (y, x) in enumerate(group):
            rows, columns = slice(y, min(y + _TILE, height)), slice(x, min(x + _TILE, width))
            tile = advice[k, : rows.stop - y, : columns.stop - x]
            logits = 4 * depth[rows, columns] + np.float32(strength) * tile
            field[rows, columns] = np.where(band[rows, columns], logits, field[rows, columns])
    return np.clip(field, -6, 6)


def _network(given: Float) -> Float:
    """What the network adds to the logits: (n, h, w) of (4, n, h + 2 halos, w + 2 halos)."""
    layers = _weights()
    _, count, height, width = given.shape
    # Four neighbouring pixels become channels: half the grid, a quarter of the work.
    folded = given.reshape(4, count, height // 2, 2, width // 2, 2).transpose(0, 3, 5, 1, 2, 4)
    hidden = folded.reshape(16, count, height // 2, width // 2)
    hidden = np.maximum(_convolve(hidden, *layers[0], 1), 0)
    for dilation, (weight, bias) in zip(DILATIONS, layers[1:-1], strict=True):
        same = hidden[:, :, dilation:-dilation, dilation:-dilation]
        hidden = np.maximum(_convolve(hidden, weight, bias, dilation) + same, 0)
    out = _convolve(hidden, *layers[-1], 1)
    _, count, height, width = out.shape
    unfolded = out.reshape(2, 2, count, height, width).transpose(2, 3, 0, 4, 1)
    return unfolded.reshape(count, 2 * height, 2 * width)


def _convolve(given: Float, weight: Float, bias: Float, dilation: int) -> Float:
    """A 3x3 convolution without padding: (channels out, n, h - 2d, w - 2d) of (channels, n, h, w)."""
    channels, count, height, width = given.shape
    high, wide = height - 2 * dilation, width - 2 * dilation
    columns = np.empty((9, channels, count, high, wide), np.float32)
    for k in range(9):
        y, x = k // 3 * dilation, k % 3 * dilation
        columns[k] = given[:, :, y : y + high, x : x + wide]
    out = weight @ columns.reshape(9 * channels, -1)
    out += bias
    return out.reshape(-1, count, high, wide)


@lru_cache(maxsize=1)
def _weights() -> list[tuple[Float, Float]]:
    """Per layer a matrix (channels out, 9 x channels in) and a column of biases."""
    with resources.files("masklet.masks").joinpath("edges.npz").open("rb") as file, np.load(file) as stored:
        layers = []
        for k in range(len(DILATIONS) + 2):
            weight = stored[f"weight{k}"].astype(np.float32)
            matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(len(weight), -1))
            layers.append((matrix, stored[f"bias{k}"].astype(np.float32)[:, None]))
        return layers
