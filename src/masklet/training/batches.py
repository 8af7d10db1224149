"""From clips to what one training step sees: pictures, and a few masklets of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from masklet.training.synthesis.clips import Clip

#: A masklet starts on a frame where it covers at least this share.
_LEAST_START = 0.001


class ClipSource(Protocol):
    """Anything that gives numbered clips, the same for the same number."""

    def clip(self, number: int, /) -> Clip: ...


@dataclass(frozen=True)
class ClipBatch:
    """What one step sees of b clips with t frames and of k masklets in them.

    Attributes:
        frames_bthwc: uint8 RGB at the network's input size.
        masks_kthw: bool; every masklet is visible in frame 0.
        owner_k: which clip a masklet belongs to.
        known_kt: whether the truth of that frame is known; everywhere on synthetic clips.
        shown_bthw: bool, where any object is, chosen or not.
    """

    frames_bthwc: Tensor
    masks_kthw: Tensor
    owner_k: Tensor
    known_kt: Tensor
    shown_bthw: Tensor

    def pin_memory(self) -> ClipBatch:
        return ClipBatch(*(getattr(self, name).pin_memory() for name in self.__dataclass_fields__))

    def to(self, device: torch.device) -> ClipBatch:
        return ClipBatch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


@dataclass(eq=False)
class ClipBatches(Dataset[ClipBatch]):
    """Numbered batches; batch n is the same whatever was asked for before.

    Args:
        source: where the clips come from.
        clips: in a batch.
        objects: masklets taken from each clip.
        seed: any integer.
        echo: how many batches see a clip, each time mirrored, reversed and coloured anew. Making a clip costs more
            than looking at it again, and a network this far from convergence learns from both.
        spread: batches between two sights of a clip. The clips of as many batches are kept, so with several loader
            processes it should be a multiple of their number, or each would make them again.
        anew: False shows clips as the source gives them.
    """

    source: ClipSource
    clips: int
    objects: int
    seed: int = 0
    echo: int = field(default=1, kw_only=True)
    spread: int = field(default=8, kw_only=True)
    anew: bool = field(default=True, kw_only=True)
    _kept: OrderedDict[int, Clip] = field(default_factory=OrderedDict, init=False)

    def clip_numbers(self, number: int) -> list[int]:
        """Which clips a batch shows."""
        block, place = divmod(number, self.spread * self.echo)
        first = (block * self.spread + place % self.spread) * self.clips
        return list(range(first, first + self.clips))

    def _clip(self, number: int) -> Clip:
        if number not in self._kept:
            self._kept[number] = self.source.clip(number)
            if len(self._kept) > (self.spread * self.clips if self.echo > 1 else 1):
                self._kept.popitem(last=False)
        return self._kept[number]

    def __getitem__(self, number: int) -> ClipBatch:
        rng = np.random.default_rng([self.seed & 0xFFFFFFFF, 1, number])
        frames, shown, masks, owners, known = [], [], [], [], []
        for place, clip_number in enumerate(self.clip_numbers(number)):
            clip = self._clip(clip_number)
            images, labels, annotated = clip.frames_thwc, clip.labels_thw, clip.known_t
            if self.anew:
                images, labels, annotated = seen_anew(rng, clip)
            for label in choose_masklets(rng, labels[0], self.objects):
                masks.append(labels == label)
                known.append(annotated)
                owners.append(place)
            frames.append(images)
            shown.append(labels > 0)
        t, h, w = frames[0].shape[:3]
        return ClipBatch(
            torch.from_numpy(np.stack(frames)),
            torch.from_numpy(np.stack(masks) if masks else np.zeros((0, t, h, w), bool)),
            torch.tensor(owners, dtype=torch.long),
            torch.from_numpy(np.stack(known) if known else np.zeros((0, t), bool)),
            torch.from_numpy(np.stack(shown)),
        )


def seen_anew(rng: np.random.Generator, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A clip mirrored, reversed in time and coloured by chance: frames, labels, and which frames are annotated."""
    images, labels, annotated = clip.frames_thwc, clip.labels_thw, clip.known_t
    least = _LEAST_START * labels[0].size
    if rng.random() < 0.5 and annotated[-1] and (labels[-1] > 0).sum() > least:
        images, labels, annotated = images[::-1], labels[::-1], annotated[::-1]
    if rng.random() < 0.5:
        images, labels = images[:, :, ::-1], labels[:, :, ::-1]
    if rng.random() < 0.5:
        gain = np.exp(rng.normal(0, 0.12, 3) + rng.normal(0, 0.12))
        curve = np.arange(256)[:, None] / 255
        table = (curve ** np.exp(rng.normal(0, 0.15)) * gain * 255).clip(0, 255).astype(np.uint8)
        images = np.stack([cv2.LUT(np.ascontiguousarray(image), table[None]) for image in images])
    if rng.random() < 0.05:
        grey = images.mean(-1, keepdims=True).astype(np.uint8)
        images = np.broadcast_to(grey, images.shape)
    return np.ascontiguousarray(images), np.ascontiguousarray(labels), np.ascontiguousarray(annotated)


def choose_masklets(rng: np.random.Generator, labels_hw: np.ndarray, count: int) -> Sequence[int]:
    """Labels of ``count`` objects that the first frame shows, by chance; where it shows fewer, some come again.

    A frame's features cost far more than a prompt on it, and the same object prompted in another way teaches that
    prompts mean the same.
    """
    counts = np.bincount(labels_hw.ravel(), minlength=2)
    shown = [label for label in range(1, len(counts)) if counts[label] >= _LEAST_START * labels_hw.size]
    shown = shown or [label for label in range(1, len(counts)) if counts[label]]
    return np.resize(rng.permutation(shown), count).tolist() if shown else []
