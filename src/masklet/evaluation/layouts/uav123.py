"""UAV123: data_seq/UAV123/<video>/000001.jpg …, anno/UAV123/<sequence>.txt (NaN where the target is absent).

Some videos are cut into several sequences; their annotation files say how long, but not where, they start.
"""

from __future__ import annotations

from pathlib import Path

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, first_existing, numbered_files
from masklet.evaluation.result_files import read_boxes

# first picture of each part of a video, in order: part k is the sequence <video>_<k>
PARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car16": (1, 415),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}


def load(root: Path, split: str | None) -> BoxDataset:
    if split is not None:
        raise InputError("UAV123 has no splits; leave --split out")
    annotations = first_existing(root / "anno" / "UAV123", root / "anno") or root
    videos = first_existing(root / "data_seq" / "UAV123", root / "data_seq") or root
    sequences = tuple(_sequence(videos, path) for path in sorted(annotations.glob("*.txt")))
    return BoxDataset("uav123", sequences, BoxProtocol(absent_center_hit=True, absent_normalised_hit=True))


def _sequence(videos: Path, path: Path) -> BoxSequence:
    boxes = read_boxes(path)
    video, first = _place(path.stem)
    images = numbered_files(videos / video, first, len(boxes))
    return BoxSequence(path.stem, boxes, images, aliases=(f"uav_{path.stem}",))


def _place(sequence: str) -> tuple[str, int]:
    """Folder and first picture number of a sequence."""
    video, _, part = sequence.rpartition("_")
    starts = PARTS.get(video, ())
    if part.isdigit() and 1 <= int(part) <= len(starts):
        return video, starts[int(part) - 1]
    return sequence, 1
