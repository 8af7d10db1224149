"""Views and colours of a clip: drawn once, so that all frames and their labels go the same way.

Positions are continuous: pixel i covers i … i + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from masklet.training.footage.settings import FootageSettings
from masklet.training.synthesis.geometry import move, rotation, scaling, shear, translation
from masklet.training.synthesis.paths import Rng, chance

FILL = (124, 116, 104)  # where a view goes past the frame: the mean of ImageNet, 0 after normalisation
_GREY = np.array([0.299, 0.587, 0.114])
_HALF = translation(0.5, 0.5), translation(-0.5, -0.5)
_SHRINK = 0.9  # below this scale pixels are averaged before they are moved


@dataclass(frozen=True, slots=True)
class Views:
    """Where each frame of a clip goes.

    Attributes:
        matrices_t33: (T, 3, 3) float64 from the source frame, as shares of its width and height, to pixels of the clip.
        size_hw: size of the clip's frames.
        quarter: None, or which quarter of the mosaic has the labels (0 … 3, by rows).
    """

    matrices_t33: np.ndarray
    size_hw: tuple[int, int]
    quarter: int | None = None

    def image(self, t: int, image_hwc: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8: frame t. Shrunk by averaging, moved with bilinear weights."""
        height, width = image_hwc.shape[:2]
        matrix = self.matrices_t33[t] @ scaling(1 / width, 1 / height)
        scale_x, scale_y = np.hypot(matrix[0, :2], matrix[1, :2])
        small_w = max(1, round(width * scale_x)) if scale_x < _SHRINK else width
        small_h = max(1, round(height * scale_y)) if scale_y < _SHRINK else height
        if (small_w, small_h) != (width, height):
            image_hwc = cv2.resize(image_hwc, (small_w, small_h), interpolation=cv2.INTER_AREA)
            matrix = matrix @ scaling(width / small_w, height / small_h)
        moved = self._warp(image_hwc, matrix, cv2.INTER_LINEAR, FILL)
        if self.quarter is None:
            return moved
        return np.ascontiguousarray(np.tile(moved, (2, 2, 1))[: self.size_hw[0], : self.size_hw[1]])

    def labels(self, t: int, labels_hw: np.ndarray) -> np.ndarray:
        """(H, W) uint8: the labels of frame t, each pixel as the source has it at its centre."""
        height, width = labels_hw.shape
        matrix = self.matrices_t33[t] @ scaling(1 / width, 1 / height)
        moved = self._warp(labels_hw, matrix, cv2.INTER_NEAREST, (0,))
        if self.quarter is None:
            return moved
        (tile_h, tile_w), (row, column) = self._tile_hw, divmod(self.quarter, 2)
        placed = np.zeros((2 * tile_h, 2 * tile_w), labels_hw.dtype)
        placed[row * tile_h :, column * tile_w :][:tile_h, :tile_w] = moved
        return np.ascontiguousarray(placed[: self.size_hw[0], : self.size_hw[1]])

    def _warp(self, picture: np.ndarray, matrix: np.ndarray, how: int, fill: tuple[int, ...]) -> np.ndarray:
        height, width = self._tile_hw
        # OpenCV counts from the middle of the first pixel
        grid = (_HALF[1] @ matrix @ _HALF[0])[:2]
        return cv2.warpAffine(
            picture, grid, (width, height), flags=how, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
        )

    @property
    def _tile_hw(self) -> tuple[int, int]:
        if self.quarter is None:
            return self.size_hw
        return -(-self.size_hw[0] // 2), -(-self.size_hw[1] // 2)


def draw_views(
    rng: Rng, settings: FootageSettings, source_hw: tuple[int, int], focus_xy: tuple[float, float], frames: int
) -> Views:
    """Mirroring, rotation, shear and zoom for a clip, a light shake for each frame, and the squash to size.

    Args:
        source_hw: size of the source's frames.
        focus_xy: what must stay in view, in pixels of the source.
    """
    height, width = source_hw
    middle, back = translation(width / 2, height / 2), translation(-width / 2, -height / 2)
    turn = rotation(np.deg2rad(rng.uniform(-1, 1) * settings.degrees))
    slant = shear(np.tan(np.deg2rad(rng.uniform(-1, 1) * settings.shear)))
    mirror = scaling(-1 if chance(rng, settings.flip) else 1, 1)
    shared = middle @ mirror @ turn @ slant @ back
    focus = move(shared, np.array([focus_xy]))[0].clip(0, [width, height])
    zoom = float(np.exp(rng.uniform(*np.log(settings.zoom))))
    window = np.array([width, height]) / zoom
    # a window of the frame that holds the focus, not on its very edge
    low = np.clip(focus - 0.9 * window, 0, [width, height] - window)
    high = np.clip(focus - 0.1 * window, low, [width, height] - window)
    left, top = rng.uniform(low, np.maximum(high, low))
    shared = scaling(zoom) @ translation(-left, -top) @ shared
    quarter = int(rng.integers(4)) if chance(rng, settings.mosaic) else None
    size_hw = settings.height, settings.width
    views = Views(np.empty((frames, 3, 3)), size_hw, quarter)
    tile_h, tile_w = views._tile_hw
    for t in range(frames):
        x, y, angle, scale = rng.uniform(-settings.shake, settings.shake, 4)
        shaken = middle @ translation(x * width, y * height) @ rotation(angle) @ scaling(1 + scale) @ back @ shared
        views.matrices_t33[t] = scaling(tile_w / width, tile_h / height) @ shaken @ scaling(width, height)
    return views


def squash(size_hw: tuple[int, int], frames: int) -> Views:
    """No change but the size."""
    return Views(np.repeat(scaling(size_hw[1], size_hw[0])[None], frames, axis=0), size_hw)


@dataclass(frozen=True, slots=True)
class Colours:
    """Factors of brightness, contrast and saturation, (T, 3) for each frame and (3,) for all; `grey`: no colours."""

    factors_t3: np.ndarray
    shared_3: np.ndarray
    grey: bool = False

    def apply(self, t: int, image_hwc: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8."""
        changed = _jitter(image_hwc, self.shared_3)
        if self.grey:
            changed = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return _jitter(changed, self.factors_t3[t])


def draw_colours(rng: Rng, settings: FootageSettings, frames: int) -> Colours:
    """Colours for a clip as SAM 2 trains: shared ones, at times none at all, then a change for each frame."""
    shared = 1 + rng.uniform(-1, 1, 3) * [settings.brightness, settings.contrast, settings.saturation]
    grey = chance(rng, settings.grayscale)
    own = [settings.frame_brightness, settings.frame_contrast, settings.frame_saturation]
    return Colours(1 + rng.uniform(-1, 1, (frames, 3)) * own, shared, grey)


def _jitter(image_hwc: np.ndarray, factors_3: np.ndarray) -> np.ndarray:
    """Brightness times, contrast about the mean grey, saturation about each pixel's grey: one matrix for all three."""
    if (factors_3 == 1).all():
        return image_hwc
    brightness, contrast, saturation = factors_3
    mean = float(_GREY @ cv2.mean(image_hwc)[:3]) * brightness
    mix = saturation * np.eye(3) + (1 - saturation) * np.repeat(_GREY[None], 3, axis=0)
    matrix = np.column_stack([brightness * contrast * mix, np.full(3, (1 - contrast) * mean)])
    return cv2.transform(image_hwc, matrix)
