"""Outlines that follow the picture: a coarse mask pulled to the edges that the full-resolution frame shows.

Only a band along the outline is decided anew. Each of its pixels asks pixels near it what they are, and listens
most to those of its own colour (the mean-field form of a dense CRF with a joint bilateral kernel, Krähenbühl and
Koltun 2011), while how deep it lies in the given mask holds it back. From coarse to fine: first on a small copy
on which the band is a few pixels wide, then on copies twice the size each with half the freedom, so that the cost
depends on the length of the outline and hardly on how coarse the mask was.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks._arrays import ByteArray, as_bytes, as_image, same_size
from masklet.masks.distance import signed_distance

_COARSE_RADIUS = 6.0
"""Width in pixels, on the smallest copy, that the band has to each side."""
_NEIGHBOURS = 40
_REACH = 0.4
"""Sigma of the neighbours' distance, as a share of the radius."""
_COLOUR = 8.0
"""Sigma of the colour difference, in units of OpenCV's 8-bit Lab."""
_LISTEN = 4.0
"""Weight of the neighbours against the given mask."""
_HOLD = 3.0
"""Logit of the given mask at the edge of the band."""
_ROUNDS = 3


def radius_for(height: int, width: int, cells: int | None = None) -> float:
    """How far the outline of a mask may be off, in pixels: the size of one of the network's own mask pixels.

    `cells` is how many of them a side has; 256 (the released models) if it isn't known.
    """
    return max(1.0, math.sqrt(height * width) / (cells or 256))


def follow_picture(mask_hw: Any, image_hwc: Any, radius: float, strength: float = 1.0) -> NDArray[np.float32]:
    """A soft mask, float32 (h, w) 0..1, whose outline (at 0.5) follows the picture's edges.

    Args:
        mask_hw: boolean (h, w).
        image_hwc: the picture, uint8 RGB (h, w, 3).
        radius: how far in pixels the outline may move; further from it the mask stays as it is.
        strength: 0 leaves the mask alone, 1 follows the picture as far as measurements say is good.

    Raises InputError for sizes that differ, a radius that isn't above 0 or a strength outside 0..1.
    """
    mask, image = as_bytes(mask_hw), as_image(image_hwc)
    same_size(image, mask)
    if not radius > 0 or not 0 <= strength <= 1:
        raise InputError(f"A radius of {radius} pixels and a strength of {strength} can't be used.")
    soft = mask.astype(np.float32)
    if strength == 0 or cv2.countNonZero(mask) in (0, mask.size):
        return soft
    height, width = mask.shape
    steps = max(0, round(math.log2(radius / _COARSE_RADIUS)))
    freedom = radius
    for step in range(steps, -1, -1):
        scale = 2**step
        size = (max(1, -(-width // scale)), max(1, -(-height // scale)))
        picture = image if step == 0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        how = cv2.INTER_AREA if step == steps else cv2.INTER_CUBIC
        small = soft if soft.shape == size[::-1] else cv2.resize(soft, size, interpolation=how)
        soft = _decide(np.asarray(small, np.float32), picture, max(1.0, freedom / scale), strength)
        freedom /= 2
    return soft


def _decide(soft: NDArray[np.float32], image: ByteArray, radius: float, strength: float) -> NDArray[np.float32]:
    """One scale: the pixels within `radius` of the outline, decided by their neighbours."""
    depth = signed_distance(soft > 0.5, soft - np.float32(0.5)) / np.float32(radius)
    opinion = np.where(depth > 0, np.float32(1), np.float32(-1))
    band = np.flatnonzero(np.abs(depth) < max(1.0, 1.5 / radius))
    if not band.size:
        return (opinion + 1) / 2
    pad = max(2, math.ceil(2 * _REACH * radius))
    offsets = _offsets(max(0.8, _REACH * radius), pad)
    width = depth.shape[1]
    stride = width + 2 * pad
    padded = np.pad(opinion, pad, mode="edge").reshape(-1)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2Lab)
    colours = cv2.copyMakeBorder(lab, pad, pad, pad, pad, cv2.BORDER_REPLICATE).reshape(-1, 3)
    rows, columns = np.divmod(band, width)
    here = (rows + pad) * stride + columns + pad
    own = colours[here].astype(np.int16)
    weights = np.empty((len(offsets), band.size), np.float32)
    around = np.empty((len(offsets), band.size), np.int64)
    for k, (dy, dx) in enumerate(offsets):
        np.add(here, dy * stride + dx, out=around[k])
        difference = (colours[around[k]] - own).astype(np.float32)
        weights[k] = np.einsum("nc,nc->n", difference, difference)
    np.exp(weights * np.float32(-0.5 / _COLOUR**2), out=weights)
    weights += np.float32(1e-4)  # a colour found nowhere near listens to everyone alike
    weights *= np.float32(_LISTEN * strength) / weights.sum(axis=0)
    hold = np.clip(depth.reshape(-1)[band] * np.float32(_HOLD), -6, 6)
    padded[here] = np.tanh(hold / 2)
    for _ in range(_ROUNDS):
        heard = np.einsum("kn,kn->n", weights, padded[around])
        padded[here] = np.tanh((hold + heard) / 2)
    opinion.reshape(-1)[band] = padded[here]
    return np.asarray((opinion + 1) / 2, np.float32)


@lru_cache(maxsize=64)
def _offsets(sigma: float, limit: int) -> tuple[tuple[int, int], ...]:
    """Places of neighbours: a sunflower spiral as dense as a Gaussian, so that all of them weigh the same."""
    k = np.arange(_NEIGHBOURS) + 0.5
    distance = sigma * np.sqrt(-2 * np.log(1 - k / _NEIGHBOURS * 0.865))
    turn = k * math.pi * (3 - math.sqrt(5))
    places = {
        (int(y), int(x))
        for y, x in np.rint(np.column_stack((distance * np.sin(turn), distance * np.cos(turn))))
        if max(abs(y), abs(x)) <= limit
    }
    return tuple(sorted(places - {(0, 0)}))
