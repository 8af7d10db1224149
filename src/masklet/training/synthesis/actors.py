"""Casting: what plays in a clip, and how it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from masklet.training.synthesis.geometry import rotation, scaling, translation
from masklet.training.synthesis.parts import Actor, Bend, Part, flat_actor, premultiplied, random_bend
from masklet.training.synthesis.paths import Rng, chance, wobble
from masklet.training.synthesis.puppets import puppet
from masklet.training.synthesis.shapes import random_shape
from masklet.training.synthesis.sources import Wardrobe
from masklet.training.synthesis.textures import colour, piece_of, surface

_SHAPE_SIDE = 256
_GREY = np.array([[0.299, 0.587, 0.114]], np.float32)


def cast(rng: Rng, frames: int, wardrobe: Wardrobe) -> Actor:
    """One random thing."""
    which = rng.random()
    if wardrobe.cutouts is None:
        which = 0.7 + 0.3 * which
    if which < 0.58:
        return cutout_actor(rng, frames, wardrobe)
    if which < 0.7:
        return assembly(rng, frames, wardrobe)
    if which < 0.9:
        return puppet(rng, frames, wardrobe)
    shape = random_shape(rng, _SHAPE_SIDE, wardrobe)
    return flat_actor([shape], np.zeros(frames, int), "shape", _maybe_bend(rng, frames))


def look_alike(rng: Rng, actor: Actor, frames: int) -> Actor:
    """Another of the same kind: same looks but for small differences, its own bending and timing."""
    gain = rng.uniform(0.85, 1.12, 3).astype(np.float32)
    mirrored = chance(rng, 0.5)
    parts = []
    for part in actor.parts:
        views = tuple(_tinted(view, gain) for view in part.views)
        matrices = part.matrices
        if mirrored:
            matrices = np.diag([-1.0, 1.0, 1.0]) @ matrices
        shift = int(rng.integers(len(part.views)))
        bend = random_bend(rng, frames, 0.03) if part.bend is not None else None
        parts.append(Part(views, (part.view_at + shift) % len(views), matrices, bend))
    return replace(actor, parts=tuple(parts), kind=f"{actor.kind} look-alike")


def _tinted(view: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Changes colours of a premultiplied picture; a colour can't exceed its alpha."""
    colours = np.minimum(view[..., :3] * gain, view[..., 3:]).astype(np.uint8)
    return np.dstack([colours, view[..., 3]])


def cutout_actor(rng: Rng, frames: int, wardrobe: Wardrobe) -> Actor:
    """A cut-out; one with several views turns or walks."""
    pictures = wardrobe.cutouts
    assert pictures is not None
    index = pictures.pick(rng)
    count = pictures.views(index)
    if count == 1:
        picture = dressed(rng, pictures.read(index), wardrobe)
        return flat_actor([picture], np.zeros(frames, int), "cut-out", _maybe_bend(rng, frames))
    pace = rng.choice([0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 1.5)])
    direction = rng.choice([-1, 1])
    view_at = np.floor(rng.uniform(0, count) + direction * pace * np.arange(frames)).astype(int)
    if pictures.cyclic(index):
        view_at %= count
    else:
        view_at %= 2 * count - 2
        view_at = np.minimum(view_at, 2 * count - 2 - view_at)
    shown, numbers = np.unique(view_at, return_inverse=True)
    grade = _dresser(rng, wardrobe)
    views = [grade(pictures.read(index, int(view))) for view in shown]
    return flat_actor(views, numbers.reshape(-1), "cut-out with views")


def assembly(rng: Rng, frames: int, wardrobe: Wardrobe) -> Actor:
    """Several cut-outs hinged to each other: one object with parts that move against each other."""
    pictures = wardrobe.cutouts
    assert pictures is not None
    parts: list[Part] = []
    for number in range(int(rng.integers(2, 5))):
        if chance(rng, 0.7):
            picture = dressed(rng, pictures.read(pictures.pick(rng)), wardrobe)
        else:
            picture = random_shape(rng, _SHAPE_SIDE, wardrobe)
        height, width = picture.shape[:2]
        size = rng.uniform(0.6, 0.8) if number == 0 else rng.uniform(0.25, 0.6)
        hinge = np.array([0.0, 0.0]) if number == 0 else rng.uniform(-0.3, 0.3, 2)
        # the picture hangs on its hinge by a point inside it
        grip = rng.uniform(0.3, 0.7, 2) if number == 0 else rng.uniform(0.1, 0.9, 2)
        local = scaling(size / max(height, width)) @ translation(-width * grip[0], -height * grip[1])
        swing = rng.uniform(0, 0.1) if number == 0 else rng.uniform(0, 0.7)
        turn = rng.uniform(-np.pi, np.pi) * (number > 0) + swing * wobble(rng, frames)
        matrices = np.stack([translation(*hinge) @ rotation(angle) @ local for angle in turn])
        parts.append(Part((premultiplied(picture),), np.zeros(frames, int), matrices))
    order = rng.permutation(len(parts))
    return Actor(tuple(parts[i] for i in order), "assembly")


def _maybe_bend(rng: Rng, frames: int) -> Bend | None:
    return random_bend(rng, frames, rng.uniform(0.01, 0.07)) if chance(rng, 0.45) else None


def dressed(rng: Rng, picture: np.ndarray, wardrobe: Wardrobe) -> np.ndarray:
    """A cut-out with changed colours, at times with a real surface laid over its paint."""
    return _dresser(rng, wardrobe)(picture)


def _dresser(rng: Rng, wardrobe: Wardrobe) -> Callable[[np.ndarray], np.ndarray]:
    """One change of looks that can be applied to several views of a thing."""
    saturation, gain = float(rng.uniform(0.35, 1.1)), float(rng.uniform(0.7, 1.15))
    tint = rng.normal(1, 0.08, 3).astype(np.float32)
    hue = rng.uniform(-90, 90) if chance(rng, 0.25) else 0.0
    covering = surface(rng, 192, 192, wardrobe) if chance(rng, 0.2) else None
    zones = _zones(rng) if chance(rng, 0.4) else None
    thickness = rng.uniform(0.25, 0.85)
    mirrored = chance(rng, 0.5)
    side_light = (rng.normal(0, 0.35, 2) if chance(rng, 0.4) else np.zeros(2)).tolist()

    def change(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        colours: np.ndarray = picture[..., :3].astype(np.float32)
        if hue:
            hsv = cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2HSV).astype(np.float32)
            hsv[..., 0] = (hsv[..., 0] + hue) % 180
            colours = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
        grey = cv2.transform(colours, _GREY)
        colours = grey[..., None] + (colours - grey[..., None]) * saturation
        if covering is not None:
            laid = cv2.resize(covering, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
            colours = colours * (1 - thickness) + laid * (0.25 + 0.75 * grey[..., None] / 255) * thickness
        x, y = (np.linspace(-0.5, 0.5, length, dtype=np.float32) for length in (width, height))
        if zones is not None:
            paint = zones(x, y)
            colours = np.where(paint >= 0, grey[..., None] * (paint / 128), colours)
        light = gain * (1 + side_light[0] * x[None] + side_light[1] * y[:, None])
        colours = colours * (light[..., None] * tint)
        result = np.dstack([np.clip(colours, 0, 255).astype(np.uint8), picture[..., 3]])
        return np.ascontiguousarray(result[:, ::-1]) if mirrored else result

    return change


def _zones(rng: Rng) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Paint for parts of a thing, as clothes and bodywork have: what belongs together seldom has one colour.

    The parts are nearest to one of a few seeds, which may lie in a row. Returns a function from the coordinates of
    columns and rows (-0.5 ... 0.5) to (H, W, 3) colours, -1 where the thing keeps its own.
    """
    count = int(rng.integers(2, 6))
    seeds = rng.uniform(-0.5, 0.5, (count, 2)) * [(1, 0.1), (0.1, 1), (1, 1)][int(rng.integers(3))]
    paints = np.stack([colour(rng) if chance(rng, 0.6) else np.full(3, -1.0) for _ in range(count)])
    paints = paints.astype(np.float32)

    def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        away = [(x[None] - seed[0]) ** 2 + (y[:, None] - seed[1]) ** 2 for seed in seeds.astype(np.float32)]
        return paints[np.argmin(away, axis=0)]

    return paint


def camouflaged(rng: Rng, background: np.ndarray, frames: int) -> Actor:
    """A shape cut out of the background's own surface: only its edge and its motion give it away."""
    shape = random_shape(rng, _SHAPE_SIDE, Wardrobe())
    height, width = shape.shape[:2]
    colours = piece_of(rng, background, height, width)
    return flat_actor(
        [np.dstack([colours, shape[..., 3]])], np.zeros(frames, int), "camouflage", _maybe_bend(rng, frames)
    )
