"""Clips out of annotated videos, each a pure function of a seed and its number."""

from __future__ import annotations

import copy
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from masklet.errors import InputError, MaskletWarning
from masklet.training.footage.augment import Views, draw_colours, draw_views, squash
from masklet.training.footage.layouts import find_videos
from masklet.training.footage.settings import FootageSettings
from masklet.training.footage.videos import DamagedFrameError, FootageVideo, label_map
from masklet.training.synthesis.clips import Clip
from masklet.training.synthesis.paths import Rng, chance

_TRIES = 60
_STARTS = 6  # looked at in a video before another one is taken
_LEAST_PIXELS = 4  # of an object in the first frame of the clip
_VIEWS = 4  # drawn before the clip is only squashed
_OVERLAP = 0.05  # of the smaller of two objects; one pixel can have one label only


@dataclass(frozen=True, slots=True)
class FootageClip(Clip):
    """A clip out of a video.

    Attributes:
        video: name of the video.
        indices: which of its frames these are.
        object_ids: for each label the object's number in the video.
    """

    video: str = ""
    indices: tuple[int, ...] = ()
    object_ids: tuple[int, ...] = ()


class Footage:
    """Annotated videos to train on. Clip n is the same for the same seed, settings and files, in whatever order it is
    asked for. It can be pickled: loader processes open files of their own.

    Args:
        paths: folders, JSON files or masklet projects; see docs/training-data.md for the layouts.
        settings: what clips are like.
        seed: any integer.
        layout: one of `FOOTAGE_LAYOUTS` for all paths; None finds out for each.
        split: "train", "val" … as the data set calls it; None takes what is there.

    Attributes:
        videos: all videos, with unique names.
        damaged: frames by video that could not be decoded so far; clips with them were given up for others.

    Raises:
        InputError: no annotated video in one of the paths.
    """

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        settings: FootageSettings | None = None,
        seed: int = 0,
        *,
        layout: str | None = None,
        split: str | None = None,
    ) -> None:
        self.settings = settings or FootageSettings()
        self.seed = seed
        self.damaged: dict[str, set[int]] = {}
        self.videos: list[FootageVideo] = []
        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        if not given:
            raise InputError("there is no folder to take training videos from: name at least one")
        for path in given:
            self.videos += find_videos(Path(path).expanduser(), self.settings, layout, split)
        _make_names_unique(self.videos)

    def __repr__(self) -> str:
        return f"<Footage: {len(self.videos)} videos, seed {self.seed}>"

    def __iter__(self) -> Iterator[FootageClip]:
        return map(self.clip, count())

    def video(self, name: str) -> FootageVideo:
        """A video by its name. Raises InputError."""
        for video in self.videos:
            if video.name == name:
                return video
        some = ", ".join(video.name for video in self.videos[:8])
        raise InputError(f"there is no video '{name}' in this footage; there are {some}{' …' * (len(self.videos) > 8)}")

    def divided(self, share: float = 0.1) -> tuple[Footage, Footage]:
        """Videos to learn from, and others (about this share, at least one) to validate on.

        Which ones follows from their names alone, so that another seed or a few more videos don't mix them up.

        Raises:
            InputError: there is one video only, or the share isn't between 0 and 1.
        """
        if not 0 < share < 1:
            raise InputError(f"the share of videos to validate on must be between 0 and 1; got {share}")
        if len(self.videos) < 2:
            raise InputError(
                f"{self.videos[0].path} is one video; to keep some of it for validation takes at least two. "
                "Add another one, or validate on other data."
            )
        ordered = sorted(self.videos, key=lambda video: (zlib.crc32(video.name.encode()), video.name))
        held = ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)]
        names = {video.name for video in held}
        learned = [video for video in self.videos if video.name not in names]
        return self._of(learned), self._of(sorted(held, key=lambda video: video.name))

    def changed(self, seed: int | None = None, **settings: Any) -> Footage:
        """The same videos as other clips: another seed, or other settings such as `frames=8, height=512, width=512`.

        Which masks of projects and of SA-V count was settled when the videos were found.
        """
        part = self._of(self.videos)
        part.settings = self.settings.changed(**settings)
        part.seed = self.seed if seed is None else seed
        return part

    def _of(self, videos: list[FootageVideo]) -> Footage:
        part = copy.copy(self)
        part.videos, part.damaged = videos, {}
        return part

    def check(self, most: int | None = None) -> None:
        """Reads the first annotated frame of every video (of `most` of them, spread evenly) and compares it with its
        masks, so that a mistake shows before training and not in its third hour.

        Raises:
            InputError: sizes differ, pictures are missing, or no mask is in any of them.
        """
        step = 1 if most is None else max(1, len(self.videos) // most)
        looked_at = self.videos[::step]
        seen = False
        for video in looked_at:
            for index in video.annotated[:1]:
                try:
                    image_hwc = video.read([index])[index]
                except DamagedFrameError as error:
                    self._note(error)
                    continue
                masks = video.masks(index)
                video.check_sizes(index, image_hwc, masks)
                seen = seen or bool(masks)
        if not seen and all(not _has_masks(video) for video in looked_at):
            raise InputError(
                f"None of the {len(looked_at)} videos looked at has a mask on its annotated frames (the first is "
                f"{looked_at[0].path}). Is it the right folder, or are the masks in another format?"
            )

    # ------------------------------------------------------------------------------------------ one clip

    def clip(self, number: int) -> FootageClip:
        """The clip of this number (0 or more). All of its objects are visible in its first frame, which is annotated.

        Raises:
            InputError: no object of enough size was found, or a video's pictures and masks differ in size.
        """
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.seed & 0xFFFFFFFF, number, attempt])
            video = self.videos[int(rng.integers(len(self.videos)))]
            try:
                made = self._draw(rng, video, number)
            except DamagedFrameError as error:
                self._note(error)
                continue
            if made is not None:
                return made
        damage = sum(map(len, self.damaged.values()))
        raise InputError(
            f"No clip was found in {_TRIES} tries in {len(self.videos)} videos ({damage} frames could not be decoded). "
            f"Every clip begins with an object that covers {self.settings.least_area:.3%} of the frame: "
            "lower least_area if the objects are small, and look whether the annotations hold any."
        )

    def _draw(self, rng: Rng, video: FootageVideo, number: int) -> FootageClip | None:
        settings = self.settings
        chosen = self._start(rng, video)
        if chosen is None:
            return None
        indices, first = chosen
        shown = list(first)
        rng.shuffle(shown)
        annotated = frozenset(video.annotated)
        known = {index: video.masks(index) for index in dict.fromkeys(indices) if index in annotated}
        object_ids = _apart(video, shown, known, settings.objects)
        pictures = video.read(indices)
        for index, masks in known.items():
            video.check_sizes(index, pictures[index], masks)
        # what is known of only some of the objects is not known
        annotated_t = np.array([i in known and not video.unknown(i) & set(object_ids) for i in indices])
        numbers = {object_id: label for label, object_id in enumerate(object_ids, start=1)}
        maps = {index: _numbered(masks, numbers, pictures[index].shape[:2]) for index, masks in known.items()}
        views = self._views(rng, maps[indices[0]], len(object_ids))
        colours = draw_colours(rng, settings, len(indices))
        frames_thwc = np.stack([colours.apply(t, views.image(t, pictures[i])) for t, i in enumerate(indices)])
        labels_thw = np.zeros((len(indices), settings.height, settings.width), np.uint8)
        for t, index in enumerate(indices):
            if index in maps:
                labels_thw[t] = views.labels(t, maps[index])
        kept, table = _visible(labels_thw[0], len(object_ids))
        if not kept:
            return None
        return FootageClip(
            frames_thwc=frames_thwc,
            labels_thw=table[labels_thw],
            objects={new: video.object_name(object_ids[old - 1]) for new, old in enumerate(kept, start=1)},
            number=number,
            annotated_t=annotated_t,
            video=video.name,
            indices=tuple(indices),
            object_ids=tuple(object_ids[old - 1] for old in kept),
        )

    def _start(self, rng: Rng, video: FootageVideo) -> tuple[list[int], list[int]] | None:
        """Indices of a clip's frames, and the objects that are large enough in the first one."""
        settings = self.settings
        annotated = list(video.annotated)
        if not annotated:
            return None
        steps = settings.frames - 1
        between = bool(steps) and len(annotated) < len(video) and chance(rng, settings.between)
        stride = int(rng.integers(1, settings.max_stride + 1))
        if steps and not between:
            stride = max(1, min(stride, (len(annotated) - 1) // steps))
        stride *= -1 if chance(rng, settings.reverse) else 1
        # where the clip fits in, else anywhere: a clip of a shorter video turns round at its ends
        reach = stride * (1 if between else steps)
        fitting = range(max(0, -reach), min(len(annotated), len(annotated) - reach)) or range(len(annotated))
        for _ in range(_STARTS):
            start = int(rng.integers(fitting.start, fitting.stop))
            large = [
                object_id
                for object_id, mask in video.masks(annotated[start]).items()
                if np.count_nonzero(mask) >= max(1, settings.least_area * mask.size)
            ]
            if large:
                indices = _every_frame(annotated, start, stride, settings.frames) if between else None
                if indices is None:
                    places = _walk(start, stride, settings.frames, len(annotated))
                    indices = [annotated[place] for place in places]
                return indices, large
        return None

    def _views(self, rng: Rng, labels_hw: np.ndarray, objects: int) -> Views:
        """A view in which the first frame still shows an object well, or the whole frame after a few tries."""
        settings = self.settings
        size_hw = settings.height, settings.width
        least = max(_LEAST_PIXELS, settings.least_area * size_hw[0] * size_hw[1])
        middle = cv2.moments((labels_hw == rng.integers(1, objects + 1)).astype(np.uint8), binaryImage=True)
        height, width = labels_hw.shape
        focus = (
            (middle["m10"] / middle["m00"], middle["m01"] / middle["m00"]) if middle["m00"] else (width / 2, height / 2)
        )
        for _ in range(_VIEWS):
            views = draw_views(rng, settings, (height, width), focus, settings.frames)
            if np.bincount(views.labels(0, labels_hw).ravel(), minlength=2)[1:].max() >= least:
                return views
        return squash(size_hw, settings.frames)

    def _note(self, error: DamagedFrameError) -> None:
        frames = self.damaged.setdefault(error.video, set())
        if error.index not in frames:
            frames.add(error.index)
            if len(frames) == 1:
                total = sum(map(len, self.damaged.values()))
                warnings.warn(
                    f"{error} Clips with such frames are left out ({total} so far, in {len(self.damaged)} videos).",
                    MaskletWarning,
                    stacklevel=3,
                )


def _every_frame(annotated: Sequence[int], start: int, stride: int, count: int) -> list[int] | None:
    """Frames, annotated or not, evenly from one annotated frame to another at least `stride` further on; None where
    the video ends before.
    """
    end = start + stride
    while 0 <= end < len(annotated):
        if abs(annotated[end] - annotated[start]) >= count - 1:
            return [round(place) for place in np.linspace(annotated[start], annotated[end], count)]
        end += 1 if stride > 0 else -1
    return None


def _walk(start: int, step: int, count: int, length: int) -> list[int]:
    """Places from `start` on in steps, turning round at the ends."""
    places = [start]
    while len(places) < count:
        if not 0 <= places[-1] + step < length:
            step = -step
        places.append(int(np.clip(places[-1] + step, 0, length - 1)))
    return places


def _apart(
    video: FootageVideo, object_ids: Sequence[int], masks: dict[int, dict[int, np.ndarray]], most: int
) -> list[int]:
    """Up to `most` of the objects, in their order, none of which overlaps another one on any frame."""
    if video.exclusive:
        return list(object_ids[:most])
    chosen: list[int] = []
    for object_id in object_ids:
        if len(chosen) == most:
            break
        if not any(
            _overlap(frame[object_id], frame[other]) > _OVERLAP
            for other in chosen
            for frame in masks.values()
            if object_id in frame and other in frame
        ):
            chosen.append(object_id)
    return chosen


def _overlap(first_hw: np.ndarray, second_hw: np.ndarray) -> float:
    if first_hw.shape != second_hw.shape:
        return 0.0  # said when sizes are compared with the pictures
    both = np.count_nonzero(first_hw & second_hw)
    return both / max(1, min(int(np.count_nonzero(first_hw)), int(np.count_nonzero(second_hw))))


def _numbered(masks: dict[int, np.ndarray], numbers: dict[int, int], size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8 with the clip's own numbers."""
    return label_map({numbers[i]: mask for i, mask in masks.items() if i in numbers}, size_hw).astype(np.uint8)


def _visible(labels_hw: np.ndarray, objects: int) -> tuple[list[int], np.ndarray]:
    """The labels that the first frame still shows, and a table that numbers them anew."""
    counts = np.bincount(labels_hw.ravel(), minlength=objects + 1)
    kept = [label for label in range(1, objects + 1) if counts[label] >= _LEAST_PIXELS]
    table = np.zeros(256, np.uint8)
    table[kept] = np.arange(1, len(kept) + 1)
    return kept, table


def _has_masks(video: FootageVideo) -> bool:
    return any(video.masks(index) for index in video.annotated)


def _make_names_unique(videos: Sequence[FootageVideo]) -> None:
    counts = Counter(video.name for video in videos)
    taken: set[str] = set()
    for video in videos:
        name = video.name
        if counts[name] > 1:
            parent = video.path.parent if video.path.is_file() else video.path
            name = f"{parent.name}/{video.name}"
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name} ({number})", number + 1
        taken.add(unique)
        video.name = unique
