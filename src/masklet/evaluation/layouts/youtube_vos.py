"""YouTube-VOS: every fifth frame annotated, objects appear at any time, seen and unseen classes apart.

`meta.json` holds {"videos": {name: {"objects": {id: {"category", "frames": [names]}}}}}. An object is told
about on its first frame and scored on the annotated frames after it. Its class counts as seen when the
training split's meta.json (`train/meta.json` beside this split) has it; without that file there is one score.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.evaluation.layouts.base import (
    LabelMapSequence,
    MaskDataset,
    Target,
    files_by_stem,
    first_existing,
    read_meta,
)


def load(root: Path, split: str | None) -> MaskDataset:
    base = root / split if split and (root / split).is_dir() else root
    meta = base / "meta.json"
    if not meta.is_file():
        raise InputError(f"no meta.json in {base}; name the split that has one with --split")
    videos = read_meta(meta, "a YouTube-VOS", _first_frame)
    seen = _seen_classes(root, base)
    pictures = first_existing(base.parent / f"{base.name}_all_frames" / "JPEGImages") or base / "JPEGImages"
    sequences = []
    for name in sorted(videos):
        maps = files_by_stem(base / "Annotations" / name, frozenset({".png"}))
        if maps:
            images = files_by_stem(pictures / name) or files_by_stem(base / "JPEGImages" / name)
            rule = partial(_appearances, videos[name], seen)
            sequences.append(LabelMapSequence(name, images, maps, rule, has_void=False))
    return MaskDataset("youtube-vos", tuple(sequences))


def _appearances(video: dict[str, Any], seen: set[str], sequence: LabelMapSequence) -> tuple[Target, ...]:
    targets = []
    for object_id, entry in sorted(video["objects"].items(), key=lambda item: int(item[0])):
        first_name = _first_frame(object_id, entry)
        if first_name > sequence.frames[-1]:
            continue  # appears after the part of the video that is looked at
        if first_name not in sequence.frames:
            raise InputError(f"{sequence.name}: object {object_id} starts on {first_name}, which has no file")
        first = sequence.frames.index(first_name)
        category = str(entry.get("category", ""))
        group = "" if not seen else ("seen" if category in seen else "unseen")
        targets.append(Target(int(object_id), first, tuple(i for i in sequence.annotated if i > first), group))
    return tuple(targets)


def _seen_classes(root: Path, base: Path) -> set[str]:
    path = first_existing(root / "train" / "meta.json", base.parent / "train" / "meta.json")
    if path is None:
        return set()
    videos = read_meta(path, "a YouTube-VOS", _first_frame).values()
    return {str(entry.get("category", "")) for video in videos for entry in video["objects"].values()}


def _first_frame(object_id: str, entry: dict[str, Any]) -> str:
    int(object_id)
    return min(entry["frames"])
