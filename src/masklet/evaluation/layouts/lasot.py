"""LaSOT and its extension subset: <class>/<class>-<n>/ (or <class>-<n>/) with img/, groundtruth.txt,
full_occlusion.txt and out_of_view.txt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, files_by_stem, first_existing, read_names
from masklet.evaluation.result_files import read_boxes, read_marks


def load(root: Path, split: str | None) -> BoxDataset:
    return BoxDataset("lasot", _sequences(root, split), BoxProtocol())


def load_extension(root: Path, split: str | None) -> BoxDataset:
    return BoxDataset("lasot-ext", _sequences(root, split), BoxProtocol())


def _sequences(root: Path, split: str | None) -> tuple[BoxSequence, ...]:
    found = {
        p.parent.name: p.parent for p in sorted([*root.glob("*/groundtruth.txt"), *root.glob("*/*/groundtruth.txt")])
    }
    listed = first_existing(root / f"{split or 'test'}ing_set.txt", root / f"{split or 'testing'}_set.txt")
    if split and listed is None:
        raise InputError(f"no list of the split '{split}' in {root}; LaSOT calls it testing_set.txt")
    names = [name for name in read_names(listed) if name in found] if listed else sorted(found)
    return tuple(_sequence(found[name]) for name in names)


def _sequence(folder: Path) -> BoxSequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    visible = np.ones(len(boxes), bool)
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        path = folder / name
        if path.is_file():
            visible &= read_marks(path, len(boxes)) == 0
    images = tuple(files_by_stem(folder / "img").values())
    return BoxSequence(folder.name, boxes, images, visible, group=folder.name.rsplit("-", 1)[0])
