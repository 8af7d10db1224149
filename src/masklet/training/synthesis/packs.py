"""Packs: many small pictures in one file that opens quickly.

A pack is an uncompressed .npz with the pictures as encoded files end to end (`data`, `starts`), their `names`,
`strips` (pictures with one number are views of one thing in order: a turn, a walk) and a description (`about`,
JSON). Packs named cutouts-*.npz hold pictures with alpha, photos-*.npz scenes, textures-*.npz surfaces.
`tools/pack_writer.py` writes them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from masklet.errors import MediaError

KEYS = ("data", "starts", "names", "strips", "about")


@dataclass(frozen=True, slots=True)
class About:
    """Where a pack's pictures come from: shown in docs, and written into model cards."""

    source: str
    licence: str
    credit: str
    url: str = ""
    note: str = ""
    cyclic: bool = False  # after a strip's last view comes its first; otherwise it runs back and forth


class Pack:
    """A pack, open for reading. Pictures are decoded on demand.

    Raises:
        MediaError: the file isn't a pack.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                self._data, self._starts, self.names, strips = (arrays[key] for key in KEYS[:4])
                self.about = About(**json.loads(str(arrays["about"])))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise MediaError(f"{self.path} is not a pack of pictures: {error}") from error
        # things: runs of pictures with one strip number; a picture without a strip is a thing of its own
        edges = np.flatnonzero(np.diff(strips) | (strips[1:] < 0)) + 1 if len(strips) else np.zeros(0, int)
        bounds = [0, *edges.tolist(), len(strips)] if len(strips) else [0]
        self._things = list(pairwise(bounds))

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        """Other processes open the file themselves."""
        return type(self), (self.path,)

    def __len__(self) -> int:
        """Number of things (a strip is one thing)."""
        return len(self._things)

    @property
    def cyclic(self) -> bool:
        return self.about.cyclic

    def views(self, index: int) -> int:
        """Number of pictures of a thing."""
        first, end = self._things[index]
        return end - first

    def name(self, index: int) -> str:
        return str(self.names[self._things[index][0]])

    def read(self, index: int, view: int = 0) -> np.ndarray:
        """A picture, uint8 RGB(A), (H, W, 3 or 4).

        Raises:
            MediaError: it can't be decoded.
        """
        number = self._things[index][0] + view
        image = decode(self._data[self._starts[number] : self._starts[number + 1]])
        if image is None:
            raise MediaError(f"{self.path}: picture {self.names[number]} is damaged")
        return image


def decode(data: np.ndarray) -> np.ndarray | None:
    """Decodes a picture file in memory to uint8 RGB or RGBA; None when that is impossible."""
    if data.size == 0:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        return None
    if image.dtype == np.uint16:
        image = (image / 257).astype(np.uint8)
    if image.dtype != np.uint8:
        return None
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def find_packs(folder: Path, kind: str) -> Iterator[Path]:
    """Packs of a kind ("cutouts", "photos", "textures") in a folder, by name."""
    yield from sorted(folder.glob(f"{kind}-*.npz"))
