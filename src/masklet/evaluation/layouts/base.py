"""Sequences of benchmarks: frames, annotations, and what is scored."""

from __future__ import annotations

import copy
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.labels import VOID, foreground, read_label_map

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_PICTURE_PATH = re.compile(r"(.*?/.*?\.(?:jpe?g|png|bmp|webp))(?:\s|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """One annotated object.

    Attributes:
        object_id: its number in the annotation.
        prompt_frame: index of the frame on which the tracker is told about it.
        scored: indices of the frames to score.
        group: "seen", "unseen" or "".
    """

    object_id: int
    prompt_frame: int
    scored: tuple[int, ...]
    group: str = ""


class MaskSequence(ABC):
    """A video with mask annotations.

    Attributes:
        name: folder name of the video.
        frames: names (stems) of all frames, in order.
        exclusive: True when a pixel belongs to one object at most (label maps).
        skip_before_appearance: see `ObjectScorer`.
    """

    exclusive = True

    def __init__(self, name: str, images: Mapping[str, Path], annotated: Sequence[str], *, skip_early: bool = False):
        self.name = name
        self._images = images
        # frames without a picture can be scored; pictures without an annotation have to be tracked
        self.frames: tuple[str, ...] = tuple(sorted({*images, *annotated}))
        self.skip_before_appearance = skip_early

    def image_paths(self) -> list[Path]:
        """All pictures in order.

        Raises:
            InputError: a frame has an annotation but no picture.
        """
        missing = [frame for frame in self.frames if frame not in self._images]
        if missing:
            raise InputError(f"{self.name}: no picture for frame {missing[0]} ({len(missing)} are missing)")
        return [self._images[frame] for frame in self.frames]

    def files(self) -> list[Path]:
        """All pictures and annotations."""
        return [*self._images.values(), *self._annotations()]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The objects to follow, each with the frames to score. Reads annotations on first use."""
        known = range(len(self.frames))
        return tuple(target for target in self._find_targets() if target.prompt_frame in known)

    def limited(self, count: int) -> MaskSequence:
        """The same video, cut after `count` frames."""
        short = copy.copy(self)
        short.__dict__.pop("targets", None)
        short.frames = self.frames[:count]
        short._cut(frozenset(short.frames))
        return short

    @abstractmethod
    def _cut(self, frames: frozenset[str]) -> None:
        """Forgets the annotations of all other frames."""

    @abstractmethod
    def _annotations(self) -> Iterable[Path]: ...

    @abstractmethod
    def _find_targets(self) -> tuple[Target, ...]: ...

    @abstractmethod
    def truth(self, frame: int, object_id: int) -> np.ndarray:
        """Annotation of one object, (H, W) bool."""


TargetRule = Callable[["LabelMapSequence"], "tuple[Target, ...]"]


class LabelMapSequence(MaskSequence):
    """One PNG per frame, whose pixel values are object numbers.

    Args:
        rule: which objects are followed, and where they are scored.
        merge: take every object as one (DAVIS 2016).
        has_void: 255 is no object but background, as the DAVIS 2017 toolkit takes it.
    """

    def __init__(
        self,
        name: str,
        images: Mapping[str, Path],
        maps: Mapping[str, Path],
        rule: TargetRule,
        *,
        merge: bool = False,
        has_void: bool = True,
        skip_early: bool = False,
    ):
        super().__init__(name, images, tuple(maps), skip_early=skip_early)
        self.annotated: tuple[int, ...] = tuple(i for i, frame in enumerate(self.frames) if frame in maps)
        self._maps, self._rule, self._merge, self._has_void = maps, rule, merge, has_void
        self._last: tuple[int, np.ndarray] | None = None

    def labels(self, frame: int) -> np.ndarray:
        """The label map of an annotated frame, (H, W) uint8 (merged: 0 and 1)."""
        if self._last is None or self._last[0] != frame:
            path = self._maps.get(self.frames[frame])
            if path is None:
                raise InputError(f"{self.name}: frame {self.frames[frame]} has no annotation")
            self._last = frame, foreground(path) if self._merge else read_label_map(path)
        return self._last[1]

    def object_ids(self, frame: int) -> list[int]:
        values = np.unique(self.labels(frame)).tolist()
        return [int(v) for v in values if v != 0 and not (self._has_void and not self._merge and v == VOID)]

    def truth(self, frame: int, object_id: int) -> np.ndarray:
        return self.labels(frame) == object_id

    def _cut(self, frames: frozenset[str]) -> None:
        self._maps = {frame: path for frame, path in self._maps.items() if frame in frames}
        self.annotated = tuple(i for i, frame in enumerate(self.frames) if frame in self._maps)

    def _annotations(self) -> Iterable[Path]:
        return self._maps.values()

    def _find_targets(self) -> tuple[Target, ...]:
        return self._rule(self) if self.annotated else ()


def from_first_frame(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """DAVIS: the objects 1 … n of the first annotation; first and last annotated frame aren't scored."""
    first = sequence.annotated[0]
    highest = max(sequence.object_ids(first), default=0)
    return tuple(Target(i, first, sequence.annotated[1:-1]) for i in range(1, highest + 1))


def from_appearance(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """MOSE: an object is told about where it first appears; first and last frame aren't scored."""
    seen: dict[int, int] = {}
    for frame in sequence.annotated:
        for object_id in sequence.object_ids(frame):
            seen.setdefault(object_id, frame)
    return tuple(Target(i, frame, sequence.annotated[1:-1]) for i, frame in sorted(seen.items()))


@dataclass(frozen=True)
class MaskDataset:
    """The sequences of a mask benchmark.

    `per_object_files`: results are stored as one folder of PNGs per object (SA-V), not as label maps.
    """

    name: str
    sequences: tuple[MaskSequence, ...]
    per_object_files: bool = False
    merged: bool = False


@dataclass(frozen=True)
class BoxSequence:
    """A video with one box per frame.

    Attributes:
        name: as in the benchmark's lists.
        boxes: (N, 4) left, top, width, height in pixels; NaN or no area where there is no target.
        visible: (N,) bool or None.
        aliases: other names that result files go by.
        frame_size: (width, height) when boxes are clipped to it.
        group: class of the target, or "".
    """

    name: str
    boxes: np.ndarray
    images: tuple[Path, ...] = ()
    visible: np.ndarray | None = None
    aliases: tuple[str, ...] = ()
    frame_size: tuple[int, int] | None = None
    group: str = ""

    def image_paths(self) -> list[Path]:
        """One picture per box.

        Raises:
            InputError: pictures are missing.
        """
        if len(self.images) < len(self.boxes):
            raise InputError(f"{self.name}: {len(self.boxes)} boxes but only {len(self.images)} pictures")
        return list(self.images[: len(self.boxes)])

    def files(self) -> tuple[Path, ...]:
        """All pictures."""
        return self.images

    def limited(self, count: int) -> BoxSequence:
        """The same video, cut after `count` frames."""
        visible = None if self.visible is None else self.visible[:count]
        return replace(self, boxes=self.boxes[:count], images=self.images[:count], visible=visible)


@dataclass(frozen=True)
class BoxDataset:
    """The sequences of a box benchmark. `protocol` says what its toolkit does with absent targets."""

    name: str
    sequences: tuple[BoxSequence, ...]
    protocol: BoxProtocol


def files_by_stem(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Pictures of a folder by name without suffix, in order; an absent folder has none."""
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes and p.is_file()}


def numbered_files(folder: Path, first: int, count: int) -> tuple[Path, ...]:
    """Pictures of a folder whose names are `count` numbers from `first` on, in order; those that are not there don't
    count.
    """
    numbered = {int(stem): path for stem, path in files_by_stem(folder).items() if stem.isdigit()}
    return tuple(numbered[i] for i in range(first, first + count) if i in numbered)


def folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in order; an absent folder has none."""
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def read_names(path: Path) -> list[str]:
    """Sequence names of a list file, which may hold spaces. Lines of picture paths (DAVIS 2016) count as their folder's
    name.
    """
    names: dict[str, None] = {}
    for line in path.read_text(encoding="utf-8").split("\n"):
        name = line.partition("\t")[0].strip()
        picture = _PICTURE_PATH.match(name)
        if picture is not None:
            name = Path(picture[1]).parent.name
        elif "/" in name.strip("/"):
            name = Path(name.split()[0]).parent.name
        if name:
            names[name.strip("/")] = None
    return list(names)


def read_meta(path: Path, name: str, check: Callable[[str, dict[str, Any]], Any]) -> dict[str, Any]:
    """{"videos": {name: {"objects": {id: entry}}}} of a data set's meta file, by video.

    Raises InputError where it is another file, or where `check` fails on one of the objects (id, entry).
    """
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        for video in videos.values():
            for object_id, entry in video["objects"].items():
                check(object_id, entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not {name} meta file: {error!r}") from error
    return dict(videos)


def first_existing(*candidates: Path) -> Path | None:
    return next((p for p in candidates if p.exists()), None)
