"""Pictures out of Doom data files, as Freedoom makes them: sprites in strips of views, walls and floors."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from pack_writer import PackItem

from masklet.training.synthesis.sources import CUTOUT_SIDE


class Wad:
    """Lumps of a Doom data file."""

    def __init__(self, path: Path):
        self._data = path.read_bytes()
        count, offset = np.frombuffer(self._data, "<i4", 2, 4).tolist()
        self.lumps: list[tuple[str, bytes]] = []
        for i in range(count):
            start, size = np.frombuffer(self._data, "<i4", 2, offset + 16 * i).tolist()
            name = self._data[offset + 16 * i + 8 : offset + 16 * i + 16].rstrip(b"\0").decode("ascii", "replace")
            self.lumps.append((name, self._data[start : start + size]))
        self.palette = np.frombuffer(self.lump("PLAYPAL"), np.uint8, 768).reshape(256, 3)

    def lump(self, name: str) -> bytes:
        return next(data for found, data in self.lumps if found == name)

    def between(self, first: str, last: str) -> dict[str, bytes]:
        names = [name for name, _ in self.lumps]
        return {name: data for name, data in self.lumps[names.index(first) + 1 : names.index(last)] if data}

    def picture(self, data: bytes) -> tuple[np.ndarray, int, int]:
        """A picture in Doom's column format as RGBA, with the offset of its origin (left, top)."""
        width, height, left, top = np.frombuffer(data, "<i2", 4).tolist()
        columns = np.frombuffer(data, "<i4", width, 8).tolist()
        pixels = np.zeros((height, width, 4), np.uint8)
        for x, first in enumerate(columns):
            at = first
            while data[at] != 255:
                start, length = data[at], data[at + 1]
                indices = np.frombuffer(data, np.uint8, length, at + 3)[: max(0, height - start)]
                pixels[start : start + len(indices), x, :3] = self.palette[indices]
                pixels[start : start + len(indices), x, 3] = 255
                at += length + 4
        return pixels, left, top

    def textures(self) -> Iterator[tuple[str, np.ndarray]]:
        """Wall textures, put together from their patches."""
        table = self.lump("PNAMES")
        count = int(np.frombuffer(table, "<i4", 1)[0])
        patches = [table[4 + 8 * i : 12 + 8 * i].rstrip(b"\0").decode("ascii").upper() for i in range(count)]
        known = {name.upper(): data for name, data in self.lumps}
        for lump in (name for name in ("TEXTURE1", "TEXTURE2") if name in known):
            data = known[lump]
            total = int(np.frombuffer(data, "<i4", 1)[0])
            for at in np.frombuffer(data, "<i4", total, 4).tolist():
                name = data[at : at + 8].rstrip(b"\0").decode("ascii")
                width, height = np.frombuffer(data, "<i2", 2, at + 12).tolist()
                canvas = np.zeros((height, width, 4), np.uint8)
                for i in range(int(np.frombuffer(data, "<i2", 1, at + 20)[0])):
                    x, y, patch = np.frombuffer(data, "<i2", 3, at + 22 + 10 * i).tolist()
                    if patches[patch] in known:
                        _paste(canvas, self.picture(known[patches[patch]])[0], x, y)
                yield name, canvas


def _paste(canvas: np.ndarray, image: np.ndarray, x: int, y: int) -> None:
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + image.shape[1], canvas.shape[1]), min(y + image.shape[0], canvas.shape[0])
    if right > left and bottom > top:
        part = image[top - y : bottom - y, left - x : right - x]
        where = part[..., 3:] > 0
        canvas[top:bottom, left:right] = np.where(where, part, canvas[top:bottom, left:right])


def sprites(path: Path) -> Iterator[PackItem]:
    """Monsters and things. Views of one thing become strips: walks seen from a side, turns on the spot."""
    wad = Wad(path)
    views: dict[str, dict[tuple[str, int], tuple[np.ndarray, int, int]]] = collections.defaultdict(dict)
    for name, data in wad.between("S_START", "S_END").items():
        image, left, top = wad.picture(data)
        views[name[:4]][name[4], int(name[5])] = image, left, top
        if len(name) == 8:  # the same picture mirrored is a view from the other side
            views[name[:4]][name[6], int(name[7])] = image[:, ::-1], image.shape[1] - left, top
    for sprite, pictures in sorted(views.items()):
        strips: dict[str, list[tuple[str, int]]] = {}
        if all(("A", turn) in pictures for turn in range(1, 9)):
            strips["turn"] = [("A", turn) for turn in range(1, 9)]
            for turn in (1, 2, 3, 4, 5):
                strips[f"walk{turn}"] = [(frame, turn) for frame in "ABCD" if (frame, turn) in pictures]
        else:
            strips["still"] = sorted(pictures)[:6]
        for strip, keys in strips.items():
            yield from _registered(f"{sprite}-{strip}", [pictures[key] for key in keys])


def _registered(name: str, views: list[tuple[np.ndarray, int, int]]) -> Iterator[PackItem]:
    """Views with their origins on one spot of one canvas, four times as large."""
    left = max(x for _, x, _ in views)
    top = max(y for _, _, y in views)
    width = max(left - x + image.shape[1] for image, x, _ in views)
    height = max(top - y + image.shape[0] for image, _, y in views)
    solid = [int((image[..., 3] > 0).sum()) for image, _, _ in views]
    if max(width, height) > 400 or min(width, height) < 10 or min(solid) < 80:
        return
    for i, (image, x, y) in enumerate(views):
        canvas = np.zeros((height, width, 4), np.uint8)
        _paste(canvas, image, left - x, top - y)
        yield PackItem(f"{name}-{i}", _enlarge(canvas, min(4.0, CUTOUT_SIDE / max(height, width))), strip=name)


def _enlarge(image: np.ndarray, scale: float) -> np.ndarray:
    alpha = image[..., 3:].astype(np.float32) / 255
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    large = cv2.resize(np.dstack([image[..., :3] * alpha, alpha]), size, interpolation=cv2.INTER_CUBIC)
    solid = np.clip((large[..., 3:] - 0.5) * 2.5 + 0.5, 0, 1)  # a firm edge, not a wide blur
    colour = large[..., :3] / np.maximum(large[..., 3:], 0.05)
    return np.dstack([np.clip(colour, 0, 255), solid * 255]).round().astype(np.uint8)


def textures(path: Path) -> Iterator[PackItem]:
    """Walls and floors, enlarged and repeated to a usable size. Some are the same as others."""
    wad = Wad(path)
    for name, image in wad.textures():
        if image[..., 3].min() == 255 and min(image.shape[:2]) >= 64:
            yield PackItem(name, _tiled(image[..., :3]))
    for name, data in wad.between("F_START", "F_END").items():
        if len(data) == 4096:
            image = wad.palette[np.frombuffer(data, np.uint8)].reshape(64, 64, 3)
            yield PackItem(name, _tiled(image))


def _tiled(image: np.ndarray, side: int = 384) -> np.ndarray:
    """A small texture, twice as large and repeated to a usable size."""
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    repeats = [-(-side // length) for length in large.shape[:2]]
    return np.tile(large, (*repeats, 1))[:side, :side]
