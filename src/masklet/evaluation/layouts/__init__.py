"""How the benchmarks lay their files out, and which frames of which object they score.

`open_layout("davis2017", root, split="val")` gives a `MaskDataset` or a `BoxDataset`; `LAYOUTS` names all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.evaluation.layouts import davis, got10k, lasot, lvos, nfs, otb, sav, uav123, youtube_vos
from masklet.evaluation.layouts.base import (
    BoxDataset,
    BoxSequence,
    MaskDataset,
    MaskSequence,
    Target,
)

__all__ = [
    "LAYOUTS",
    "BoxDataset",
    "BoxSequence",
    "Layout",
    "MaskDataset",
    "MaskSequence",
    "Target",
    "open_layout",
]

Loader = Callable[[Path, "str | None"], "MaskDataset | BoxDataset"]


@dataclass(frozen=True, slots=True)
class Layout:
    """One benchmark: what it measures and how its files are found."""

    name: str
    measures: str  # "masks" or "boxes"
    description: str
    load: Loader


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("davis2016", "masks", "DAVIS 2016: one object; Annotations/480p", davis.load_2016),
        Layout("davis2017", "masks", "DAVIS 2017: several objects in one label map", davis.load_2017),
        Layout("mose", "masks", "MOSE: JPEGImages/<video>, Annotations/<video>", davis.load_mose),
        Layout("lvos", "masks", "LVOS v1 and v2, with <split>_meta.json", lvos.load),
        Layout("sav", "masks", "SA-V: JPEGImages_24fps, Annotations_6fps/<video>/<object>", sav.load),
        Layout("youtube-vos", "masks", "YouTube-VOS, with meta.json", youtube_vos.load),
        Layout("lasot", "boxes", "LaSOT: <class>/<class>-<n>/groundtruth.txt", lasot.load),
        Layout("lasot-ext", "boxes", "LaSOT extension subset, same files", lasot.load_extension),
        Layout("uav123", "boxes", "UAV123: data_seq/UAV123, anno/UAV123", uav123.load),
        Layout("nfs", "boxes", "Need for Speed, 30 fps (--split 240 for 240 fps)", nfs.load),
        Layout("otb", "boxes", "OTB-2015: <sequence>/img, groundtruth_rect.txt", otb.load),
        Layout("got10k", "boxes", "GOT-10k: <split>/<sequence>/groundtruth.txt", got10k.load),
    )
}


def open_layout(name: str, root: Path | str, split: str | None = None) -> MaskDataset | BoxDataset:
    """Finds the sequences of a data set. Files are opened later, sequence by sequence.

    Args:
        name: one of `LAYOUTS`.
        root: the folder that the data set was unpacked into.
        split: "train", "val", "test" … as the data set calls it; None takes what is there.

    Raises:
        InputError: unknown layout, no such folder, or no sequence in it.
    """
    layout = LAYOUTS.get(name)
    if layout is None:
        raise InputError(f"unknown layout '{name}'; known are {', '.join(LAYOUTS)}")
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"no folder at {folder}")
    dataset = layout.load(folder, split)
    if not dataset.sequences:
        raise InputError(f"{folder} holds no sequence in the {name} layout ({layout.description})")
    return dataset
