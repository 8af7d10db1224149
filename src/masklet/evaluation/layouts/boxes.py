"""Benchmarks with one box per frame: LaSOT, UAV123, NFS, OTB and GOT-10k."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import numpy as np
from PIL import Image

from masklet.errors import InputError
from masklet.evaluation.layouts.base import (
    BoxSequence,
    files_by_stem,
    first_existing,
    folders,
    numbered_files,
    read_names,
)
from masklet.evaluation.result_files import read_boxes, read_marks

BoxSequences = tuple[BoxSequence, ...]


# ------------------------------------------------------------------------------------------------ LaSOT


def lasot(root: Path, split: str | None) -> BoxSequences:
    """LaSOT and its extension subset: <class>/<class>-<n>/ (or <class>-<n>/) with img/, groundtruth.txt,
    full_occlusion.txt and out_of_view.txt."""
    truths = sorted([*root.glob("*/groundtruth.txt"), *root.glob("*/*/groundtruth.txt")])
    found = {path.parent.name: path.parent for path in truths}
    listed = first_existing(root / f"{split or 'test'}ing_set.txt", root / f"{split or 'testing'}_set.txt")
    if split and listed is None:
        raise InputError(f"no list of the split '{split}' in {root}; LaSOT calls it testing_set.txt")
    names = [name for name in read_names(listed) if name in found] if listed else sorted(found)
    return tuple(_lasot_sequence(found[name]) for name in names)


def _lasot_sequence(folder: Path) -> BoxSequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    visible = np.ones(len(boxes), bool)
    for path in (folder / "full_occlusion.txt", folder / "out_of_view.txt"):
        if path.is_file():
            visible &= read_marks(path, len(boxes)) == 0
    images = tuple(files_by_stem(folder / "img").values())
    return BoxSequence(folder.name, boxes, images, visible, group=folder.name.rsplit("-", 1)[0])


# ------------------------------------------------------------------------------------------------ UAV123

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


def uav123(root: Path, split: str | None) -> BoxSequences:
    """data_seq/UAV123/<video>/000001.jpg …, anno/UAV123/<sequence>.txt (NaN where the target is absent).

    Some videos are cut into several sequences; their annotation files say how long, but not where, they start.
    """
    _refuse_split("UAV123", split)
    annotations = first_existing(root / "anno" / "UAV123", root / "anno") or root
    videos = first_existing(root / "data_seq" / "UAV123", root / "data_seq") or root
    sequences = []
    for path in sorted(annotations.glob("*.txt")):
        name, boxes = path.stem, read_boxes(path)
        video, _, part = name.rpartition("_")
        starts = PARTS.get(video, ())
        place, first = name, 1
        if part.isdigit() and 1 <= int(part) <= len(starts):
            place, first = video, starts[int(part) - 1]
        images = numbered_files(videos / place, first, len(boxes))
        sequences.append(BoxSequence(name, boxes, images, aliases=(f"uav_{name}",)))
    return tuple(sequences)


def _refuse_split(name: str, split: str | None) -> None:
    if split is not None:
        raise InputError(f"{name} has no splits; leave --split out")


# --------------------------------------------------------------------------------------------------- NFS

RATES = ("30", "240")


def nfs(root: Path, split: str | None) -> BoxSequences:
    """Need for Speed, as its authors pack it (<name>/30/<name>.txt, <name>/30/<name>/00001.jpg; also 240) and as
    tracking toolkits repack it (anno/nfs_<name>.txt, sequences/<name>/00001.jpg)."""
    rate = split or "30"
    if rate not in RATES:
        raise InputError(f"NFS comes at 30 and 240 frames per second; '{split}' is neither")
    sequences = []
    for path in sorted((root / "anno").glob("*.txt")):
        name = path.stem.removeprefix("nfs_")
        sequences.append(_nfs_sequence(name, read_boxes(path), files_by_stem(root / "sequences" / name)))
    for name in [] if sequences else folders(root):
        path = root / name / rate / f"{name}.txt"
        if path.is_file():
            boxes, images = _nfs_boxes(path), files_by_stem(path.with_suffix(""))
            if rate == "30" and (not images or abs(len(boxes) / len(images) - 8) < 1):
                boxes = boxes[::8]
            sequences.append(_nfs_sequence(name, boxes, images))
    return tuple(sequences)


def _nfs_boxes(path: Path) -> np.ndarray:
    """Rows: track, left, top, right, bottom, frame, lost, occluded, generated, "class"; always 240 fps."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            left, top, right, bottom = (float(word) for word in line.split()[1:5])
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a row of numbers: {line!r}") from error
        rows.append((left, top, right - left, bottom - top))
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4)


def _nfs_sequence(name: str, boxes: np.ndarray, pictures: dict[str, Path]) -> BoxSequence:
    images = tuple(pictures.values())
    if images:  # the last row or picture is missing in a few sequences
        count = min(len(boxes), len(images))
        boxes, images = boxes[:count], images[:count]
    return BoxSequence(name, boxes, images, aliases=(f"nfs_{name}",))


# --------------------------------------------------------------------------------------------------- OTB

# sequences whose annotation doesn't begin with the first picture
FIRST_PICTURE = {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300}
# the benchmark starts Tiger1 five annotated frames late, and follows only the second target of Human4
LEAVE_OUT = {"Tiger1": 5}
NOT_USED = {("Human4", "1")}


def otb(root: Path, split: str | None) -> BoxSequences:
    """OTB-2015 (OTB-100): <sequence>/img/0001.jpg, groundtruth_rect.txt or groundtruth_rect.1.txt and .2.txt."""
    _refuse_split("OTB", split)
    sequences = []
    for folder in folders(root):
        for path in sorted((root / folder).glob("groundtruth_rect*.txt")):
            which = path.stem.partition(".")[2]
            if (folder, which) in NOT_USED:
                continue
            boxes = read_boxes(path)
            images = numbered_files(root / folder / "img", FIRST_PICTURE.get(folder, 1), len(boxes))
            shown = slice(LEAVE_OUT.get(folder, 0), len(images) or None)
            name = f"{folder}_{which}" if which else folder
            aliases = (f"{folder}.{which}", f"{folder}-{which}") if which else ()
            sequences.append(BoxSequence(name, boxes[shown], images[shown], aliases=aliases))
    return tuple(sequences)


# ----------------------------------------------------------------------------------------------- GOT-10k


def got10k(root: Path, split: str | None) -> BoxSequences:
    """<split>/<sequence>/ with 00000001.jpg …, groundtruth.txt, cover.label and meta_info.ini."""
    base = root / (split or "val")
    base = base if base.is_dir() else root
    listed = base / "list.txt"
    names = read_names(listed) if listed.is_file() else folders(base)
    return tuple(_got10k_sequence(base / name) for name in names if (base / name / "groundtruth.txt").is_file())


def _got10k_sequence(folder: Path) -> BoxSequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    cover = folder / "cover.label"
    visible = read_marks(cover, len(boxes)) > 0 if cover.is_file() else None
    images = tuple(files_by_stem(folder, frozenset({".jpg", ".jpeg"})).values())
    size, group = _got10k_meta(folder / "meta_info.ini")
    if size is None and images:
        with Image.open(images[0]) as picture:
            size = picture.size
    return BoxSequence(folder.name, boxes, images, visible, frame_size=size, group=group)


def _got10k_meta(path: Path) -> tuple[tuple[int, int] | None, str]:
    if not path.is_file():
        return None, ""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["METAINFO"]
        size = None
        if "resolution" in section:
            width, height = ast.literal_eval(section["resolution"])
            size = int(width), int(height)
    except (configparser.Error, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise InputError(f"{path} is not a GOT-10k meta file: {error}") from error
    return size, section.get("object_class", "")
