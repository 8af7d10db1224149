"""SA-V val and test: JPEGImages_24fps/<video>/<frame>.jpg, Annotations_6fps/<video>/<object>/<frame>.png.

Every object has its own masks, which may overlap; its first and last annotated frame aren't scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.labels import foreground
from masklet.evaluation.layouts.base import (
    MaskDataset,
    MaskSequence,
    Target,
    files_by_stem,
    first_existing,
    folders,
    read_names,
)


class ObjectFolderSequence(MaskSequence):
    """One folder of binary PNGs per object."""

    exclusive = False

    def __init__(self, name: str, images: Mapping[str, Path], masks: Mapping[int, Mapping[str, Path]]):
        super().__init__(name, images, [frame for files in masks.values() for frame in files], skip_early=True)
        self._masks = masks

    @property
    def annotated(self) -> dict[int, tuple[int, ...]]:
        """Indices of the annotated frames of each object."""
        index = {frame: i for i, frame in enumerate(self.frames)}
        return {object_id: tuple(index[frame] for frame in files) for object_id, files in self._masks.items()}

    def truth(self, frame: int, object_id: int) -> np.ndarray:
        path = self._masks[object_id].get(self.frames[frame])
        if path is None:
            raise InputError(f"{self.name}: object {object_id} has no annotation on frame {self.frames[frame]}")
        return foreground(path).astype(bool)

    def _cut(self, frames: frozenset[str]) -> None:
        self._masks = {
            object_id: {frame: path for frame, path in files.items() if frame in frames}
            for object_id, files in self._masks.items()
        }

    def _annotations(self) -> Iterable[Path]:
        return (path for files in self._masks.values() for path in files.values())

    def _find_targets(self) -> tuple[Target, ...]:
        targets = []
        for object_id, annotated in sorted(self.annotated.items()):
            first = next((i for i in annotated if self.truth(i, object_id).any()), None)
            if first is not None:
                targets.append(Target(object_id, first, annotated[1:-1]))
        return tuple(targets)


def load(root: Path, split: str | None) -> MaskDataset:
    base = first_existing(root / f"sav_{split}", root / split) if split else None
    base = base or root
    annotations = first_existing(base / "Annotations_6fps", base / "Annotations") or base / "Annotations_6fps"
    pictures = first_existing(base / "JPEGImages_24fps", base / "JPEGImages") or base / "JPEGImages_24fps"
    listed = first_existing(base / f"sav_{split}.txt", root / f"sav_{split}.txt") if split else None
    names = read_names(listed) if listed else folders(annotations)
    sequences = []
    for name in names:
        masks = {
            int(folder): files_by_stem(annotations / name / folder, frozenset({".png"}))
            for folder in folders(annotations / name)
            if folder.isdigit()
        }
        sequences.append(ObjectFolderSequence(name, files_by_stem(pictures / name), masks))
    return MaskDataset("sav", tuple(sequences), per_object_files=True)
