"""Sequences of benchmarks: frames, annotations, and what is scored."""

from __future__ import annotations

import copy
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
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
        exclusive: True when a pixel belongs to one object at most (label maps); otherwise results are stored as one
            folder of PNGs per object.
        merged: every object is taken as one (DAVIS 2016).
        skip_before_appearance: see `ObjectScorer`.
    """

    exclusive = True
    merged = False

    def __init__(
        self, name: str, images: Mapping[str, Path], annotations: Iterable[Mapping[str, Path]], *, skip_early: bool
    ):
        self.name = name
        self._images = images
        self._annotations = [path for files in annotations for path in files.values()]
        # frames without a picture can be scored; pictures without an annotation have to be tracked
        self.frames: tuple[str, ...] = tuple(sorted({*images, *(frame for files in annotations for frame in files)}))
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
        return [*self._images.values(), *self._annotations]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The objects to follow, each with the frames to score. Reads annotations on first use."""
        known = range(len(self.frames))
        return tuple(target for target in self._find_targets() if target.prompt_frame in known)

    def limited(self, count: int) -> MaskSequence:
        """The same video, cut after `count` frames."""
        short = copy.copy(self)
        for known in ("targets", "annotated", "annotated_by_object"):
            short.__dict__.pop(known, None)
        short.frames = self.frames[:count]
        return short

    @property
    @abstractmethod
    def annotated(self) -> tuple[int, ...]:
        """Indices of the frames with an annotation, in order."""

    @abstractmethod
    def object_ids(self, frame: int) -> list[int]:
        """The objects that an annotated frame has an annotation of."""

    def unknown(self, frame: int) -> frozenset[int]:
        """Objects of which it isn't known whether and where they are on this annotated frame."""
        return frozenset()

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
        merged: take every object as one (DAVIS 2016).
        has_void: 255 is no object but background, as the DAVIS 2017 toolkit takes it.
    """

    def __init__(
        self,
        name: str,
        images: Mapping[str, Path],
        maps: Mapping[str, Path],
        rule: TargetRule,
        *,
        merged: bool = False,
        has_void: bool = True,
        skip_early: bool = False,
    ):
        super().__init__(name, images, [maps], skip_early=skip_early)
        self._maps, self._rule, self.merged = maps, rule, merged
        self._background = (0, VOID) if has_void and not merged else (0,)
        self._last: tuple[int, np.ndarray] | None = None

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        return tuple(i for i, frame in enumerate(self.frames) if frame in self._maps)

    def labels(self, frame: int) -> np.ndarray:
        """The label map of an annotated frame, (H, W) uint8 (merged: 0 and 1)."""
        if self._last is None or self._last[0] != frame:
            path = self._maps.get(self.frames[frame])
            if path is None:
                raise InputError(f"{self.name}: frame {self.frames[frame]} has no annotation")
            self._last = frame, foreground(path) if self.merged else read_label_map(path)
        return self._last[1]

    def object_ids(self, frame: int) -> list[int]:
        return [int(v) for v in np.unique(self.labels(frame)) if v not in self._background]

    def truth(self, frame: int, object_id: int) -> np.ndarray:
        return self.labels(frame) == object_id

    def _find_targets(self) -> tuple[Target, ...]:
        return self._rule(self) if self.annotated else ()


class ObjectFolderSequence(MaskSequence):
    """One folder of binary PNGs per object (SA-V). Masks may overlap; an object's first and last annotated frame
    aren't scored.
    """

    exclusive = False

    def __init__(self, name: str, images: Mapping[str, Path], masks: Mapping[int, Mapping[str, Path]]):
        super().__init__(name, images, list(masks.values()), skip_early=True)
        self._masks = masks

    @cached_property
    def annotated_by_object(self) -> dict[int, tuple[int, ...]]:
        """Indices of the annotated frames of each object."""
        index = {frame: i for i, frame in enumerate(self.frames)}
        return {
            number: tuple(index[frame] for frame in files if frame in index) for number, files in self._masks.items()
        }

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        return tuple(sorted(set().union(*self.annotated_by_object.values())))

    def object_ids(self, frame: int) -> list[int]:
        return [number for number, frames in self.annotated_by_object.items() if frame in frames]

    def unknown(self, frame: int) -> frozenset[int]:
        return frozenset(self._masks) - frozenset(self.object_ids(frame))

    def truth(self, frame: int, object_id: int) -> np.ndarray:
        path = self._masks[object_id].get(self.frames[frame])
        if path is None:
            raise InputError(f"{self.name}: object {object_id} has no annotation on frame {self.frames[frame]}")
        return foreground(path).astype(bool)

    def _find_targets(self) -> tuple[Target, ...]:
        targets = []
        for object_id, annotated in sorted(self.annotated_by_object.items()):
            first = next((i for i in annotated if self.truth(i, object_id).any()), None)
            if first is not None:
                targets.append(Target(object_id, first, annotated[1:-1]))
        return tuple(targets)


@dataclass(frozen=True)
class MaskDataset:
    """The sequences of a mask benchmark."""

    name: str
    sequences: tuple[MaskSequence, ...]


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
