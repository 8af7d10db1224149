"""Smooth random functions of time: how things move, turn, bend and change their light.

Time is counted in frames, and speeds are per frame, so that a longer clip moves further, not slower.
"""

from __future__ import annotations

import numpy as np

Rng = np.random.Generator


def chance(rng: Rng, probability: float) -> bool:
    return bool(rng.random() < probability)


def log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def wobble(rng: Rng, frames: int, fastest: float = 0.25) -> np.ndarray:
    """A wandering curve with values around -1 … 1, (frames,) float64: three sines of random pace.

    `fastest`: highest pace in turns per frame.
    """
    time = np.arange(frames)
    pace = rng.uniform(0.02, fastest, 3)
    start = rng.uniform(0, 2 * np.pi, 3)
    weight = rng.uniform(0.3, 1, 3) / (1 + 6 * pace)
    waves = weight[:, None] * np.sin(2 * np.pi * pace[:, None] * time + start[:, None])
    return waves.sum(axis=0) / weight.sum()


def drift(rng: Rng, frames: int, per_frame: float, fastest: float = 0.2) -> np.ndarray:
    """A curve that starts at 0 and moves by about `per_frame` each frame, (frames,): a trend and a wobble."""
    trend = rng.normal(0, 0.7) * np.arange(frames)
    wander = wobble(rng, frames, fastest)
    return per_frame * (trend + (wander - wander[0]) * rng.uniform(0.5, 3))


def through(points: np.ndarray, times: np.ndarray, frames: int) -> np.ndarray:
    """A smooth curve through points at given times, (frames, D). Two points: eased; more: monotone pieces."""
    clock = np.arange(frames, dtype=np.float64)
    part = np.clip(np.searchsorted(times, clock, side="right") - 1, 0, len(times) - 2)
    share = np.clip((clock - times[part]) / np.maximum(times[part + 1] - times[part], 1e-9), 0, 1)
    eased = share * share * (3 - 2 * share) * 0.6 + share * 0.4
    return points[part] + (points[part + 1] - points[part]) * eased[:, None]
