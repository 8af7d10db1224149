"""Benchmarks with masks: DAVIS 2016 and 2017, MOSE, LVOS, YouTube-VOS and SA-V."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.evaluation.layouts.base import (
    LabelMapSequence,
    ObjectFolderSequence,
    Target,
    TargetRule,
    files_by_stem,
    first_existing,
    folders,
    read_meta,
    read_names,
)

RESOLUTIONS = ("480p", "Full-Resolution")
_PNG = frozenset({".png"})
LabelMapSequences = tuple[LabelMapSequence, ...]


# ---------------------------------------------------------------------------------------- DAVIS and MOSE


def whole_foreground(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """DAVIS 2016: everything that is not background, from the first annotation on."""
    return (Target(1, sequence.annotated[0], sequence.annotated[1:-1]),)


def from_first_frame(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """DAVIS: the objects 1 … n of the first annotation; first and last annotated frame aren't scored."""
    first = sequence.annotated[0]
    highest = max(sequence.object_ids(first), default=0)
    return tuple(Target(i, first, sequence.annotated[1:-1]) for i in range(1, highest + 1))


def from_appearance(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """MOSE: an object is told about where it first appears; first and last frame aren't scored."""
    seen: dict[int, int] = {}
    for frame in sequence.annotated:
        for object_id in sequence.object_ids(frame):
            seen.setdefault(object_id, frame)
    return tuple(Target(i, frame, sequence.annotated[1:-1]) for i, frame in sorted(seen.items()))


def label_maps(
    root: Path, split: str | None, *, rule: TargetRule, lists: tuple[str, ...] = (), **kind: bool
) -> LabelMapSequences:
    """JPEGImages/<video> and Annotations/<video>, at times below a resolution, the split's names in ImageSets.

    Args:
        lists: folders of ImageSets that may have the split.
        kind: of :class:`LabelMapSequence`.
    """
    base = root / split if split and (root / split / "Annotations").is_dir() else root
    annotations, pictures = (
        first_existing(*(base / name / size for size in RESOLUTIONS)) or base / name
        for name in ("Annotations", "JPEGImages")
    )
    names = _split_names(root, split, lists) if split and base == root else folders(annotations)
    sequences = tuple(_label_maps(pictures / name, annotations / name, rule, **kind) for name in names)
    empty = [sequence.name for sequence in sequences if not sequence.annotated]
    if empty:
        raise InputError(f"sequence {empty[0]} has no annotation in {annotations / empty[0]}")
    return sequences


def _label_maps(pictures: Path, annotations: Path, rule: TargetRule, **kind: bool) -> LabelMapSequence:
    return LabelMapSequence(annotations.name, files_by_stem(pictures), files_by_stem(annotations, _PNG), rule, **kind)


def _split_names(root: Path, split: str, lists: tuple[str, ...]) -> list[str]:
    candidates = [root / "ImageSets" / folder / f"{split}.txt" for folder in lists]
    candidates += [root / "ImageSets" / f"{split}.txt", root / f"{split}.txt"]
    path = first_existing(*candidates)
    if path is None:
        raise InputError(f"no list of the split '{split}'; looked for {', '.join(str(p) for p in candidates)}")
    return read_names(path)


# -------------------------------------------------------------------------------------------------- LVOS


def lvos(root: Path, split: str | None) -> LabelMapSequences:
    """Long videos; each object is scored on the annotated frames of its own range.

    `<split>_meta.json` holds {"videos": {name: {"objects": {id: {"frame_range": {"start", "end"}}}}}}; a range
    includes its start and leaves its end out. Without that file an object is scored from where it appears.
    """
    base = _split_folder(root, split)
    wanted = [split] if split else ["valid", "val", "test", "train"]
    places = [folder / f"{name}_meta.json" for name in wanted for folder in (base, root)]
    meta = first_existing(*places, *sorted(base.glob("*_meta.json"))[:1])
    videos = read_meta(meta, "an LVOS", _range) if meta else {}
    unseen_list = first_existing(base / "unseen_videos.txt", root / "unseen_videos.txt")
    unseen = set(read_names(unseen_list)) if unseen_list else set()

    def rule(name: str) -> TargetRule:
        group = "" if not unseen else "unseen" if name in unseen else "seen"
        return partial(_ranges, videos[name], group) if videos else from_appearance

    return tuple(
        _label_maps(base / "JPEGImages" / name, folder, rule(name), has_void=False, skip_early=not videos)
        for name in (sorted(videos) or folders(base / "Annotations"))
        if (folder := base / "Annotations" / name).is_dir()
    )


def _split_folder(root: Path, split: str | None) -> Path:
    return root / split if split and (root / split).is_dir() else root


def _objects_of(video: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(video["objects"].items(), key=lambda item: int(item[0]))


def _ranges(video: dict[str, Any], group: str, sequence: LabelMapSequence) -> tuple[Target, ...]:
    targets = []
    for object_id, entry in _objects_of(video):
        start, end = _range(object_id, entry)
        scored = tuple(i for i in sequence.annotated if start <= int(sequence.frames[i]) < end)
        if scored:
            targets.append(Target(int(object_id), scored[0], scored, group))
    return tuple(targets)


def _range(object_id: str, entry: dict[str, Any]) -> tuple[int, int]:
    return int(entry["frame_range"]["start"]), int(entry["frame_range"]["end"])


# ------------------------------------------------------------------------------------------- YouTube-VOS


def youtube_vos(root: Path, split: str | None) -> LabelMapSequences:
    """Every fifth frame annotated, objects appear at any time, seen and unseen classes apart.

    `meta.json` holds {"videos": {name: {"objects": {id: {"category", "frames": [names]}}}}}. An object is told
    about on its first frame and scored on the annotated frames after it. Its class counts as seen when the
    training split's meta.json (`train/meta.json` beside this split) has it; without that file there is one score.
    """
    base = _split_folder(root, split)
    meta = base / "meta.json"
    if not meta.is_file():
        raise InputError(f"no meta.json in {base}; name the split that has one with --split")
    videos = read_meta(meta, "a YouTube-VOS", _first_frame)
    trained = first_existing(root / "train" / "meta.json", base.parent / "train" / "meta.json")
    known = read_meta(trained, "a YouTube-VOS", _first_frame).values() if trained else ()
    seen = {_category(entry) for video in known for entry in video["objects"].values()}
    pictures = first_existing(base.parent / f"{base.name}_all_frames" / "JPEGImages") or base / "JPEGImages"
    return tuple(
        _label_maps(
            pictures / name if files_by_stem(pictures / name) else base / "JPEGImages" / name,
            base / "Annotations" / name,
            partial(_appearances, videos[name], seen),
            has_void=False,
        )
        for name in sorted(videos)
        if files_by_stem(base / "Annotations" / name, _PNG)
    )


def _appearances(video: dict[str, Any], seen: set[str], sequence: LabelMapSequence) -> tuple[Target, ...]:
    targets = []
    for object_id, entry in _objects_of(video):
        first_name = _first_frame(object_id, entry)
        if first_name > sequence.frames[-1]:
            continue  # appears after the part of the video that is looked at
        if first_name not in sequence.frames:
            raise InputError(f"{sequence.name}: object {object_id} starts on {first_name}, which has no file")
        first = sequence.frames.index(first_name)
        group = "" if not seen else "seen" if _category(entry) in seen else "unseen"
        targets.append(Target(int(object_id), first, tuple(i for i in sequence.annotated if i > first), group))
    return tuple(targets)


def _category(entry: dict[str, Any]) -> str:
    return str(entry.get("category", ""))


def _first_frame(object_id: str, entry: dict[str, Any]) -> str:
    int(object_id)
    return min(entry["frames"])


# -------------------------------------------------------------------------------------------------- SA-V


def sav(root: Path, split: str | None) -> tuple[ObjectFolderSequence, ...]:
    """SA-V val and test: JPEGImages_24fps/<video>/<frame>.jpg, Annotations_6fps/<video>/<object>/<frame>.png."""
    base = (first_existing(root / f"sav_{split}", root / split) if split else None) or root
    annotations = first_existing(base / "Annotations_6fps", base / "Annotations") or base / "Annotations_6fps"
    pictures = first_existing(base / "JPEGImages_24fps", base / "JPEGImages") or base / "JPEGImages_24fps"
    listed = first_existing(base / f"sav_{split}.txt", root / f"sav_{split}.txt") if split else None
    sequences = []
    for name in read_names(listed) if listed else folders(annotations):
        found = [folder for folder in folders(annotations / name) if folder.isdigit()]
        masks = {int(folder): files_by_stem(annotations / name / folder, _PNG) for folder in found}
        sequences.append(ObjectFolderSequence(name, files_by_stem(pictures / name), masks))
    return tuple(sequences)
