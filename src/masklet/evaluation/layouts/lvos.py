"""LVOS: long videos; each object is scored on the annotated frames of its own range.

`<split>_meta.json` holds {"videos": {name: {"objects": {id: {"frame_range": {"start", "end"}}}}}}; a range
includes its start and leaves its end out. Without that file an object is scored from where it appears.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from masklet.evaluation.layouts.base import (
    LabelMapSequence,
    MaskDataset,
    Target,
    files_by_stem,
    first_existing,
    folders,
    from_appearance,
    read_meta,
    read_names,
)


def load(root: Path, split: str | None) -> MaskDataset:
    base = root / split if split and (root / split).is_dir() else root
    wanted = [split] if split else ["valid", "val", "test", "train"]
    places = [folder / f"{name}_meta.json" for name in wanted if name for folder in (base, root)]
    meta = first_existing(*places, *sorted(base.glob("*_meta.json"))[:1])
    videos = read_meta(meta, "an LVOS", _range) if meta else {}
    unseen_list = first_existing(base / "unseen_videos.txt", root / "unseen_videos.txt")
    unseen = set(read_names(unseen_list)) if unseen_list else set()
    annotations, pictures = base / "Annotations", base / "JPEGImages"
    names = sorted(videos) if videos else folders(annotations)
    sequences = tuple(
        LabelMapSequence(
            name,
            files_by_stem(pictures / name),
            files_by_stem(annotations / name, frozenset({".png"})),
            partial(_ranges, videos[name], _group(name, unseen)) if videos else from_appearance,
            has_void=False,
            skip_early=not videos,
        )
        for name in names
        if (annotations / name).is_dir()
    )
    return MaskDataset("lvos", sequences)


def _group(name: str, unseen: set[str]) -> str:
    if not unseen:
        return ""
    return "unseen" if name in unseen else "seen"


def _ranges(video: dict[str, Any], group: str, sequence: LabelMapSequence) -> tuple[Target, ...]:
    targets = []
    for object_id, entry in sorted(video["objects"].items(), key=lambda item: int(item[0])):
        start, end = _range(object_id, entry)
        scored = tuple(i for i in sequence.annotated if start <= int(sequence.frames[i]) < end)
        if scored:
            targets.append(Target(int(object_id), scored[0], scored, group))
    return tuple(targets)


def _range(object_id: str, entry: dict[str, Any]) -> tuple[int, int]:
    return int(entry["frame_range"]["start"]), int(entry["frame_range"]["end"])
