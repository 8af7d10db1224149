"""Surfaces for shapes: noise, stripes, checks, gradients, and pieces of photographs."""

from __future__ import annotations

import cv2
import numpy as np

from masklet.training.synthesis.paths import Rng, chance
from masklet.training.synthesis.sources import Wardrobe


def surface(rng: Rng, height: int, width: int, wardrobe: Wardrobe) -> np.ndarray:
    """A random surface, (H, W, 3) uint8 RGB."""
    which = rng.random()
    for pictures, share in ((wardrobe.photos, 0.35), (wardrobe.textures, 0.65)):
        if pictures is not None and which < share:
            return piece_of(rng, pictures.read(pictures.pick(rng)), height, width)
    painted = _painted(rng, height, width)
    return grained(rng, painted) if chance(rng, 0.6) else painted


def piece_of(rng: Rng, photo: np.ndarray, height: int, width: int, least: float = 0.25) -> np.ndarray:
    """A random part of a picture at a random scale and orientation, (H, W, 3) uint8."""
    if chance(rng, 0.5):
        photo = photo[:, ::-1]
    if chance(rng, 0.2):
        photo = np.rot90(photo)
    source_height, source_width = photo.shape[:2]
    fit = min(source_height / height, source_width / width)
    share = rng.uniform(least, 1) * fit
    h, w = max(2, int(height * share)), max(2, int(width * share))
    y, x = int(rng.integers(0, source_height - h + 1)), int(rng.integers(0, source_width - w + 1))
    part = np.ascontiguousarray(photo[y : y + h, x : x + w])
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if share > 1 else cv2.INTER_LINEAR)


def colour(rng: Rng) -> np.ndarray:
    """A colour as a camera sees them: seldom fully saturated, (3,) float32 from 0 to 255."""
    hue, saturation, value = rng.uniform(0, 180), rng.beta(1.6, 2.2) * 255, rng.beta(2, 1.6) * 255
    pixel = np.array([[[hue, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def _painted(rng: Rng, height: int, width: int) -> np.ndarray:
    first, second = colour(rng), colour(rng)
    if chance(rng, 0.6):  # two shades of one colour are commoner than two colours
        second = first * np.float32(rng.uniform(0.35, 0.85))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = x * cos + y * sin, y * cos - x * sin
    period = float(rng.uniform(6, max(12.0, 0.5 * max(height, width))))
    kind = rng.integers(5)
    if kind == 0:
        mix = np.full((height, width), 0.0, np.float32)
    elif kind == 1:
        mix = (along - along.min()) / max(float(along.max() - along.min()), 1)
    elif kind == 2:
        mix = np.clip(np.sin(along * float(2 * np.pi / period)) * rng.uniform(1, 6) + 0.5, 0, 1)
    elif kind == 3:
        mix = ((along // period + across // period) % 2).astype(np.float32)
    else:
        mix = cloud(rng, height, width, cell=int(period))
    return (first + (second - first) * mix[..., None]).clip(0, 255).astype(np.uint8)


def cloud(rng: Rng, height: int, width: int, cell: int) -> np.ndarray:
    """Smooth noise in [0, 1], (H, W) float32; `cell` is the size of its features in pixels."""
    cell = max(2, min(cell, max(height, width)))
    coarse = rng.random((height // cell + 2, width // cell + 2), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def grained(rng: Rng, image: np.ndarray) -> np.ndarray:
    """The picture with fine and coarse unevenness of brightness, as real surfaces have."""
    height, width = image.shape[:2]
    light = cloud(rng, height, width, int(rng.integers(20, 90))) * rng.uniform(0.1, 0.5)
    light += cloud(rng, height, width, int(rng.integers(2, 8))) * rng.uniform(0.05, 0.3)
    return (image * (1.15 - light)[..., None]).clip(0, 255).astype(np.uint8)
