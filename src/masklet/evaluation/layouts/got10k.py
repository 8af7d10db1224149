"""GOT-10k: <split>/<sequence>/ with 00000001.jpg …, groundtruth.txt, cover.label and meta_info.ini."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

from PIL import Image

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts.base import BoxDataset, BoxSequence, files_by_stem, folders, read_names
from masklet.evaluation.result_files import read_boxes, read_marks


def load(root: Path, split: str | None) -> BoxDataset:
    base = root / (split or "val")
    if not base.is_dir():
        base = root
    listed = base / "list.txt"
    names = read_names(listed) if listed.is_file() else folders(base)
    sequences = tuple(_sequence(base / name) for name in names if (base / name / "groundtruth.txt").is_file())
    return BoxDataset("got10k", sequences, BoxProtocol(average_overlap=True))


def _sequence(folder: Path) -> BoxSequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    visible = None
    cover = folder / "cover.label"
    if cover.is_file():
        visible = read_marks(cover, len(boxes)) > 0
    images = tuple(files_by_stem(folder, frozenset({".jpg", ".jpeg"})).values())
    size, group = _meta(folder)
    if size is None and images:
        with Image.open(images[0]) as picture:
            size = picture.size
    return BoxSequence(folder.name, boxes, images, visible, frame_size=size, group=group)


def _meta(folder: Path) -> tuple[tuple[int, int] | None, str]:
    path = folder / "meta_info.ini"
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
