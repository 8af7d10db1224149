"""Prompts as a person would give them, drawn from the true masks (arXiv 2408.00714, D.2.1)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from masklet.masks.distance import deepest_point
from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NEGATIVE, POSITIVE

#: A box is drawn by hand: its corners miss by this share of its sides (standard deviation), at most so many pixels.
BOX_NOISE = 0.08
BOX_NOISE_PIXELS = 20
#: Some people leave room: this share of the boxes is larger on every side, by up to so much of it.
LOOSE_BOXES, LOOSE = 0.15, 0.15


def click(rng: np.random.Generator, area_hw: np.ndarray, centre_share: float = 0.5) -> tuple[float, float]:
    """A point (x, y) inside a mask that isn't empty: at times the deepest one, else any.

    Args:
        centre_share: how often the deepest point is taken, where people click.
    """
    if rng.random() < centre_share:
        return deepest_point(area_hw)[0]
    inside = np.flatnonzero(area_hw)
    y, x = divmod(int(inside[rng.integers(len(inside))]), area_hw.shape[1])
    return float(x), float(y)


def first_clicks(rng: np.random.Generator, truth_khw: np.ndarray) -> tuple[Tensor, Tensor]:
    """One positive click in each object: points ``[k, 1, 2]`` and labels ``[k, 1]``."""
    points = [[click(rng, mask)] for mask in truth_khw]
    return torch.tensor(points), torch.full((len(points), 1), POSITIVE)


def boxes(rng: np.random.Generator, truth_khw: np.ndarray) -> tuple[Tensor, Tensor]:
    """A box around each object, drawn a little off, as two corners: points ``[k, 2, 2]`` and labels ``[k, 2]``."""
    height, width = truth_khw.shape[1:]
    corners = []
    for mask in truth_khw:
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        reach = np.minimum(BOX_NOISE * np.array([w, h, w, h]), BOX_NOISE_PIXELS)
        box = np.array([x, y, x + w, y + h]) + rng.normal(0, 1, 4).clip(-2, 2) * reach * rng.random()
        if rng.random() < LOOSE_BOXES:
            box += np.array([-w, -h, w, h]) * rng.uniform(0, LOOSE)
        box = box.clip(0, [width, height, width, height])
        corners.append([[box[0], box[1]], [box[2], box[3]]])
    labels = torch.tensor([[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]]).expand(len(corners), -1)
    return torch.tensor(np.array(corners), dtype=torch.float32), labels


def corrections(
    rng: np.random.Generator, found_khw: np.ndarray, truth_khw: np.ndarray, anywhere: float = 0.1
) -> tuple[Tensor, Tensor]:
    """One click each on what is wrong: points ``[k, 1, 2]`` and labels ``[k, 1]``.

    Args:
        found_khw: bool, the masks so far.
        truth_khw: bool.
        anywhere: how often the click falls anywhere on the object instead, wrong or not.
    """
    points, labels = [], []
    for found, truth in zip(found_khw, truth_khw, strict=True):
        missed, extra = truth & ~found, found & ~truth
        if truth.any() and (rng.random() < anywhere or not (missed.any() or extra.any())):
            area, label = truth, POSITIVE
        else:
            # The larger fault is what a person sees first.
            area, label = (missed, POSITIVE) if missed.sum() >= extra.sum() else (extra, NEGATIVE)
        if not area.any():
            area, label = ~truth, NEGATIVE
        points.append([click(rng, area)])
        labels.append([label])
    return torch.tensor(points), torch.tensor(labels)
