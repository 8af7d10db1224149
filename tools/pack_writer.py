"""Writes packs of pictures, which masklet's training reads (`masklet.training.synthesis.packs`)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.atomic import atomic_path
from masklet.errors import ExportError
from masklet.training.synthesis.packs import About, Pack


@dataclass(frozen=True, slots=True)
class PackItem:
    """One picture to pack: (H, W, 4) RGBA or (H, W, 3) RGB uint8; `strip` joins views of one thing."""

    name: str
    image: np.ndarray
    strip: str = ""


def write_pack(path: Path, items: Iterable[PackItem], about: About, quality: int = 90) -> tuple[int, int]:
    """Writes a pack as WebP pictures (alpha without loss). Pictures of one strip must follow each other.

    Returns:
        (things, pictures) written.

    Raises:
        ExportError: the file can't be written.
    """
    encoded: list[bytes] = []
    names: list[str] = []
    strips: list[int] = []
    numbers: dict[str, int] = {}
    for item in items:
        encoded.append(_encode(item.image, quality))
        names.append(item.name)
        strips.append(numbers.setdefault(item.strip, len(numbers)) if item.strip else -1)
    starts = np.cumsum([0, *(len(e) for e in encoded)]).astype(np.int64)
    arrays: dict[str, Any] = {
        "data": np.frombuffer(b"".join(encoded), np.uint8),
        "starts": starts,
        "names": np.asarray(names or [""])[: len(names)],
        "strips": np.asarray(strips, np.int32),
        "about": np.asarray(json.dumps(asdict(about))),
    }
    with atomic_path(path, error=ExportError) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return len(Pack(path)), len(names)


def _encode(image: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=4, alpha_quality=100)
    return buffer.getvalue()
