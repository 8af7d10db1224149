"""A flat part of an actor: pictures, and where they are in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from masklet.training.synthesis.geometry import scaling, translation
from masklet.training.synthesis.paths import Rng, wobble


@dataclass(frozen=True, slots=True)
class Bend:
    """An elastic deformation that changes through time.

    Attributes:
        fields: (K, h, w, 2) float32, displacement fields over the part, in shares of its longest side.
        weights: (frames, K), how much of each field a frame gets.
    """

    fields: np.ndarray
    weights: np.ndarray

    def at(self, frame: int) -> np.ndarray:
        """(h, w, 2) float32 displacement of one frame, in shares of the longest side."""
        return np.tensordot(self.weights[frame], self.fields, axes=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Part:
    """One flat part.

    Attributes:
        views: RGBA uint8 pictures with colours multiplied by alpha; all of one size when there are several.
        view_at: (frames,) which view each frame shows.
        matrices: (frames, 3, 3), from pixels of a view to the actor's own units (its longest side is 1).
        bend: elastic deformation, or None.
    """

    views: tuple[np.ndarray, ...]
    view_at: np.ndarray
    matrices: np.ndarray
    bend: Bend | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """A thing: parts from back to front. `kind` says how it was made, for contact sheets and tests."""

    parts: tuple[Part, ...]
    kind: str
    width: float = 1.0
    height: float = 1.0


def premultiplied(image_hwc: np.ndarray) -> np.ndarray:
    """RGBA with colours multiplied by alpha, which is what can be warped and blurred without fringes."""
    alpha = image_hwc[..., 3:].astype(np.uint16)
    colours = (image_hwc[..., :3].astype(np.uint16) * alpha + 127) // 255
    return np.dstack([colours.astype(np.uint8), image_hwc[..., 3]])


def flat_actor(views: list[np.ndarray], view_at: np.ndarray, kind: str, bend: Bend | None = None) -> Actor:
    """An actor of one part, centred, with a longest side of 1. Views are RGBA, not yet premultiplied."""
    height, width = views[0].shape[:2]
    side = max(height, width)
    matrix = scaling(1 / side) @ translation(-width / 2, -height / 2)
    matrices = np.broadcast_to(matrix, (len(view_at), 3, 3))
    part = Part(tuple(premultiplied(view) for view in views), view_at, matrices, bend)
    return Actor((part,), kind, width / side, height / side)


def random_bend(rng: Rng, frames: int, strength: float) -> Bend:
    """Two displacement fields of a few cells each, swelling and fading."""
    fields = []
    for _ in range(2):
        cells = int(rng.integers(2, 5))
        coarse = rng.normal(0, 0.7, (cells, cells, 2)).astype(np.float32)
        fields.append(cv2.resize(coarse, (17, 17), interpolation=cv2.INTER_CUBIC))
    weights = np.stack([strength * wobble(rng, frames, 0.25) for _ in fields], axis=1)
    return Bend(np.stack(fields), weights)
