"""Where things are in each frame: sizes, paths, turns, exits and returns; what hides them; where the camera looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from masklet.training.synthesis.geometry import rotation, scaling, shear, tilt, translation
from masklet.training.synthesis.parts import Actor, Part, flat_actor, premultiplied
from masklet.training.synthesis.paths import Rng, chance, drift, log_uniform, through, wobble

# share of clips' objects by longest side, in shares of the frame's shorter side
SIZES = ((0.1, 0.08, 0.2), (0.24, 0.2, 0.45), (0.38, 0.45, 0.9), (0.28, 0.9, 1.7))
BEHAVIOURS = ("stay", "leave and return", "exit", "enter", "stay hidden for a while")


@dataclass(frozen=True, slots=True)
class Staged:
    """An actor on stage.

    Attributes:
        actor: what it is.
        poses: (frames, 3, 3), from the actor's units to world pixels (the first frame's picture).
        label: object id, 0 for scenery that hides others.
        behaviour: one of `BEHAVIOURS`, "occluder" …
        shadow: strength of the shadow it throws, 0 … 1.
    """

    actor: Actor
    poses: np.ndarray
    label: int
    behaviour: str
    size: float
    shadow: float = 0.0


def draw_size(rng: Rng) -> float:
    """Longest side of an object in shares of the frame's shorter side."""
    share = rng.choice(len(SIZES), p=[likelihood for likelihood, *_ in SIZES])
    return float(rng.uniform(*SIZES[share][1:]))


def choose_behaviour(rng: Rng, first: bool) -> str:
    """The first object of a clip is there in its first frame."""
    weights = np.array([0.62, 0.16, 0.07, 0.0 if first else 0.08, 0.15])
    return str(rng.choice(BEHAVIOURS, p=weights / weights.sum()))


def draw_tempo(rng: Rng) -> float:
    """How far things go per frame, in shares of the frame: mostly a little, at times very far."""
    return log_uniform(rng, 0.004, 0.05) if chance(rng, 0.8) else log_uniform(rng, 0.05, 0.18)


def stage(
    rng: Rng,
    actor: Actor,
    frames: int,
    size_hw: tuple[int, int],
    *,
    label: int,
    size: float,
    behaviour: str,
    tempo: float,
) -> Staged:
    """Gives an actor its motion."""
    height, width = size_hw
    side = min(height, width)
    centre = _path(rng, frames, size, behaviour, tempo) * [width, height]
    grow = np.exp(np.clip(drift(rng, frames, min(0.05, tempo) * rng.uniform(0, 1.5)), -1.0, 1.0))
    grow = grow / np.sqrt(grow.max() * grow.min())
    spin = rng.normal(0, 0.25) + drift(rng, frames, tempo * rng.uniform(0, 4))
    if chance(rng, 0.12):
        spin = spin + rng.uniform(-np.pi, np.pi)
    squeeze = np.exp(rng.normal(-0.15, 0.15))  # most films are wide, and squashed into the square
    yaw = pitch = np.zeros(frames)
    if chance(rng, 0.45):
        yaw = np.clip(rng.normal(0, 0.35) + drift(rng, frames, 3 * tempo), -1.1, 1.1)
        pitch = np.clip(rng.normal(0, 0.2) + drift(rng, frames, 1.5 * tempo), -0.8, 0.8)
    distance = rng.uniform(1.2, 4.0)
    poses = np.stack(
        [
            translation(*centre[t])
            @ scaling(size * side * grow[t] * squeeze, size * side * grow[t] / squeeze)
            @ rotation(spin[t])
            @ tilt(yaw[t], pitch[t], distance)
            for t in range(frames)
        ]
    )
    shadow = rng.uniform(0.2, 0.6) if chance(rng, 0.4) else 0.0
    return Staged(actor, poses, label, behaviour, size, shadow)


def beside(rng: Rng, staged: Staged, other: Staged, size_hw: tuple[int, int]) -> Staged:
    """The same, but it begins beside another, or partly in front of or behind it."""
    height, width = size_hw
    here, there = (at[:2] / at[2] for at in (s.poses[0] @ np.array([0, 0, 1.0]) for s in (staged, other)))
    heading = rng.uniform(0, 2 * np.pi)
    reach = (staged.size + other.size) / 2 * min(size_hw) * rng.uniform(0.25, 0.85)
    there = (there + reach * np.array([np.cos(heading), np.sin(heading)])).clip(0, [width, height])
    return replace(staged, poses=translation(*(there - here)) @ staged.poses)


def _path(rng: Rng, frames: int, size: float, behaviour: str, tempo: float) -> np.ndarray:
    """Centres in shares of the frame, (frames, 2)."""
    inside = _inside(rng, size)
    last = max(frames - 1, 1)
    if behaviour in ("stay", "stay hidden for a while"):
        heading = rng.uniform(0, 2 * np.pi)
        way = tempo * last * rng.uniform(0.4, 1.6)
        # of a few directions the one that ends nearest to the middle: most things stay in view
        corners = [inside + way * np.array([np.cos(a), np.sin(a)]) for a in heading + np.arange(4) * np.pi / 2]
        end = min(corners, key=lambda p: float(np.abs(p - 0.5).max()) + rng.uniform(0, 0.25))
        path = through(np.stack([inside, end]), np.array([0.0, last]), frames)
        shake = np.stack([wobble(rng, frames, 0.45), wobble(rng, frames, 0.45)], axis=1)
        return path + (shake - shake[0]) * tempo * rng.uniform(0, 1.2)
    outside = _outside(rng, size)
    if behaviour == "leave and return":
        gone, back = sorted(rng.uniform(0.3, 0.75, 2) * last)
        points = np.stack([inside, outside, outside + rng.normal(0, 0.05, 2), _inside(rng, size)])
        return through(points, np.array([0.0, max(gone, 0.5), max(back, 0.6), last]), frames)
    ends = (inside, outside) if behaviour == "exit" else (outside, inside)
    start = rng.uniform(0, 0.4) * last
    return through(np.stack(ends), np.array([start, max(last * rng.uniform(0.7, 1.0), start + 0.5)]), frames)


def _inside(rng: Rng, size: float) -> np.ndarray:
    """A centre from which the object is mostly in view; large ones may lie over any border."""
    margin = np.clip(0.45 * size, 0.05, 0.4) if chance(rng, 0.7) else 0.08
    return rng.uniform(margin, 1 - margin, 2)


def _outside(rng: Rng, size: float) -> np.ndarray:
    beyond = 0.75 * size + rng.uniform(0.05, 0.25)
    place = rng.uniform(0, 1, 2)
    axis = int(rng.integers(2))
    place[axis] = 1 + beyond if chance(rng, 0.5) else -beyond
    return place


# ------------------------------------------------------------------------------------------------ hiding


def hiding_occluder(rng: Rng, cover: Actor, target: Staged, frames: int, size_hw: tuple[int, int]) -> Staged:
    """Something that passes over the target and for a moment hides it."""
    side = min(size_hw)
    last = max(frames - 1, 1)
    moment = rng.uniform(0.35, 0.8) * last
    at = round(moment)
    spot = target.poses[at] @ np.array([0, 0, 1.0])
    spot = spot[:2] / spot[2]
    size = float(np.clip(target.size * rng.uniform(1.1, 1.7), 0.15, 2.2))
    heading = rng.uniform(0, 2 * np.pi)
    reach = (target.size + size) * side * rng.uniform(0.55, 0.8)
    away = reach * np.array([np.cos(heading), np.sin(heading)])
    dwell = rng.uniform(0.2, 0.9)
    times = np.array([0.0, moment - dwell / 2, moment + dwell / 2, max(last, moment + dwell / 2 + 0.5)])
    centre = through(np.stack([spot - away, spot, spot, spot + away]), np.maximum.accumulate(times), frames)
    turn = rng.uniform(-0.5, 0.5)
    poses = np.stack([translation(*c) @ scaling(size * side) @ rotation(turn) for c in centre])
    return Staged(cover, poses, 0, "occluder", size)


def bars(rng: Rng, surface_hwc: np.ndarray, frames: int, size_hw: tuple[int, int]) -> Staged:
    """Poles, a fence, a trunk in front of the scene."""
    height, width = size_hw
    count = int(rng.choice([1, 1, 2, 3, 5, 8]))
    thick = rng.uniform(0.03, 0.22) / np.sqrt(count)
    diagonal = float(np.hypot(height, width))
    angle = rng.normal(0, 0.12) + (np.pi / 2 if chance(rng, 0.3) else 0)
    gap = rng.uniform(1.6, 4.0) * thick
    strip = np.dstack([surface_hwc, np.full(surface_hwc.shape[:2], 255, np.uint8)])
    image = premultiplied(strip)
    h, w = image.shape[:2]
    offset = rng.uniform(0.2, 0.8) * width
    slide = drift(rng, frames, rng.uniform(0, 0.04)) * width
    parts = []
    for i in range(count):
        x = (i - (count - 1) / 2) * gap * width
        local = translation(x, 0) @ scaling(thick * width / w, 1.3 * diagonal / h) @ translation(-w / 2, -h / 2)
        matrices = np.broadcast_to(local, (frames, 3, 3))
        parts.append(Part((image,), np.zeros(frames, int), matrices))
    poses = np.stack([translation(offset + s, height / 2) @ rotation(angle) for s in slide])
    return Staged(Actor(tuple(parts), "bars"), poses, 0, "occluder", thick)


def cover_actor(rng: Rng, surface_hwc: np.ndarray, frames: int) -> Actor:
    """A plain rectangle of some surface: a wall, a truck, a book."""
    image = np.dstack([surface_hwc, np.full(surface_hwc.shape[:2], 255, np.uint8)])
    return flat_actor([image], np.zeros(frames, int), "cover")


# ------------------------------------------------------------------------------------------------ camera


def camera(rng: Rng, frames: int, size_hw: tuple[int, int], tempo: float) -> np.ndarray:
    """Homographies from world pixels to each frame's, (frames, 3, 3); about one camera in four stands still."""
    height, width = size_hw
    if chance(rng, 0.25):
        return np.broadcast_to(np.eye(3), (frames, 3, 3))
    side = min(height, width)
    strength = min(tempo, 0.06) * rng.uniform(0.2, 1.5)
    pan_x, pan_y = (drift(rng, frames, strength * side * share) for share in (1.0, 0.5))
    if chance(rng, 0.4):  # held in a hand
        pan_x = pan_x + wobble(rng, frames, 0.5) * rng.uniform(0, 0.012) * side
        pan_y = pan_y + wobble(rng, frames, 0.5) * rng.uniform(0, 0.012) * side
    roll = drift(rng, frames, 0.4 * strength * chance(rng, 0.4))
    zoom = np.exp(np.clip(drift(rng, frames, 0.8 * strength * chance(rng, 0.5)), -0.5, 0.5))
    skew = drift(rng, frames, 0.3 * strength * chance(rng, 0.3))
    centre, back = translation(width / 2, height / 2), translation(-width / 2, -height / 2)
    return np.stack(
        [
            centre @ translation(pan_x[t], pan_y[t]) @ scaling(zoom[t]) @ rotation(roll[t]) @ shear(skew[t]) @ back
            for t in range(frames)
        ]
    )
