"""Endless clips with exact masks, each a pure function of a seed and its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import Field

from masklet.settings import CheckedSettings, Count, Share, Span
from masklet.training.synthesis.actors import camouflaged, cast, look_alike
from masklet.training.synthesis.compositor import Canvas, Layer, project, smeared, streak
from masklet.training.synthesis.geometry import move, scaling, translation
from masklet.training.synthesis.grading import Grade
from masklet.training.synthesis.parts import Actor
from masklet.training.synthesis.paths import Rng, chance
from masklet.training.synthesis.sources import Wardrobe
from masklet.training.synthesis.staging import (
    Staged,
    bars,
    beside,
    camera,
    choose_behaviour,
    cover_actor,
    draw_size,
    draw_tempo,
    hiding_occluder,
    stage,
)
from masklet.training.synthesis.textures import piece_of, surface

_MARGIN = 0.35  # of the frame, around the background, for the camera to move in
_TRIES = 4
_FIRST_AREA = 0.002  # share of the first frame that its first object should have


class ClipSettings(CheckedSettings):
    """What clips are like.

    Attributes:
        frames: frames in a clip.
        height, width: size of the frames in pixels.
        objects: fewest and most labelled objects.
        least_area: share of the frame under which an object counts as not visible.
        look_alikes: probability that a clip's objects are of one kind.
        crowds: probability that its objects begin beside or partly in front of each other.
        photo_share: probability that the background is a photograph and not a texture.
    """

    frames: Count = 5
    height: Annotated[int, Field(ge=32)] = 256
    width: Annotated[int, Field(ge=32)] = 256
    objects: Span[Annotated[int, Field(ge=1, le=200)]] = (1, 8)
    least_area: Share = 0.0004
    look_alikes: Share = 0.35
    crowds: Share = 0.5
    photo_share: Share = 0.8


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip.

    Attributes:
        frames_thwc: (T, H, W, 3) uint8 RGB.
        labels_thw: (T, H, W) uint8; object ids 1 … n, 0 elsewhere. The object that covers most of a pixel has it.
        objects: for each id, how it was made and what it does.
        number: which clip of the seed this is.
        annotated_t: (T,) bool, on which frames the labels say something; None means all of them. Real videos have
            frames that nobody annotated (their labels are 0).
    """

    frames_thwc: np.ndarray
    labels_thw: np.ndarray
    objects: dict[int, str] = field(default_factory=dict)
    number: int = 0
    annotated_t: np.ndarray | None = None

    @property
    def known_t(self) -> np.ndarray:
        """(T,) bool, on which frames the labels say something."""
        return np.ones(len(self.frames_thwc), bool) if self.annotated_t is None else self.annotated_t

    def mask(self, object_id: int) -> np.ndarray:
        """(T, H, W) bool."""
        return self.labels_thw == object_id

    @property
    def areas(self) -> dict[int, np.ndarray]:
        """Visible pixels of each object in each frame, {id: (T,)}."""
        return {i: self.mask(i).sum(axis=(1, 2)) for i in self.objects}


class ClipGenerator:
    """Makes clips. Clip n is the same for the same seed, settings and pictures, in whatever order it is asked for.

    Args:
        wardrobe: the pictures to use; without any, everything is painted.
        settings: what clips are like.
        seed: any integer.
    """

    def __init__(self, wardrobe: Wardrobe | None = None, settings: ClipSettings | None = None, seed: int = 0):
        self.wardrobe = wardrobe or Wardrobe()
        self.settings = settings or ClipSettings()
        self.seed = seed

    def changed(self, seed: int, **settings: Any) -> ClipGenerator:
        """The same pictures as other clips: another seed, other settings such as `frames=8, height=512, width=512`."""
        return ClipGenerator(self.wardrobe, self.settings.changed(**settings), seed)

    def __iter__(self) -> Iterator[Clip]:
        return map(self.clip, count())

    def clip(self, number: int) -> Clip:
        """The clip of this number (0 or more). Its first object is visible in its first frame."""
        clip = None
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.seed & 0xFFFFFFFF, number, attempt])
            clip = self._make(rng, number)
            if (clip.labels_thw[0] == 1).mean() > _FIRST_AREA:
                break
        assert clip is not None
        return clip

    # ------------------------------------------------------------------------------------------ one clip

    def _make(self, rng: Rng, number: int) -> Clip:
        settings, frames = self.settings, self.settings.frames
        size_hw = settings.height, settings.width
        tempo = draw_tempo(rng)
        backdrop = self._backdrop(rng)
        objects, front = self._cast(rng, tempo, backdrop)
        views = camera(rng, frames, size_hw, tempo)
        exposure = rng.uniform(0.2, 0.8) if chance(rng, 0.5) else 0.0
        grade = Grade(rng, frames, size_hw)
        shift = rng.normal((0, 0.04), 0.05) * min(size_hw)
        softness = float(rng.uniform(0.008, 0.04) * min(size_hw))
        # far things first; large ones tend to be behind, or nothing else would be seen
        objects = sorted(objects, key=lambda staged: staged.size + rng.normal(0, 0.25), reverse=True)
        order = objects + front
        images = np.empty((frames, *size_hw, 3), np.uint8)
        labels = np.empty((frames, *size_hw), np.uint8)
        for t in range(frames):
            canvas = Canvas(self._seen_backdrop(backdrop, views, t, exposure))
            for staged in order:
                layers = list(self._layers(staged, views, t, exposure))
                if staged.shadow:
                    for layer in layers:
                        reach = int(shift[0]), int(shift[1])
                        canvas.shade(layer, reach, staged.shadow / len(layers) ** 0.5, softness)
                for layer in layers:
                    canvas.paint(layer, staged.label)
            images[t], labels[t] = grade(canvas.image, t), canvas.owner
        return self._finished(images, labels, objects, number)

    def _finished(self, images: np.ndarray, labels: np.ndarray, objects: Sequence[Staged], number: int) -> Clip:
        """Drops remnants of a few pixels, and objects that are never seen; numbers the rest in order."""
        least = max(4, int(self.settings.least_area * labels[0].size))
        table = np.zeros((len(labels), 256), np.uint8)
        kept: dict[int, str] = {}
        counts = np.stack([np.bincount(frame.ravel(), minlength=256) for frame in labels])
        for staged in sorted(objects, key=lambda staged: staged.label):
            visible = counts[:, staged.label] >= least
            if visible.any() or staged.label == 1:
                kept[len(kept) + 1] = f"{staged.actor.kind}, {staged.behaviour}"
                table[visible, staged.label] = len(kept)
        labels = np.stack([table[t][frame] for t, frame in enumerate(labels)])
        return Clip(images, labels, kept, number)

    def _cast(self, rng: Rng, tempo: float, backdrop: np.ndarray) -> tuple[list[Staged], list[Staged]]:
        """The labelled objects, and what passes in front of them."""
        settings, frames = self.settings, self.settings.frames
        size_hw = settings.height, settings.width
        count = int(rng.integers(settings.objects[0], settings.objects[1] + 1))
        alike, crowded = chance(rng, settings.look_alikes), chance(rng, settings.crowds)
        objects: list[Staged] = []
        front: list[Staged] = []
        actor: Actor | None = None
        size = 0.0
        for label in range(1, count + 1):
            if actor is not None and alike and chance(rng, 0.8):
                own = look_alike(rng, actor, frames)
                size = float(np.clip(size * np.exp(rng.normal(0, 0.2)), 0.06, 1.2))
            else:
                own = camouflaged(rng, backdrop, frames) if chance(rng, 0.04) else cast(rng, frames, self.wardrobe)
                # limbs of a small puppet are thinner than a pixel
                size = max(draw_size(rng), 0.3 if own.kind == "puppet" else 0.0)
                actor = own
            if (alike and count > 1) or count > 4:
                size = min(size, 0.6)
            behaviour = choose_behaviour(rng, first=label == 1)
            pace = tempo * np.exp(rng.normal(0, 0.5))
            staged = stage(rng, own, frames, size_hw, label=label, size=size, behaviour=behaviour, tempo=pace)
            if crowded and objects and behaviour.startswith("stay"):
                staged = beside(rng, staged, objects[int(rng.integers(len(objects)))], size_hw)
            objects.append(staged)
            if behaviour == "stay hidden for a while" and frames > 2:
                front.append(hiding_occluder(rng, self._cover(rng), staged, frames, size_hw))
        if chance(rng, 0.18):
            coat = surface(rng, 192, 48, self.wardrobe)
            front.append(bars(rng, coat, frames, size_hw))
        return objects, front

    def _cover(self, rng: Rng) -> Actor:
        if chance(rng, 0.5):
            return cast(rng, self.settings.frames, self.wardrobe)
        coat = surface(rng, 160, 160, self.wardrobe)
        return cover_actor(rng, coat, self.settings.frames)

    # ------------------------------------------------------------------------------------------ backdrop

    def _backdrop(self, rng: Rng) -> np.ndarray:
        """The world behind everything, larger than the frame; at times with things that belong to it."""
        settings, wardrobe = self.settings, self.wardrobe
        height, width = (round(length * (1 + 2 * _MARGIN)) for length in (settings.height, settings.width))
        if wardrobe.photos is not None and chance(rng, settings.photo_share):
            picture = wardrobe.photos.read(wardrobe.photos.pick(rng))
            backdrop = piece_of(rng, picture, height, width, least=0.45)
        else:
            backdrop = surface(rng, height, width, wardrobe)
        if chance(rng, 0.2):
            reach = 2 * int(rng.integers(1, 6)) + 1
            backdrop = cv2.blur(cv2.blur(backdrop, (reach, reach)), (reach, reach))
        if not chance(rng, 0.55):
            return backdrop
        # things that stand still and aren't objects: being a thing is not yet being the target
        canvas = Canvas(backdrop)
        for _ in range(int(rng.integers(1, 6 if chance(rng, 0.75) else 16))):
            actor = cast(rng, 1, wardrobe)
            size = draw_size(rng) * 0.7 * settings.height
            place = rng.uniform(0, 1, 2) * [width, height]
            pose = translation(*place) @ scaling(size)
            for part in actor.parts:
                layer = project(part, 0, pose, (height, width), margin=0)
                if layer is not None:
                    canvas.paint(layer, 0)
        return canvas.image.clip(0, 255).astype(np.uint8)

    def _seen_backdrop(self, backdrop: np.ndarray, views: np.ndarray, t: int, exposure: float) -> np.ndarray:
        height, width = self.settings.height, self.settings.width
        offset = translation(-_MARGIN * width, -_MARGIN * height)
        seen = cv2.warpPerspective(
            backdrop, views[t] @ offset, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        if exposure:
            middle = np.array([[width / 2, height / 2]])
            motion = exposure * _velocity(np.concatenate([move(view, middle) for view in views]), t)
            if np.hypot(*motion) >= 1.5:
                seen = cv2.filter2D(seen, -1, streak(motion), borderType=cv2.BORDER_REPLICATE)
        return seen

    def _layers(self, staged: Staged, views: np.ndarray, t: int, exposure: float) -> Iterator[Layer]:
        """The parts of an object as a frame shows them, blurred by their motion while the shutter is open."""
        size_hw = self.settings.height, self.settings.width
        for part in staged.actor.parts:
            layer = project(part, t, views[t] @ staged.poses[t], size_hw)
            if layer is None:
                continue
            if exposure:
                view = part.views[0]
                middle = np.array([[view.shape[1] / 2, view.shape[0] / 2]])
                path = [move(views[s] @ staged.poses[s] @ part.matrices[s], middle) for s in _beside(t, len(views))]
                motion = exposure * _velocity(np.concatenate(path), min(t, 1))
                if np.isfinite(motion).all():
                    layer = smeared(layer, motion)
            yield layer


def _beside(t: int, frames: int) -> range:
    return range(max(t - 1, 0), min(t + 2, frames))


def _velocity(path: np.ndarray, t: int) -> np.ndarray:
    """Motion per frame at frame t of a path (frames, 2)."""
    near = _beside(t, len(path))
    if len(near) < 2:
        return np.zeros(2)
    return (path[near[-1]] - path[near[0]]) / (len(near) - 1)
