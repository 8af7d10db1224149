"""Result files: text files with one box per line, folders of mask pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masklet.errors import InputError, MediaError
from masklet.evaluation.labels import foreground, read_label_map

_SEPARATOR = re.compile(r"[,;\s]+")


def read_numbers(path: Path) -> np.ndarray:
    """Numbers of a text file, (rows, columns) float64; separated by commas, tabs or blanks. NaN is a number.

    A file with a single row gives one row; rows must be equally long.

    Raises:
        MediaError: the file can't be read.
        InputError: a word is not a number, or rows differ in length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path} can't be read: {error}") from error
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = [word for word in _SEPARATOR.split(line.strip()) if word]
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a row of numbers: {line.strip()!r}") from error
        if rows and len(row) != len(rows[0]):
            raise InputError(f"{path}, line {number}: {len(row)} numbers where {len(rows[0])} were expected")
        rows.append(row)
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), -1) if rows else np.zeros((0, 0))


def read_marks(path: Path, count: int) -> np.ndarray:
    """One number for each of `count` boxes, (N,). Raises as `read_numbers`, and InputError where there are others."""
    marks = read_numbers(path).ravel()
    if len(marks) != count:
        raise InputError(f"{path} has {len(marks)} marks for {count} boxes")
    return marks


def read_boxes(path: Path) -> np.ndarray:
    """Boxes of a text file, (N, 4) left, top, width, height. Rows of eight numbers (corners) become bounds.

    Raises:
        MediaError, InputError: as `read_numbers`; also when rows hold neither 4 nor 8 numbers.
    """
    numbers = read_numbers(path)
    if numbers.size == 0:
        return np.zeros((0, 4))
    if numbers.shape[1] == 8:
        x, y = numbers[:, 0::2], numbers[:, 1::2]
        left, top = x.min(axis=1), y.min(axis=1)
        return np.stack([left, top, x.max(axis=1) - left, y.max(axis=1) - top], axis=1)
    if numbers.shape[1] != 4:
        raise InputError(f"{path}: boxes have 4 numbers a row (left, top, width, height), not {numbers.shape[1]}")
    return numbers


def find_box_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Result files of one sequence under any of its names: <name>.txt, <name>/<name>_001.txt … (GOT-10k), or
    the same one folder further down. Several files are repetitions."""
    for name in names:
        for base in (folder, *sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in names)):
            plain = base / f"{name}.txt"
            if plain.is_file():
                return [plain]
            repeated = sorted((base / name).glob(f"{name}_[0-9]*.txt"))
            if repeated:
                return repeated
    return []


class MaskResults:
    """Predicted masks of one sequence, from PNG files.

    Reads `<folder>/<sequence>/<frame>.png` (label maps), or `<folder>/<sequence>/<object>/<frame>.png`
    (one binary picture per object; the object's folder may have leading zeros).

    Raises:
        InputError: the sequence has no folder.
    """

    def __init__(self, folder: Path, sequence: str, *, merged: bool = False):
        self._folder = folder / sequence
        if not self._folder.is_dir():
            raise InputError(f"no results for sequence {sequence}: there is no folder {self._folder}")
        self._merged = merged
        self._objects = {int(p.name): p for p in self._folder.iterdir() if p.is_dir() and p.name.isdigit()}
        self._last: tuple[str, np.ndarray] | None = None

    def mask(self, frame: str, object_id: int) -> np.ndarray:
        """Mask of one object, (H, W) bool.

        Raises:
            InputError: no file for this frame.
        """
        folder = self._objects.get(object_id)
        if folder is not None:
            return foreground(_existing(folder / f"{frame}.png")).astype(bool)
        if self._last is None or self._last[0] != frame:
            path = _existing(self._folder / f"{frame}.png")
            self._last = frame, foreground(path) if self._merged else read_label_map(path)
        return self._last[1] == object_id


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"no result for this frame: {path} is missing")
    return path
