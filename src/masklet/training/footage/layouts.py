"""Which layout a folder of annotated videos has, and its videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.training.footage import coco, projects, sav
from masklet.training.footage.jsons import read_document
from masklet.training.footage.settings import FootageSettings
from masklet.training.footage.videos import FootageVideo, SequenceVideo

_JSON_HEAD = 1 << 20
_MASKS_LOOKED_AT = 50  # the first ones may be empty
_SPLITS = ("train", "training")


@dataclass(frozen=True, slots=True)
class FootageLayout:
    """One way to store annotated videos."""

    name: str
    description: str
    load: Callable[[Path, str | None, FootageSettings], list[FootageVideo]]


def find_videos(
    path: Path, settings: FootageSettings, layout: str | None = None, split: str | None = None
) -> list[FootageVideo]:
    """The annotated videos in a folder or file.

    Args:
        path: a folder, a JSON file or a project.
        layout: one of `FOOTAGE_LAYOUTS`; None finds out.
        split: "train", "val" … as the data set calls it; None takes what is there.

    Raises:
        InputError: no such file or folder, an unknown layout, or no annotation found.
    """
    if not path.exists():
        raise InputError(f"there is no {path} to take training videos from")
    name = layout or recognise(path, split)
    known = FOOTAGE_LAYOUTS.get(name)
    if known is None:
        raise InputError(f"unknown layout '{name}' of training videos; known are {', '.join(FOOTAGE_LAYOUTS)}")
    videos = known.load(path, split, settings)
    if not videos:
        raise InputError(f"{path} holds no annotated video in the {name} layout ({known.description})")
    return videos


def recognise(path: Path, split: str | None = None) -> str:
    """Name of the layout. Raises InputError, saying what was looked for, where nothing is recognised."""
    if path.is_file():
        if path.suffix.lower() == ".masklet":
            return "projects"
        if path.suffix.lower() == ".json":
            return _recognise_json(path)
        raise InputError(f"{path} is neither a folder of annotated videos nor a .json or .masklet file")
    base = _base(path, split)
    if (base / "Annotations_6fps").is_dir():
        return "sav"
    if (base / "Annotations").is_dir():
        return _recognise_benchmark(base)
    if next(path.rglob("*.masklet"), None):
        return "projects"
    if any(next(path.rglob(f"*_{kind}.json"), None) for kind in sav.KINDS):
        return "sav-json"
    documents = _documents(base) or _documents(path)
    if len(documents) == 1:
        return _recognise_json(documents[0])
    layouts = [name for name in map(_layout_of, documents) if name]
    if layouts:
        return layouts[0]
    raise InputError(
        f"{path} holds no annotated videos that masklet knows. It looked for Annotations/ with JPEGImages/ (DAVIS, "
        "YouTube-VOS, MOSE, LVOS), Annotations_6fps/ (SA-V), *_manual.json with mp4 files (SA-V), COCO JSON, and "
        "*.masklet projects. Name the folder that holds these, or the layout."
    )


def _base(root: Path, split: str | None) -> Path:
    """The folder of a split, where a data set has one for each."""
    for name in [split] if split else _SPLITS:
        if name and (root / name).is_dir() and not (root / "Annotations").is_dir():
            return root / name
    return root


def _recognise_benchmark(base: Path) -> str:
    if (base / "meta.json").is_file():
        return "youtube-vos"
    if next(base.glob("*_meta.json"), None) or next(base.parent.glob(f"{base.name}_meta.json"), None):
        return "lvos"
    for mask in islice(_masks_in(base / "Annotations"), _MASKS_LOOKED_AT):
        if _object_folder(base, mask):
            return "sav"
        from masklet.evaluation.labels import read_label_map

        values = np.unique(read_label_map(mask)).tolist()
        if values == [0, 255]:  # black and white: one object, whatever number its pixels have
            return "davis2016"
        if values != [0]:
            break
    return "davis"


def _masks_in(folder: Path) -> Iterator[Path]:
    """PNG files in order, folder by folder: listing all of a large data set takes long."""
    inside = sorted(folder.iterdir())
    yield from (path for path in inside if path.suffix.lower() == ".png")
    for path in inside:
        if path.is_dir():
            yield from _masks_in(path)


def _object_folder(base: Path, mask: Path) -> bool:
    """Whether masks are in a folder per object: Annotations/<video>/<object>/<frame>.png, JPEGImages/<video>/…"""
    return (
        len(mask.relative_to(base / "Annotations").parts) == 3
        and (base / "JPEGImages" / mask.parent.parent.name).is_dir()
        and not (base / "JPEGImages" / mask.parent.parent.name / mask.parent.name).is_dir()
    )


def _documents(folder: Path) -> list[Path]:
    places = [folder, folder / "annotations"]
    return [path for place in places if place.is_dir() for path in sorted(place.glob("*.json"))]


def _layout_of(path: Path) -> str | None:
    """The layout of a JSON file; None for one of something else, of which folders have many."""
    try:
        return _recognise_json(path)
    except InputError:
        return None


def _recognise_json(path: Path) -> str:
    if path.stem.endswith(("_manual", "_auto")):
        return "sav-json"
    with path.open("rb") as file:
        head = file.read(_JSON_HEAD)
        whole = len(head) < _JSON_HEAD
    if b'"masklet"' in head:
        return "sav-json"
    if b'"file_names"' in head or b'"segmentations"' in head:
        return "coco-video"
    if b'"images"' in head or b'"segmentation"' in head:
        return "coco-tracks"
    keys = read_document(path).keys()
    if not whole and keys & {"videos", "images"}:  # the telling entries come later
        return "coco-tracks" if "images" in keys else "coco-video"
    raise InputError(
        f"{path} is neither COCO video JSON (videos with file_names), nor COCO JSON with tracks (images, annotations "
        "with track_id), nor an annotation of SA-V (masklet)"
    )


def _benchmark(name: str, path: Path, split: str | None, settings: FootageSettings) -> list[FootageVideo]:
    """Videos of label maps or of a folder per object, as the benchmark's own reader finds them."""
    from masklet.evaluation import open_layout
    from masklet.evaluation.layouts.base import MaskDataset

    base = _base(path, split)
    dataset = open_layout(name, base, split if base == path else None)
    assert isinstance(dataset, MaskDataset)
    return [SequenceVideo(sequence, base) for sequence in dataset.sequences if sequence.annotated]


def _coco(name: str, path: Path, split: str | None, settings: FootageSettings) -> list[FootageVideo]:
    files = [path] if path.is_file() else _documents(_base(path, split)) or _documents(path)
    if len(files) > 1:
        files = [file for file in files if _layout_of(file) == name]
        files = [file for file in files if split and split in file.stem] or files
    if not files:
        raise InputError(f"{path} holds no JSON file of annotations")
    load = coco.load_videos if name == "coco-video" else coco.load_tracks
    return [video for file in files for video in load(file)]


def _sav_json(path: Path, split: str | None, settings: FootageSettings) -> list[FootageVideo]:
    return list(sav.find_videos(path, settings.masklets))


def _projects(path: Path, split: str | None, settings: FootageSettings) -> list[FootageVideo]:
    return list(projects.find_projects(path, settings.tracked, settings.least_predicted_iou))


_DAVIS = "JPEGImages/<video>, Annotations/<video> with numbers as pixels"
FOOTAGE_LAYOUTS: dict[str, FootageLayout] = {
    name: FootageLayout(name, description, load)
    for name, description, load in (
        ("davis", _DAVIS, partial(_benchmark, "davis2017")),
        ("davis2016", "the same, all that isn't black is one object", partial(_benchmark, "davis2016")),
        ("youtube-vos", "the same with meta.json", partial(_benchmark, "youtube-vos")),
        ("mose", "the same; 255 is an object's number", partial(_benchmark, "mose")),
        ("lvos", "the same with <split>_meta.json", partial(_benchmark, "lvos")),
        ("sav", "JPEGImages_24fps/<video>, Annotations_6fps/<video>/<object>", partial(_benchmark, "sav")),
        ("sav-json", "<id>.mp4 with <id>_manual.json and <id>_auto.json", _sav_json),
        ("coco-video", "YouTube-VIS JSON: videos with file_names", partial(_coco, "coco-video")),
        ("coco-tracks", "COCO JSON: images, annotations with track_id", partial(_coco, "coco-tracks")),
        ("projects", "*.masklet files", _projects),
    )
}
