"""Need for Speed, as its authors pack it (<name>/30/<name>.txt, <name>/30/<name>/00001.jpg; also 240) and as
tracking toolkits repack it (anno/nfs_<name>.txt, sequences/<name>/00001.jpg)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, files_by_stem, folders
from masklet.evaluation.result_files import read_boxes

RATES = ("30", "240")


def load(root: Path, split: str | None) -> BoxDataset:
    rate = split or "30"
    if rate not in RATES:
        raise InputError(f"NFS comes at 30 and 240 frames per second; '{split}' is neither")
    repacked = sorted((root / "anno").glob("*.txt"))
    if repacked:
        sequences = tuple(_repacked(root, path) for path in repacked)
    else:
        sequences = tuple(
            _original(root / name / rate, name, rate)
            for name in folders(root)
            if (root / name / rate / f"{name}.txt").is_file()
        )
    return BoxDataset("nfs", sequences, BoxProtocol(absent_normalised_hit=True))


def _repacked(root: Path, path: Path) -> BoxSequence:
    name = path.stem.removeprefix("nfs_")
    images = tuple(files_by_stem(root / "sequences" / name).values())
    boxes = read_boxes(path)
    return _matched(name, boxes, images)


def _original(folder: Path, name: str, rate: str) -> BoxSequence:
    """Rows: track, left, top, right, bottom, frame, lost, occluded, generated, "class"; always 240 fps."""
    rows = []
    path = folder / f"{name}.txt"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            left, top, right, bottom = (float(word) for word in words[1:5])
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a row of numbers: {line!r}") from error
        rows.append((left, top, right - left, bottom - top))
    boxes = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    images = tuple(files_by_stem(folder / name).values())
    if rate == "30" and (not images or abs(len(boxes) / len(images) - 8) < 1):
        boxes = boxes[::8]
    return _matched(name, boxes, images)


def _matched(name: str, boxes: np.ndarray, images: tuple[Path, ...]) -> BoxSequence:
    if images:  # the last row or picture is missing in a few sequences
        count = min(len(boxes), len(images))
        boxes, images = boxes[:count], images[:count]
    return BoxSequence(name, boxes, images, aliases=(f"nfs_{name}",))
