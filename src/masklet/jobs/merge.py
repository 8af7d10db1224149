"""Data sets of all videos of a batch put together: one COCO file, one YOLO folder, one DAVIS or YouTube-VOS tree.

What is joined are the exports of the single videos, which stay as they are: pictures are linked where the file system
can do that, so that they take no more room. Every file gets its video's name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from masklet.errors import BatchError, explained
from masklet.jobs.queue import JobRow
from masklet.jobs.work import export_path
from masklet.naming import sanitize
from masklet.sources import refuse_source

#: Of a video: its name, and the folder of its export.
Part = tuple[str, Path]


def merge(folder: Path, rows: Iterable[JobRow]) -> list[Path]:
    """Joins the data sets of jobs that are done, and returns the folders. What was joined before is replaced.

    Raises BatchError: it can't be written.
    """
    parts: dict[str, list[Part]] = {}
    for row in rows:
        for export in row.job.exports:
            place = export_path(folder, row.job, export.format)
            if export.format in MERGERS and place.is_dir():
                parts.setdefault(export.format, []).append((sanitize(row.job.name), place))
    return [_whole(folder / "merged" / format, MERGERS[format], found) for format, found in parts.items()]


def _whole(target: Path, join: Callable[[Sequence[Part], Path], None], parts: Sequence[Part]) -> Path:
    """Makes a folder beside its place, and moves it there when it is complete."""
    new, old = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.old")
    refuse_source(target)
    with explained(BatchError, f"The data set {target} can't be written"):
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        join(parts, new)
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    return target


def _coco(parts: Sequence[Part], into: Path) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    videos = []
    categories: dict[str, int] = {}
    for number, (name, place) in enumerate(parts, 1):
        found = json.loads((place / "annotations.json").read_text(encoding="utf-8"))
        videos.append({"id": number, "name": name})
        names = {category["id"]: category["name"] for category in found["categories"]}
        before = len(images)
        for image in found["images"]:
            file = f"{name}/{Path(image['file_name']).name}"
            images.append({**image, "id": before + image["id"], "file_name": file, "video_id": number})
            _link(place / "images" / image["file_name"], into / "images" / file)
        for annotation in found["annotations"]:
            category = categories.setdefault(names[annotation["category_id"]], len(categories) + 1)
            place_of = {"id": len(annotations) + 1, "image_id": before + annotation["image_id"], "video_id": number}
            annotations.append({**annotation, **place_of, "category_id": category})
    listed = [{"id": number, "name": name} for name, number in categories.items()]
    document = {"videos": videos, "images": images, "annotations": annotations, "categories": listed}
    (into / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def _yolo(parts: Sequence[Part], into: Path) -> None:
    classes: dict[str, int] = {}
    held_back = False
    for name, place in parts:
        own = yaml.safe_load((place / "data.yaml").read_text(encoding="utf-8"))
        numbers = {str(number): classes.setdefault(label, len(classes)) for number, label in own["names"].items()}
        for labels in sorted((place / "labels").rglob("*.txt")):
            part = labels.parent.name
            held_back |= part == "val"
            lines = [line.partition(" ") for line in labels.read_text(encoding="utf-8").splitlines()]
            text = "".join(f"{numbers[number]} {rest}\n" for number, _, rest in lines)
            target = into / "labels" / part / f"{name}_{labels.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        for image in sorted((place / "images").rglob("*.*")):
            _link(image, into / "images" / image.parent.name / f"{name}_{image.name}")
    document = {"train": "images/train", "val": f"images/{'val' if held_back else 'train'}"}
    names = {number: name for name, number in classes.items()}
    (into / "data.yaml").write_text(yaml.safe_dump({**document, "names": names}, sort_keys=False, allow_unicode=True))


def _davis(parts: Sequence[Part], into: Path) -> None:
    _trees(parts, into)
    (into / "ImageSets" / "2017").mkdir(parents=True)
    (into / "ImageSets" / "2017" / "val.txt").write_text("".join(f"{name}\n" for name, _ in parts), encoding="utf-8")


def _youtube_vos(parts: Sequence[Part], into: Path) -> None:
    videos = {}
    for name, place in parts:
        [found] = json.loads((place / "meta.json").read_text(encoding="utf-8"))["videos"].values()
        videos[name] = found
    _trees(parts, into)
    (into / "meta.json").write_text(json.dumps({"videos": videos}), encoding="utf-8")


def _trees(parts: Sequence[Part], into: Path) -> None:
    """Annotations and frames, with the folder of every video called like it."""
    for name, place in parts:
        for tree in ("Annotations", "JPEGImages"):
            for file in sorted((place / tree).rglob("*.*")):
                above = file.parent.relative_to(place).parent  # such as Annotations/Full-Resolution
                _link(file, into / above / name / file.name)


def _link(file: Path, target: Path) -> None:
    if not file.exists():  # an export without its frames
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


#: Formats that can be joined.
MERGERS: dict[str, Callable[[Sequence[Part], Path], None]] = {
    "coco": _coco,
    "yolo-seg": _yolo,
    "yolo-boxes": _yolo,
    "davis": _davis,
    "youtube-vos": _youtube_vos,
}
