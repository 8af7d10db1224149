"""OTB-2015 (OTB-100): <sequence>/img/0001.jpg, groundtruth_rect.txt or groundtruth_rect.1.txt and .2.txt."""

from __future__ import annotations

from pathlib import Path

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, folders, numbered_files
from masklet.evaluation.result_files import read_boxes

# sequences whose annotation doesn't begin with the first picture
FIRST_PICTURE = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300}
# the benchmark starts Tiger1 five annotated frames late, and follows only the second target of Human4
LEAVE_OUT = {"Tiger1": 5}
NOT_USED = {("Human4", "1")}


def load(root: Path, split: str | None) -> BoxDataset:
    if split is not None:
        raise InputError("OTB has no splits; leave --split out")
    sequences = []
    for folder in folders(root):
        for path in sorted((root / folder).glob("groundtruth_rect*.txt")):
            which = path.stem.partition(".")[2]
            if (folder, which) not in NOT_USED:
                sequences.append(_sequence(root / folder, path, which))
    return BoxDataset("otb", tuple(sequences), BoxProtocol(absent_normalised_hit=True))


def _sequence(folder: Path, path: Path, which: str) -> BoxSequence:
    boxes = read_boxes(path)
    images = numbered_files(folder / "img", FIRST_PICTURE.get(folder.name, 1), len(boxes))
    if images and len(images) < len(boxes):
        boxes = boxes[: len(images)]
    omit = LEAVE_OUT.get(folder.name, 0)
    name = f"{folder.name}_{which}" if which else folder.name
    aliases = (f"{folder.name}.{which}", f"{folder.name}-{which}") if which else ()
    return BoxSequence(name, boxes[omit:], images[omit:], aliases=aliases)
