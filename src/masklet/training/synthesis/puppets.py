"""Things with limbs: people, animals and insects made of capsules, walking, waving and bending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masklet.training.synthesis.geometry import rotation, scaling, translation
from masklet.training.synthesis.parts import Actor, Part, premultiplied
from masklet.training.synthesis.paths import Rng, chance
from masklet.training.synthesis.sources import Wardrobe
from masklet.training.synthesis.textures import piece_of, surface

_PIXELS = 240  # a puppet's unit length in pixels of its limb pictures


@dataclass(frozen=True, slots=True)
class Limb:
    """One bone.

    Attributes:
        parent: index of the limb it hangs on, -1 for the root.
        along: where on the parent it hangs: 0 at its start, 1 at its end.
        length, width: in units.
        angle: rest angle in radians relative to the parent (the root: to the picture).
        swing: amplitude in radians.
        phase: of the swing, in radians.
        behind: drawn behind its parent.
    """

    parent: int
    along: float
    length: float
    width: float
    angle: float
    swing: float
    phase: float
    behind: bool = False


def puppet(rng: Rng, frames: int, wardrobe: Wardrobe) -> Actor:
    """A random figure with moving limbs."""
    plan = (_person, _person, _beast, _insect)[int(rng.integers(4))]
    limbs = plan(rng)
    pace = rng.uniform(0.03, 0.28)  # turns per frame
    starts, angles = _pose(limbs, np.arange(frames), pace, rng.uniform(0, 1))
    coats = [surface(rng, _PIXELS, _PIXELS, wardrobe) for _ in range(int(rng.integers(1, 4)))]
    head = None
    if wardrobe.cutouts is not None and chance(rng, 0.3):
        head = wardrobe.cutouts.read(wardrobe.cutouts.pick(rng))
    order = sorted(range(len(limbs)), key=lambda i: not limbs[i].behind)
    corners = _extent(limbs, starts, angles)
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    size = float((high - low).max())
    centre = translation(*(-(low + high) / 2))
    parts = []
    for i in order:
        limb = limbs[i]
        if head is not None and i == 1:  # every plan draws its head second
            picture = head
            side = max(picture.shape[:2])
            local = scaling(limb.length * 1.6 / side) @ translation(-picture.shape[1] / 2, -picture.shape[0] / 2)
            local = translation(limb.length / 2, 0) @ rotation(np.pi / 2) @ local
        else:
            picture = _capsule(rng, limb, coats[0 if i == 0 else int(rng.integers(len(coats)))])
            reach = limb.width / 2
            local = translation(-reach, -reach) @ scaling(1 / _PIXELS)
        matrices = np.stack(
            [
                scaling(1 / size) @ centre @ translation(*starts[t, i]) @ rotation(angles[t, i]) @ local
                for t in range(frames)
            ]
        )
        parts.append(Part((premultiplied(picture),), np.zeros(frames, int), matrices))
    width, height = (high - low) / size
    return Actor(tuple(parts), "puppet", float(width), float(height))


def _pose(limbs: list[Limb], time: np.ndarray, pace: float, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Start points (T, N, 2) and absolute angles (T, N) of all limbs."""
    starts = np.zeros((len(time), len(limbs), 2))
    angles = np.zeros((len(time), len(limbs)))
    clock = 2 * np.pi * (pace * time + start)
    for i, limb in enumerate(limbs):
        own = limb.angle + limb.swing * np.sin(clock + limb.phase)
        if limb.parent < 0:
            angles[:, i] = own
            continue
        base = angles[:, limb.parent]
        angles[:, i] = base + own
        reach = limbs[limb.parent].length * limb.along
        starts[:, i] = starts[:, limb.parent] + reach * np.stack([np.cos(base), np.sin(base)], axis=1)
    return starts, angles


def _extent(limbs: list[Limb], starts: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Both ends of all limbs in all frames, widened by their thickness, (T, 4N, 2)."""
    length = np.array([limb.length for limb in limbs])
    half = np.array([limb.width for limb in limbs])[:, None] / 2
    ends = starts + length[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([starts - half, starts + half, ends - half, ends + half], axis=1)


def _capsule(rng: Rng, limb: Limb, coat: np.ndarray) -> np.ndarray:
    """A rounded, tapering, shaded limb lying along x, (H, W, 4) uint8 RGBA."""
    thick, long = max(3.0, limb.width * _PIXELS), limb.length * _PIXELS
    height, width = round(thick), round(long + thick)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    along = np.clip((x - thick / 2) / max(long, 1), 0, 1)
    radius = thick / 2 * (1 - rng.uniform(0, 0.4) * along)
    from_bone = np.hypot(y - thick / 2, x - thick / 2 - along * long)
    alpha = np.clip(radius - from_bone + 0.5, 0, 1)
    colours = piece_of(rng, coat, height, width, least=min(1.0, thick / _PIXELS))
    round_light = 1 - 0.45 * (from_bone / np.maximum(radius, 1)) ** 2 * rng.uniform(0, 1)
    lit = (colours * np.clip(round_light, 0, 1)[..., None]).astype(np.uint8)
    return np.dstack([lit, (alpha * 255).astype(np.uint8)])


def _person(rng: Rng) -> list[Limb]:
    up = -np.pi / 2
    torso, limb = rng.uniform(0.26, 0.36), rng.uniform(0.018, 0.07)
    swing, lean = rng.uniform(0.1, 0.8), rng.normal(0, 0.15)
    figure = [
        Limb(-1, 0, torso, rng.uniform(0.1, 0.2), up + lean, 0.06, 0),
        Limb(0, 1.0, rng.uniform(0.1, 0.16), rng.uniform(0.09, 0.15), 0, 0.1, 1.0),
    ]
    spread = rng.uniform(0, 0.5)
    for side in (-1, 1):
        phase, rear = (0 if side < 0 else np.pi), side < 0
        shoulder = len(figure)
        arm, leg = rng.uniform(0.13, 0.2), rng.uniform(0.18, 0.26)
        figure.append(Limb(0, 0.92, arm, limb, np.pi + side * rng.uniform(0.05, 1.6), swing, phase, rear))
        figure.append(Limb(shoulder, 1, arm, limb * 0.85, rng.uniform(-0.9, 0.3), swing / 2, phase + 1, rear))
        hip = len(figure)
        figure.append(Limb(0, 0.02, leg, limb * 1.4, np.pi + side * spread / 2, swing, phase + np.pi, rear))
        figure.append(Limb(hip, 1, leg, limb * 1.1, rng.uniform(0, 0.5), swing / 2, phase + 2, rear))
    if chance(rng, 0.35):  # a stick, a racket, a bag
        figure.append(Limb(3, 1, rng.uniform(0.1, 0.4), rng.uniform(0.01, 0.1), rng.normal(0, 1), 0.2, 0))
    return figure


def _beast(rng: Rng) -> list[Limb]:
    body, limb, swing = rng.uniform(0.4, 0.6), rng.uniform(0.02, 0.07), rng.uniform(0.1, 0.7)
    flip = rng.choice([0.0, np.pi])
    down = -1.0 if flip else 1.0
    figure = [
        Limb(-1, 0, body, rng.uniform(0.14, 0.28), flip + rng.normal(0, 0.1), 0.05, 0),
        Limb(0, 1.0, rng.uniform(0.12, 0.28), rng.uniform(0.07, 0.15), -down * rng.uniform(0, 0.9), 0.2, 0.5),
    ]
    leg = rng.uniform(0.1, 0.22)
    for at, phase in ((0.06, 0.0), (0.12, np.pi), (0.9, np.pi / 2), (0.96, 3 * np.pi / 2)):
        upper = len(figure)
        rear = phase >= np.pi
        figure.append(Limb(0, at, leg, limb * 1.3, down * np.pi / 2, swing, phase, rear))
        figure.append(Limb(upper, 1, leg, limb, rng.uniform(-0.4, 0.4), swing / 2, phase + 1, rear))
    tail = len(figure)
    figure.append(Limb(0, 0, rng.uniform(0.08, 0.25), limb * 0.8, np.pi + rng.normal(0, 0.5), 0.5, 1.0))
    figure.append(Limb(tail, 1, rng.uniform(0.05, 0.2), limb * 0.6, rng.normal(0, 0.3), 0.5, 2.0))
    return figure


def _insect(rng: Rng) -> list[Limb]:
    limb, swing = rng.uniform(0.012, 0.035), rng.uniform(0.1, 0.5)
    facing = rng.uniform(0, 2 * np.pi)
    figure = [
        Limb(-1, 0, rng.uniform(0.2, 0.4), rng.uniform(0.08, 0.2), facing, 0.05, 0),
        Limb(0, 1.0, rng.uniform(0.06, 0.14), rng.uniform(0.06, 0.14), 0, 0.1, 0),
    ]
    pairs = int(rng.integers(2, 5))
    for i in range(pairs):
        for side in (-1, 1):
            upper, phase = len(figure), np.pi * ((i + (side > 0)) % 2)
            out = side * rng.uniform(0.9, 1.9)
            figure.append(Limb(0, (i + 0.5) / pairs, rng.uniform(0.12, 0.25), limb, out, swing, phase, True))
            figure.append(Limb(upper, 1, rng.uniform(0.1, 0.25), limb * 0.8, side * 0.7, swing, phase + 1, True))
    return figure
