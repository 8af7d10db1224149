"""How the benchmarks lay their files out, and which frames of which object they score.

`open_layout("davis2017", root, split="val")` gives a `MaskDataset` or a `BoxDataset`; `LAYOUTS` names all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.evaluation.boxes import BoxProtocol
from masklet.evaluation.layouts import boxes, masks
from masklet.evaluation.layouts.base import BoxDataset, MaskDataset


@dataclass(frozen=True, slots=True)
class Layout:
    """One benchmark: how its sequences are found, and for boxes by which rules they are scored."""

    name: str
    description: str
    load: Callable[[Path, str | None], tuple[Any, ...]]
    protocol: BoxProtocol | None = None


_2016 = partial(masks.label_maps, rule=masks.whole_foreground, merged=True, lists=("2016", "480p", "1080p", "2017"))
_2017 = partial(masks.label_maps, rule=masks.from_first_frame, lists=("2017", "2016"))
_MOSE = partial(masks.label_maps, rule=masks.from_appearance, has_void=False, skip_early=True)
_LASOT, _GOT10K = BoxProtocol(), BoxProtocol(average_overlap=True)
_OTB, _UAV = BoxProtocol(absent_normalised_hit=True), BoxProtocol(absent_center_hit=True, absent_normalised_hit=True)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("davis2016", "DAVIS 2016: one object; Annotations/480p", _2016),
        Layout("davis2017", "DAVIS 2017: several objects in one label map", _2017),
        Layout("mose", "MOSE: JPEGImages/<video>, Annotations/<video>", _MOSE),
        Layout("lvos", "LVOS v1 and v2, with <split>_meta.json", masks.lvos),
        Layout("sav", "SA-V: JPEGImages_24fps, Annotations_6fps/<video>/<object>", masks.sav),
        Layout("youtube-vos", "YouTube-VOS, with meta.json", masks.youtube_vos),
        Layout("lasot", "LaSOT: <class>/<class>-<n>/groundtruth.txt", boxes.lasot, _LASOT),
        Layout("lasot-ext", "LaSOT extension subset, same files", boxes.lasot, _LASOT),
        Layout("uav123", "UAV123: data_seq/UAV123, anno/UAV123", boxes.uav123, _UAV),
        Layout("nfs", "Need for Speed, 30 fps (--split 240 for 240 fps)", boxes.nfs, _OTB),
        Layout("otb", "OTB-2015: <sequence>/img, groundtruth_rect.txt", boxes.otb, _OTB),
        Layout("got10k", "GOT-10k: <split>/<sequence>/groundtruth.txt", boxes.got10k, _GOT10K),
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
    sequences = layout.load(folder, split)
    if not sequences:
        raise InputError(f"{folder} holds no sequence in the {name} layout ({layout.description})")
    return BoxDataset(name, sequences, layout.protocol) if layout.protocol else MaskDataset(name, sequences)
