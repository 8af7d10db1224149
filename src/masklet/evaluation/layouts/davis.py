"""DAVIS 2016 and 2017, and MOSE, which keeps its files the same way."""

from __future__ import annotations

from pathlib import Path

from masklet.errors import InputError
from masklet.evaluation.layouts.base import (
    LabelMapSequence,
    MaskDataset,
    Target,
    TargetRule,
    files_by_stem,
    first_existing,
    folders,
    from_appearance,
    from_first_frame,
    read_names,
)

RESOLUTIONS = ("480p", "Full-Resolution")


def load_2016(root: Path, split: str | None) -> MaskDataset:
    """One object per sequence, whatever numbers the annotation holds."""
    return _load("davis2016", root, split, _single, merge=True, lists=("2016", "480p", "1080p", "2017"))


def load_2017(root: Path, split: str | None) -> MaskDataset:
    return _load("davis2017", root, split, from_first_frame, lists=("2017", "2016"))


def load_mose(root: Path, split: str | None) -> MaskDataset:
    return _load("mose", root, split, from_appearance, skip_early=True)


def _single(sequence: LabelMapSequence) -> tuple[Target, ...]:
    """DAVIS 2016: everything that is not background, from the first annotation on."""
    return (Target(1, sequence.annotated[0], sequence.annotated[1:-1]),)


def _load(
    name: str,
    root: Path,
    split: str | None,
    rule: TargetRule,
    *,
    merge: bool = False,
    skip_early: bool = False,
    lists: tuple[str, ...] = (),
) -> MaskDataset:
    base = root / split if split and (root / split / "Annotations").is_dir() else root
    annotations = _with_resolution(base / "Annotations")
    pictures = _with_resolution(base / "JPEGImages")
    names = folders(annotations)
    if split and base == root:
        names = _split_names(root, split, lists)
    sequences = tuple(
        LabelMapSequence(
            sequence,
            files_by_stem(pictures / sequence),
            files_by_stem(annotations / sequence, frozenset({".png"})),
            rule,
            merge=merge,
            has_void=not skip_early,
            skip_early=skip_early,
        )
        for sequence in names
    )
    empty = [sequence.name for sequence in sequences if not sequence.annotated]
    if empty:
        raise InputError(f"sequence {empty[0]} has no annotation in {annotations / empty[0]}")
    return MaskDataset(name, sequences, merged=merge)


def _with_resolution(folder: Path) -> Path:
    return first_existing(*(folder / size for size in RESOLUTIONS)) or folder


def _split_names(root: Path, split: str, lists: tuple[str, ...]) -> list[str]:
    candidates = [root / "ImageSets" / folder / f"{split}.txt" for folder in lists]
    candidates += [root / "ImageSets" / f"{split}.txt", root / f"{split}.txt"]
    path = first_existing(*candidates)
    if path is None:
        raise InputError(f"no list of the split '{split}'; looked for {', '.join(str(p) for p in candidates)}")
    return read_names(path)
