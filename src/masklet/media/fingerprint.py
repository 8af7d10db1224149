"""Recognise a file again after it was moved or renamed, without reading all of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masklet.errors import MediaError, explained
from masklet.media.types import ImageArray

_CHUNK = 1 << 20


def file_fingerprint(path: Path) -> str:
    """Hash of a file's size and of a mebibyte at its head, middle and tail: 32 hexadecimal digits.

    Raises:
        MediaError: the file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    _add_file(digest, path)
    return digest.hexdigest()


def files_fingerprint(paths: Sequence[Path]) -> str:
    """The same for a sequence: the number of files, all their sizes, and the content of the first, middle and last.

    Raises:
        MediaError: a file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{len(paths)} files".encode())
    for path in paths:
        with explained(MediaError, f"{path} can't be read"):
            digest.update(path.stat().st_size.to_bytes(8, "little"))
    for position in sorted({0, len(paths) // 2, len(paths) - 1}):
        _add_file(digest, paths[position])
    return digest.hexdigest()


def array_fingerprint(frames: Sequence[ImageArray]) -> str:
    """The same for frames in memory."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{len(frames)} arrays {frames[0].shape}".encode())
    for position in sorted({0, len(frames) // 2, len(frames) - 1}):
        digest.update(np.ascontiguousarray(frames[position]).tobytes())
    return digest.hexdigest()


def _add_file(digest: hashlib.blake2b, path: Path) -> None:
    with explained(MediaError, f"{path} can't be read"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        for start in sorted({0, max(0, size // 2 - _CHUNK // 2), max(0, size - _CHUNK)}):
            file.seek(start)
            digest.update(file.read(_CHUNK))
