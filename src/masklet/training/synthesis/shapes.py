"""Random silhouettes, textured: blobs, polygons, rings, stars, branching things. RGBA pictures like any cut-out."""

from __future__ import annotations

import cv2
import numpy as np

from masklet.training.synthesis.paths import Rng, chance
from masklet.training.synthesis.sources import Wardrobe, crop_to_alpha
from masklet.training.synthesis.textures import surface

_FINER = 2  # silhouettes are drawn this much larger, then shrunk: smooth edges


def random_shape(rng: Rng, side: int, wardrobe: Wardrobe) -> np.ndarray:
    """A textured silhouette, (H, W, 4) uint8 RGBA with a longest side of about `side` pixels."""
    draw = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
    large = side * _FINER
    mask = np.zeros((large, large), np.uint8)
    draw(rng, mask)
    alpha = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    if chance(rng, 0.3):  # not everything is as wide as it is high
        squeeze = rng.uniform(0.35, 0.9)
        alpha = cv2.resize(alpha, (max(8, int(side * squeeze)), side), interpolation=cv2.INTER_AREA)
    colours = surface(rng, alpha.shape[0], alpha.shape[1], wardrobe)
    cropped = crop_to_alpha(np.dstack([_lit(rng, colours, alpha), alpha]))
    return cropped if cropped is not None else random_shape(rng, side, wardrobe)


def _lit(rng: Rng, colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Shades a silhouette as if it bulged: brighter on one side, darker at its rim."""
    if chance(rng, 0.35):
        return colours
    bulge = cv2.GaussianBlur(alpha, (0, 0), max(alpha.shape) * rng.uniform(0.03, 0.12)).astype(np.float32) / 255
    slope_y, slope_x = np.gradient(bulge)
    angle = rng.uniform(0, 2 * np.pi)
    slope = (slope_x * np.cos(angle) + slope_y * np.sin(angle)) * max(alpha.shape) * rng.uniform(0.05, 0.25)
    light = 0.75 + 0.3 * bulge + np.clip(slope, -0.45, 0.45)
    return (colours * light[..., None]).clip(0, 255).astype(np.uint8)


def _fill(mask: np.ndarray, angle: np.ndarray, radius: np.ndarray) -> None:
    """Fills an outline around the middle; radii are shares of the picture's side."""
    points = 0.5 + np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    cv2.fillPoly(mask, [np.round(points * mask.shape[0]).astype(np.int32)], 255, cv2.LINE_AA)


def _blob(rng: Rng, mask: np.ndarray) -> None:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = np.ones_like(angle)
    for wave in range(2, 8):
        radius += rng.normal(0, 0.35) / wave * np.sin(wave * angle + rng.uniform(0, 2 * np.pi))
    radius = 0.46 * np.clip(radius, 0.15, None) / radius.max()
    _fill(mask, angle, radius)
    if chance(rng, 0.2):
        centre = rng.uniform(0.35, 0.65, 2)
        cv2.circle(
            mask, tuple((centre * mask.shape[0]).astype(int).tolist()), int(rng.uniform(0.04, 0.12) * len(mask)), 0, -1
        )


def _polygon(rng: Rng, mask: np.ndarray) -> None:
    count = int(rng.integers(3, 9))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(0.25, 0.48, count)
    _fill(mask, angle, radius)


def _star(rng: Rng, mask: np.ndarray) -> None:
    points = int(rng.integers(4, 10))
    angle = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) + rng.uniform(0, 1)
    radius = np.where(np.arange(2 * points) % 2, rng.uniform(0.1, 0.3), 0.47) * rng.uniform(0.85, 1, 2 * points)
    _fill(mask, angle, radius)


def _ring(rng: Rng, mask: np.ndarray) -> None:
    size = len(mask)
    axes = (rng.uniform(0.25, 0.44, 2) * size).astype(int).tolist()
    start, sweep = rng.uniform(0, 360), rng.uniform(150, 360)
    width = max(2, int(rng.uniform(0.04, 0.14) * size))
    cv2.ellipse(
        mask, (size // 2, size // 2), tuple(axes), rng.uniform(0, 180), start, start + sweep, 255, width, cv2.LINE_AA
    )


def _branches(rng: Rng, mask: np.ndarray) -> None:
    """Twigs, corals, cracks: thin parts that fork."""
    size = len(mask)

    def grow(x: float, y: float, angle: float, length: float, width: float, depth: int) -> None:
        x2, y2 = x + np.cos(angle) * length, y + np.sin(angle) * length
        first, last = (round(x * size), round(y * size)), (round(x2 * size), round(y2 * size))
        cv2.line(mask, first, last, 255, max(2, round(width * size)), cv2.LINE_AA)
        if depth:
            for _ in range(int(rng.integers(1, 4))):
                grow(x2, y2, angle + rng.normal(0, 0.6), length * rng.uniform(0.6, 0.9), width * 0.7, depth - 1)

    grow(0.5, 0.95, -np.pi / 2 + rng.normal(0, 0.1), rng.uniform(0.18, 0.3), rng.uniform(0.03, 0.08), 4)


def _scattered(rng: Rng, mask: np.ndarray) -> None:
    """One object in several pieces."""
    for _ in range(int(rng.integers(2, 5))):
        piece = np.zeros_like(mask)
        (_blob, _polygon)[int(rng.integers(2))](rng, piece)
        scale = rng.uniform(0.25, 0.5)
        small = cv2.resize(piece, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        y, x = (int(v) for v in rng.integers(0, len(mask) - len(small), 2))
        place = mask[y : y + len(small), x : x + len(small)]
        np.maximum(place, small, out=place)


_KINDS = (_blob, _polygon, _star, _ring, _branches, _scattered)
_SHARES = (0.4, 0.16, 0.1, 0.06, 0.14, 0.14)
