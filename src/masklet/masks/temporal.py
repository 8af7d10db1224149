"""Smoothing in time: pixels that flip for a frame or two are overruled by the frames around them.

Neighbouring masks are first moved to where the object is now, by optical flow where there are pictures (DIS,
Kroeger et al. 2016), else by the masks' own place and size, so that motion isn't mistaken for flicker. Then all
of them vote. The vote is taken on a small copy and only what it changes is carried over, so outlines keep the
detail of their own frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError
from masklet.masks._arrays import as_image, as_mask

Field = NDArray[Any]

_SIDE = 384
"""Longest side of the copies that vote, in pixels: flicker is larger than a pixel of that."""
_NEIGHBOUR = 0.8
"""Weight of the next frame's vote; the frame itself has 1, so that it takes two to overrule it."""
_PICTURE_TOLERANCE = 24.0
"""Grey levels that a moved picture may differ by before its vote counts for little."""


@dataclass
class _Vote:
    own: Field
    small: NDArray[np.float32]
    grey: NDArray[np.uint8] | None
    empty: bool
    locked: bool


class TemporalSmoother:
    """Smooths one object's masks as they come; each mask is returned `radius` frames after it was pushed.

    Args:
        radius: frames before and after that vote, 1 to 16. Memory is bounded by it.

    Raises InputError for a radius out of range.
    """

    def __init__(self, radius: int) -> None:
        if isinstance(radius, bool) or not isinstance(radius, int) or not 1 <= radius <= 16:
            raise InputError(f"Smoothing takes from 1 to 16 frames on each side, not {radius!r}.")
        self.radius = radius
        self._entries: deque[_Vote] = deque()
        self._waiting = 0
        self._flow: Any = None

    def push(self, mask_hw: Any, image_hwc: Any = None, locked: bool = False) -> list[Field]:
        """Takes the next frame's mask and returns those that are done: none or one.

        Args:
            mask_hw: boolean (h, w), or float logits (h, w) that are positive inside.
            image_hwc: the frame, uint8 RGB of any size; without it only the object's place and size are followed.
            locked: hand this mask through as it is and let it vote (a mask that someone painted or corrected).

        Returns masks of the kind pushed, in order. An empty mask stays empty and has no vote: whether an object is
        visible is the tracker's decision. Raises InputError for sizes that differ from the mask's before.
        """
        mask = np.asarray(mask_hw)
        floating = np.issubdtype(mask.dtype, np.floating)
        own: Field = np.asarray(mask, np.float32) if floating else as_mask(mask)
        if own.ndim != 2 or 0 in own.shape:
            raise InputError(f"The mask must have the shape (height, width), but has {own.shape}.")
        if self._entries and self._entries[-1].own.shape != own.shape:
            raise InputError(
                f"This mask is {own.shape[1]}x{own.shape[0]} pixels, "
                f"but the one before was {self._entries[-1].own.shape[1]}x{self._entries[-1].own.shape[0]}."
            )
        height, width = own.shape
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        opinion = np.tanh(own / 2) if floating else own.astype(np.float32) * 2 - 1
        small = np.asarray(cv2.resize(opinion.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
        grey = None
        if image_hwc is not None:
            picture = cv2.resize(as_image(image_hwc), size, interpolation=cv2.INTER_AREA)
            grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        self._entries.append(_Vote(own, small, grey, not bool((own > 0).any()), locked))
        self._waiting += 1
        return [self._next()] if self._waiting > self.radius else []

    def flush(self) -> list[Field]:
        """The masks still waiting, after the last frame. The smoother can be used for another clip then."""
        done = []
        while self._waiting:
            done.append(self._next())
        self._entries.clear()
        return done

    def _next(self) -> Field:
        position = len(self._entries) - self._waiting
        entry = self._entries[position]
        result = entry.own if entry.locked or entry.empty else self._vote(position)
        self._waiting -= 1
        while len(self._entries) - self._waiting > self.radius:
            self._entries.popleft()
        return result

    def _vote(self, position: int) -> Field:
        entry = self._entries[position]
        votes = entry.small.copy()
        weights = np.ones_like(votes)
        for other in range(max(0, position - self.radius), min(len(self._entries), position + self.radius + 1)):
            neighbour = self._entries[other]
            if other == position or neighbour.empty:
                continue
            weight = np.float32(_NEIGHBOUR ** abs(other - position))
            opinion, trust = self._moved(entry, neighbour)
            votes += weight * trust * opinion
            weights += weight * trust
        change = votes / weights - entry.small
        return _carry(entry.own, change)

    def _moved(self, entry: _Vote, neighbour: _Vote) -> tuple[NDArray[np.float32], NDArray[np.float32] | np.float32]:
        """A neighbour's opinion on this frame's pixels, and how far to trust it, 0 to 1."""
        if entry.grey is None or neighbour.grey is None or min(entry.grey.shape) < 16:
            return _aligned(entry.small, neighbour.small), np.float32(1)
        if self._flow is None:
            self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = self._flow.calc(entry.grey, neighbour.grey, None)
        height, width = entry.grey.shape
        x = flow[..., 0] + np.arange(width, dtype=np.float32)
        y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        opinion = cv2.remap(neighbour.small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.remap(neighbour.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = cv2.absdiff(seen, entry.grey).astype(np.float32) / np.float32(_PICTURE_TOLERANCE)
        return np.asarray(opinion, np.float32), np.exp(-np.square(difference))


def smooth(masks: Any, images: Any = None, radius: int = 1) -> list[Field]:
    """A whole list of masks at once (see `TemporalSmoother`); `images` is a list of as many frames, or None."""
    smoother = TemporalSmoother(radius)
    done: list[Field] = []
    for index, mask in enumerate(masks):
        done += smoother.push(mask, None if images is None else images[index])
    return done + smoother.flush()


def _aligned(small: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """`other` shifted to where it overlaps `small` best, by their cross-correlation; a bite out of one of them
    moves that much less than it would move the middle."""
    height, width = small.shape
    room = (cv2.getOptimalDFTSize(2 * height), cv2.getOptimalDFTSize(2 * width))
    spectra = (np.fft.rfft2(np.maximum(mask, 0), room) for mask in (small, other))
    overlap = np.fft.irfft2(next(spectra) * np.conj(next(spectra)), room)
    peak = np.unravel_index(int(overlap.argmax()), room)
    dy, dx = (_between(np.take(overlap, peak[1 - axis], axis=1 - axis), int(peak[axis])) for axis in (0, 1))
    matrix = np.array([[1.0, 0, dx], [0, 1, dy]])
    moved = cv2.warpAffine(other, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _between(line: NDArray[Any], peak: int) -> float:
    """Where between its samples a line has its peak, by a parabola; what lies past the middle is negative."""
    before, at, after = (float(line[(peak + k) % len(line)]) for k in (-1, 0, 1))
    bend = before - 2 * at + after
    place = peak + (0.5 * (before - after) / bend if bend < 0 else 0.0)
    return place - len(line) if place > len(line) / 2 else place


def _carry(own: Field, change: NDArray[np.float32]) -> Field:
    """What the vote changed, applied to the mask at its own size."""
    if own.shape != change.shape:
        change = np.asarray(cv2.resize(change, (own.shape[1], own.shape[0]), interpolation=cv2.INTER_LINEAR))
    if own.dtype != np.bool_:
        opinion = np.tanh(own / 2) + change
        return np.asarray(2 * np.arctanh(np.clip(opinion, -0.9999, 0.9999)), np.float32)
    # Half a pixel of softness lets a change of less than a whole vote move the outline, not only flip it.
    soft = cv2.GaussianBlur(own.astype(np.float32) * 2 - 1, (0, 0), 1.0)
    decided = np.abs(change) < 0.02
    return np.where(decided, own, soft + change > 0)
