"""Annotated videos, whatever way they are stored: frames by index, and masks of the objects where they are known."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import InputError, MediaError

if TYPE_CHECKING:
    from masklet.evaluation.layouts.base import MaskSequence
    from masklet.media import MediaReader

_FAR = 32  # frames; further apart, finding the place anew is quicker than decoding on


class DamagedFrameError(MediaError):
    """A frame of an annotated video can't be decoded."""

    def __init__(self, video: str, index: int, reason: object) -> None:
        super().__init__(f"Frame {index} of {video} can't be decoded: {reason}")
        self.video, self.index = video, index


class FootageVideo(ABC):
    """One video with masks on all or some of its frames.

    Attributes:
        name: unique within a `Footage`.
        path: what to name in messages.
        exclusive: a pixel belongs to one object at most.
    """

    exclusive = True

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.path}>"

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @property
    @abstractmethod
    def annotated(self) -> Sequence[int]:
        """Indices of the annotated frames, rising."""

    def masks(self, index: int) -> dict[int, np.ndarray]:
        """Masks of the objects that are visible on an annotated frame, (H, W) bool by object id. An object without a
        mask isn't visible, unless it is `unknown`.
        """
        return {object_id: mask for object_id, mask in self.known_masks(index).items() if mask.any()}

    @abstractmethod
    def known_masks(self, index: int) -> dict[int, np.ndarray]:
        """All masks of an annotated frame, also empty ones."""

    def unknown(self, index: int) -> frozenset[int]:
        """Objects of which it isn't known whether and where they are on this annotated frame."""
        return frozenset()

    def object_name(self, object_id: int) -> str:
        return f"object {object_id}"

    @abstractmethod
    def read(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        """These frames, (H, W, 3) uint8 RGB by index; only what is needed for them is decoded.

        Raises:
            DamagedFrameError: one of them can't be decoded.
        """

    def check_sizes(self, index: int, image_hwc: np.ndarray, masks: dict[int, np.ndarray]) -> None:
        """Raises InputError where a frame and its masks differ in size."""
        height, width = image_hwc.shape[:2]
        for mask in masks.values():
            if mask.shape != (height, width):
                raise InputError(
                    f"{self.path}: frame {index} of {self.name} is {width}x{height} pixels, but its masks are "
                    f"{mask.shape[1]}x{mask.shape[0]}. Pictures and annotations must be of one size: use the pictures "
                    "that were annotated, or scale one of the two."
                )


class MediaVideo(FootageVideo):
    """A video that is a file (or a sequence) which masklet opens."""

    @abstractmethod
    def _reader(self) -> MediaReader:
        """The open file. Raises MediaError."""

    def read(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        wanted = sorted(set(indices))
        try:
            reader = self._reader()
        except MediaError as error:
            raise DamagedFrameError(self.name, wanted[0], error) from error
        if wanted[-1] >= len(reader):
            raise DamagedFrameError(self.name, wanted[-1], f"the file has {len(reader)} frames only")
        images = {}
        try:
            for run in _runs(wanted):
                step = math.gcd(*(after - before for before, after in pairwise(run))) or 1
                # decoded in one go without a cache; what lies between the steps isn't turned into pictures
                for frame in reader.frames(run[0], run[-1] + 1, step, prefetch=0):
                    if frame.index in run:
                        images[frame.index] = frame.image_hwc
        except MediaError as error:
            raise DamagedFrameError(self.name, wanted[0], error) from error
        damaged = reader.damaged
        for index in wanted:
            if index in damaged:
                raise DamagedFrameError(self.name, index, damaged[index])
        return images


class PictureFootage(FootageVideo):
    """A video that is stored as one picture per frame."""

    def __init__(self, name: str, path: Path, pictures: Sequence[Path]) -> None:
        super().__init__(name, path)
        self.pictures = tuple(pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: Sequence[int]) -> dict[int, np.ndarray]:
        from masklet.media import read_image

        images = {}
        for index in set(indices):
            try:
                images[index] = read_image(self.pictures[index])
            except MediaError as error:
                raise DamagedFrameError(self.name, index, error) from error
        return images


class SequenceVideo(PictureFootage):
    """A video of DAVIS, YouTube-VOS, MOSE, LVOS or SA-V's val and test, as the benchmarks' reader finds it."""

    def __init__(self, sequence: MaskSequence, path: Path) -> None:
        super().__init__(sequence.name, path, sequence.image_paths())
        self._sequence = sequence
        self.exclusive = sequence.exclusive

    @property
    def annotated(self) -> Sequence[int]:
        return self._sequence.annotated

    def unknown(self, index: int) -> frozenset[int]:
        return self._sequence.unknown(index)

    def known_masks(self, index: int) -> dict[int, np.ndarray]:
        return {number: self._sequence.truth(index, number) for number in self._sequence.object_ids(index)}


def _runs(wanted: Sequence[int]) -> list[list[int]]:
    """Rising indices in groups whose members are near enough to decode what lies between."""
    runs = [[wanted[0]]]
    for before, after in pairwise(wanted):
        if after - before > _FAR:
            runs.append([])
        runs[-1].append(after)
    return runs


def label_map(masks: dict[int, np.ndarray], size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) int32 of object ids; where masks overlap, the smaller one has the pixel."""
    labels = np.zeros(size_hw[:2], np.int32)
    for object_id, mask in sorted(masks.items(), key=lambda item: -np.count_nonzero(item[1])):
        labels[mask] = object_id
    return labels
