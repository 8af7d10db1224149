"""What light, lens, sensor and codec do to a clip. Masks don't change."""

from __future__ import annotations

import cv2
import numpy as np

from masklet.training.synthesis.paths import Rng, chance, drift, log_uniform, wobble

_GRAIN = np.random.default_rng(20240729).standard_normal(1 << 20, dtype=np.float32)


class Grade:
    """One clip's look, constant in kind and changing smoothly from frame to frame."""

    def __init__(self, rng: Rng, frames: int, size_hw: tuple[int, int]):
        height, width = size_hw
        self._rng = rng
        self._gain = np.exp(np.clip(drift(rng, frames, 0.03 * chance(rng, 0.5)), -0.7, 0.5)) * rng.uniform(0.8, 1.15)
        if chance(rng, 0.06):  # a lamp goes on or off, a flash
            self._gain[int(rng.integers(frames)) :] *= rng.uniform(0.5, 1.6)
        # a camera exposes for what it sees, but not always well
        self._brightness = rng.uniform(70, 140) if chance(rng, 0.85) else None
        self._curve = _curve(float(np.exp(rng.normal(0, 0.2))))
        white = np.exp(rng.normal(0, 0.06, 3))
        saturation = 0.0 if chance(rng, 0.03) else rng.uniform(0.55, 1.15)
        # colours pulled towards their grey, then tinted
        pulled = np.eye(3) * saturation + np.array([0.299, 0.587, 0.114]) * (1 - saturation)
        self._colours = (white[:, None] * pulled).astype(np.float32)
        self._pool: np.ndarray | None = None
        if chance(rng, 0.35):
            # light that falls unevenly and moves: a lamp, a cloud's shadow
            self._pool = np.stack(
                [0.5 + 0.8 * wobble(rng, frames, 0.15), 0.5 + 0.8 * wobble(rng, frames, 0.15)], axis=1
            )
            self._pool_depth, self._pool_size = rng.uniform(0.15, 0.6), rng.uniform(0.4, 1.2)
        x, y = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
        self._x, self._y = x.astype(np.float32), y.astype(np.float32)
        corner = float(rng.uniform(0, 0.5)) if chance(rng, 0.3) else 0.0
        self._vignette = 1 - corner * 2 * (self._x**2 + self._y**2)
        self._focus = rng.uniform(0.4, 1.6) if chance(rng, 0.15) else 0.0
        self._coarse = rng.uniform(0.45, 0.9) if chance(rng, 0.2) else 1.0
        self._noise = np.float32(log_uniform(rng, 1, 14) if chance(rng, 0.65) else 0.0)
        self._quality = int(rng.uniform(18, 92)) if chance(rng, 0.6) else 0

    def __call__(self, image: np.ndarray, frame: int) -> np.ndarray:
        """The finished frame, (H, W, 3) uint8 RGB, of (H, W, 3) float32, 0 … 255."""
        if self._brightness is not None:
            self._gain *= np.clip(self._brightness / max(float(image.mean()), 1.0), 0.5, 4)
            self._brightness = None
        light = self._vignette * np.float32(self._gain[frame])
        if self._pool is not None:
            at_x, at_y = self._pool[frame].astype(np.float32)
            far = (self._x + 0.5 - at_x) ** 2 + (self._y + 0.5 - at_y) ** 2
            light *= 1 - self._pool_depth * (1 - np.exp(-far / self._pool_size**2))
        image = image * light[..., None]
        image = cv2.transform(image, self._colours)
        height, width = image.shape[:2]
        if self._coarse < 1:
            small = round(width * self._coarse), round(height * self._coarse)
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        if self._focus:
            image = cv2.GaussianBlur(image, (5, 5), self._focus)
        if self._noise:
            image += self._noise * self._grain(image.shape)
        result = cv2.LUT(np.clip(image, 0, 255, out=image).astype(np.uint8), self._curve)
        if self._quality:
            coded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1]
            decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
            assert decoded is not None
            result = decoded
        return result

    def _grain(self, shape: tuple[int, ...]) -> np.ndarray:
        """Normal noise: a random stretch of a long list made once, which is much quicker than new numbers."""
        count = int(np.prod(shape))
        if count > _GRAIN.size // 2:
            return self._rng.standard_normal(shape, dtype=np.float32)
        start = int(self._rng.integers(_GRAIN.size - count))
        return _GRAIN[start : start + count].reshape(shape)


def _curve(gamma: float) -> np.ndarray:
    return (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)
