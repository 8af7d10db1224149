"""Paints actors over a background, frame by frame, and knows to whom each pixel belongs."""

from __future__ import annotations

import cv2
import numpy as np

from masklet.training.synthesis.geometry import corners, move, translation
from masklet.training.synthesis.parts import Part

_GRID = 8  # elastic maps are computed every so many pixels
_LONGEST_BLUR = 40.0  # pixels


class Canvas:
    """One frame in the making.

    Attributes:
        image: (H, W, 3) float32 RGB, 0 … 255.
        owner: (H, W) uint8, the object that covers more than half of each pixel, 0 for none.
    """

    def __init__(self, background: np.ndarray):
        self.image: np.ndarray = background.astype(np.float32)
        self.owner: np.ndarray = np.zeros(background.shape[:2], np.uint8)

    def shade(self, layer: Layer, shift: tuple[int, int], strength: float, softness: float) -> None:
        """Darkens what lies under a layer's shadow, thrown by `shift` (x, y) pixels."""
        x, y, patch = layer
        pad = int(3 * softness) + 1
        alpha: np.ndarray = np.pad(patch[..., 3].astype(np.float32) / 255, pad)
        alpha = cv2.blur(cv2.blur(alpha, (2 * pad // 3 + 1,) * 2), (2 * pad // 3 + 1,) * 2)
        place = self._overlap(x + shift[0] - pad, y + shift[1] - pad, alpha.shape)
        if place is not None:
            here, there = place
            self.image[here] *= (1 - strength * alpha[there])[..., None]

    def paint(self, layer: Layer, label: int) -> None:
        """Lays a premultiplied patch over the frame."""
        x, y, patch = layer
        place = self._overlap(x, y, patch.shape[:2])
        if place is None:
            return
        here, there = place
        part: np.ndarray = patch[there].astype(np.float32)
        self.image[here] *= 1 - part[..., 3:] / 255
        self.image[here] += part[..., :3]
        self.owner[here][part[..., 3] > 127.5] = label

    def _overlap(
        self, x: int, y: int, shape: tuple[int, ...]
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        height, width = self.owner.shape
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + shape[1], width), min(y + shape[0], height)
        if left >= right or top >= bottom:
            return None
        here = slice(top, bottom), slice(left, right)
        there = slice(top - y, bottom - y), slice(left - x, right - x)
        return here, there


Layer = tuple[int, int, np.ndarray]
"""(left, top, premultiplied RGBA uint8 patch) in frame pixels; it may reach beyond the frame"""


def project(part: Part, frame: int, to_frame: np.ndarray, size_hw: tuple[int, int], margin: int = 48) -> Layer | None:
    """A part as it appears in a frame, cut to the frame and a margin around it; None when it is out of sight.

    Args:
        to_frame: (3, 3) from the actor's units to frame pixels.
        margin: kept around the frame, for blur and shadows.
    """
    view = part.views[int(part.view_at[frame])]
    matrix = to_frame @ part.matrices[frame]
    height, width = view.shape[:2]
    outline = move(matrix, corners(width, height))
    if np.isnan(outline).any():
        return None
    bend = None if part.bend is None else part.bend.at(frame)
    low, high = outline.min(axis=0), outline.max(axis=0)
    if bend is not None:
        swell = float(np.abs(bend).max()) * float((high - low).max())
        low, high = low - swell, high + swell
    left, top = (int(max(v, -margin)) for v in np.floor(low) - 1)
    right = int(min(np.ceil(high[0]) + 1, size_hw[1] + margin))
    bottom = int(min(np.ceil(high[1]) + 1, size_hw[0] + margin))
    if right - left < 2 or bottom - top < 2:
        return None
    scale = float(np.sqrt(_area(outline) / (width * height)))
    view, matrix = _smaller(view, matrix, scale)
    # positions count from the picture's corner, OpenCV counts from the middle of the first pixel
    local = translation(-left - 0.5, -top - 0.5) @ matrix @ translation(0.5, 0.5)
    if bend is None:
        patch = cv2.warpPerspective(
            view, local, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
    else:
        map_x, map_y = _elastic_map(local, bend, view.shape, right - left, bottom - top)
        patch = cv2.remap(view, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return left, top, patch


def _area(quad: np.ndarray) -> float:
    x, y = quad[:, 0], quad[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _smaller(view: np.ndarray, matrix: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a view that will appear much smaller, so that it doesn't alias."""
    if scale >= 0.7:
        return view, matrix
    height, width = view.shape[:2]
    new_width, new_height = max(2, round(width * scale)), max(2, round(height * scale))
    small = cv2.resize(view, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return small, matrix @ np.diag([width / new_width, height / new_height, 1.0])


def _elastic_map(
    matrix: np.ndarray, bend: np.ndarray, shape: tuple[int, ...], width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the patch, where in the view its colour comes from."""
    columns, rows = max(2, width // _GRID + 1), max(2, height // _GRID + 1)
    x, y = np.meshgrid(np.linspace(0, width - 1, columns), np.linspace(0, height - 1, rows))
    source = move(np.linalg.inv(matrix), np.stack([x.ravel(), y.ravel()], axis=1)).reshape(rows, columns, 2)
    source = np.nan_to_num(source, nan=-1e4).astype(np.float32)
    cells = np.array(bend.shape[1::-1], np.float32) - 1
    at = (source + 0.5) / np.array(shape[1::-1], np.float32) * cells
    shift = cv2.remap(bend, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    source = source + shift * max(shape[:2])
    fine = _upsampled(source, width, height)
    return fine[..., 0], fine[..., 1]


def _upsampled(grid: np.ndarray, width: int, height: int) -> np.ndarray:
    """Grid corners on the patch's corner pixels, bilinear between them."""
    columns, rows = grid.shape[1], grid.shape[0]
    x = np.linspace(0, columns - 1, width, dtype=np.float32)
    y = np.linspace(0, rows - 1, height, dtype=np.float32)
    map_x, map_y = np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))
    return cv2.remap(grid, np.ascontiguousarray(map_x), np.ascontiguousarray(map_y), cv2.INTER_LINEAR)


def smeared(layer: Layer, motion: np.ndarray) -> Layer:
    """A layer blurred along a straight motion (x, y in pixels during the exposure), centred on where it is."""
    length = float(np.hypot(*motion))
    if length < 1.5:
        return layer
    motion = motion * min(1.0, _LONGEST_BLUR / length)
    x, y, patch = layer
    pad_x, pad_y = int(abs(motion[0]) / 2) + 1, int(abs(motion[1]) / 2) + 1
    padded = cv2.copyMakeBorder(patch, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_CONSTANT)
    return x - pad_x, y - pad_y, cv2.filter2D(padded, -1, streak(motion), borderType=cv2.BORDER_CONSTANT)


def streak(motion: np.ndarray) -> np.ndarray:
    """The kernel of a straight motion (x, y in pixels), centred, sums to 1."""
    reach = (np.abs(motion) / 2).astype(int) + 1
    kernel = np.zeros(2 * reach[::-1] + 1, np.float32)
    along = np.linspace(-0.5, 0.5, max(2, int(np.hypot(*motion)) + 1))
    places = reach + motion * along[:, None]
    whole = places.astype(int)
    for (fx, fy), (x, y) in zip(places - whole, whole, strict=True):  # shared out to the four pixels around
        kernel[y : y + 2, x : x + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / kernel.sum()
