"""Pictures to make clips from: packs, or any folders of picture files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from masklet.errors import InputError, MediaError
from masklet.masks.boxes import mask_slices
from masklet.training.synthesis.packs import Pack, decode, find_packs

SUFFIXES = frozenset({".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
KINDS = ("cutouts", "photos", "textures")
CUTOUT_SIDE = 384
PHOTO_SIDE = 768
_CACHED = 128
_TRIES = 12
_SMALLEST = 8  # pixels; less can't be an object
_SPARSEST = 0.025  # share of its box that must be opaque


class _FolderShelf:
    """Picture files of a folder and the folders below it."""

    cyclic = False

    def __init__(self, folder: Path):
        self._paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())

    def __len__(self) -> int:
        return len(self._paths)

    def views(self, index: int) -> int:
        return 1

    def name(self, index: int) -> str:
        return self._paths[index].name

    def read(self, index: int, view: int = 0) -> np.ndarray:
        path = self._paths[index]
        image = decode(np.fromfile(path, np.uint8))
        if image is None:
            raise MediaError(f"{path} can't be read as a picture")
        return image


class Pictures:
    """Pictures of several packs and folders behind one index, with the last few kept decoded.

    Args:
        places: packs (.npz) and folders; a folder that holds packs stands for its packs of this kind, any other
            for the picture files below it.
        kind: "cutouts" (pictures need an alpha channel), "photos" (scenes) or "textures" (surfaces).

    Raises:
        InputError: a place doesn't exist, or there is no picture in any of them.
    """

    def __init__(self, places: Sequence[Path | str], kind: str):
        if kind not in KINDS:
            raise InputError(f"pictures are {', '.join(KINDS)}, not '{kind}'")
        self.kind = kind
        shelves = [shelf for place in places for shelf in self._open(Path(place)) if len(shelf)]
        if not shelves:
            where = ", ".join(str(p) for p in places) or "(no folder given)"
            raise InputError(f"no {kind} in {where}")
        self._things = [(shelf, i) for shelf in shelves for i in range(len(shelf))]
        self._starts = np.cumsum([0, *(len(shelf) for shelf in shelves)])
        views = np.array([np.mean([shelf.views(i) for i in range(len(shelf))]) for shelf in shelves])
        weights = np.sqrt(np.diff(self._starts)) * (1 + np.log2(views) / 2)
        self._weights = weights / weights.sum()
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def _open(self, place: Path) -> list[Pack | _FolderShelf]:
        if place.is_file() and place.suffix == ".npz":
            return [Pack(place)]
        if not place.is_dir():
            raise InputError(f"no folder or pack at {place}")
        if any(place.glob("*.npz")):
            return [Pack(path) for path in find_packs(place, self.kind)]
        return [_FolderShelf(place)]

    def __len__(self) -> int:
        return len(self._things)

    def pick(self, rng: np.random.Generator) -> int:
        """A random index of a picture that can be read: folders of anything hold damaged and unfit files.

        Raises:
            MediaError: several in a row can't be used.
        """
        last: MediaError | None = None
        for _ in range(_TRIES):
            index = self.choose(rng)
            try:
                self.read(index)
            except MediaError as error:
                last = error
                continue
            return index
        raise MediaError(f"{_TRIES} random {self.kind} in a row can't be used; the last: {last}")

    def choose(self, rng: np.random.Generator) -> int:
        """A random index. Packs are drawn by the square root of their size, so that a small one isn't drowned;
        those with several views of their things are drawn more often."""
        shelf = int(rng.choice(len(self._weights), p=self._weights))
        return int(rng.integers(self._starts[shelf], self._starts[shelf + 1]))

    def views(self, index: int) -> int:
        shelf, local = self._things[index]
        return shelf.views(local)

    def cyclic(self, index: int) -> bool:
        """Whether the views of a thing go on with the first after the last; if not, they run back and forth."""
        return self._things[index][0].cyclic

    def read(self, index: int, view: int = 0) -> np.ndarray:
        """A picture, uint8; cut-outs (H, W, 4) RGBA and cropped to what is opaque (but not those that have
        several views, which stay registered), photos (H, W, 3) RGB.

        Longest side at most 384 (cut-outs) or 768 (photos). Don't write into it: it is shared.

        Raises:
            MediaError: the file is damaged, or a cut-out has nothing to cut out.
        """
        key = index, view
        if key not in self._cache:
            shelf, local = self._things[index]
            image = shelf.read(local, view)
            if self.kind == "cutouts":
                image = _cutout(image, shelf.name(local), view, shelf.views(local))
            else:
                image = shrink(np.ascontiguousarray(image[..., :3]), PHOTO_SIDE)
            image.setflags(write=False)
            self._cache[key] = image
            while len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]


@dataclass(frozen=True)
class Wardrobe:
    """The pictures that clips are made of. Without cut-outs every object is a shape or a puppet."""

    cutouts: Pictures | None = None
    photos: Pictures | None = None
    textures: Pictures | None = None


def _cutout(image: np.ndarray, name: str, view: int, views: int) -> np.ndarray:
    if image.shape[2] != 4:
        raise MediaError(f"{name} has no alpha channel, so nothing can be cut out of it")
    # the views of a strip share one frame of reference, so they stay as they are
    cropped = crop_to_alpha(image) if views == 1 else image
    if cropped is None:
        raise MediaError(f"{name} is fully transparent")
    # A thing that turns may be thin for a moment: its first view speaks for all.
    thin = min(cropped.shape[:2]) < _SMALLEST or (cropped[..., 3] >= 128).mean() < _SPARSEST
    if thin and view == 0:
        raise MediaError(f"{name} is too small or too thin to be an object")
    return shrink(cropped, CUTOUT_SIDE)


def crop_to_alpha(image_hwc: np.ndarray, threshold: int = 16) -> np.ndarray | None:
    """The part of an RGBA picture that isn't transparent, or None when there is none."""
    window = mask_slices(image_hwc[..., 3] >= threshold)
    return None if window is None else np.ascontiguousarray(image_hwc[window])


def shrink(image_hwc: np.ndarray, side: int) -> np.ndarray:
    """The picture with a longest side of at most `side`; transparent pixels don't bleed into the others."""
    height, width = image_hwc.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image_hwc
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if image_hwc.shape[2] == 3:
        return cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA)
    alpha = image_hwc[..., 3:].astype(np.float32) / 255
    small = cv2.resize(np.dstack([image_hwc[..., :3] * alpha, alpha]), size, interpolation=cv2.INTER_AREA)
    colour = small[..., :3] / np.maximum(small[..., 3:], 1e-4)
    return np.dstack([np.clip(colour, 0, 255), small[..., 3:] * 255]).round().astype(np.uint8)
