"""SA-V's training set: <id>.mp4 at 24 frames a second with <id>_manual.json and <id>_auto.json at 6.

Files are opened when a clip of them is asked for: there are 50,000 videos.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.training.footage.handles import kept_open
from masklet.training.footage.jsons import expecting, read_document, to_masks
from masklet.training.footage.videos import MediaVideo

if TYPE_CHECKING:
    from masklet.media import MediaReader

KINDS = ("manual", "auto")
EVERY = 4  # frames of the video from one annotated frame to the next
_AUTO_IDS = 100_000  # ids of automatic masklets start here, so that they differ from those of manual ones


@dataclass
class _Masklets:
    """The JSON files of a video: {frame: {object: run lengths}}."""

    frame_count: int
    size_hw: tuple[int, int]
    by_frame: dict[int, dict[int, Any]]


class SavVideo(MediaVideo):
    """A video with its masklets, which may overlap (a person, and their hand)."""

    exclusive = False

    def __init__(self, video: Path, documents: dict[str, Path]) -> None:
        """`documents` are the JSON files by kind: manual, auto."""
        super().__init__(video.stem, video)
        self._documents = documents

    def __len__(self) -> int:
        return self._masklets.frame_count

    @property
    def annotated(self) -> Sequence[int]:
        return sorted(self._masklets.by_frame)

    def known_masks(self, index: int) -> dict[int, np.ndarray]:
        where = f"{self.path}: masklet {{}} on frame {index}"
        return to_masks(self._masklets.by_frame[index], self._masklets.size_hw, where)

    def object_name(self, object_id: int) -> str:
        kind = "automatic" if object_id >= _AUTO_IDS else "manual"
        return f"{kind} masklet {object_id % _AUTO_IDS}"

    def _reader(self) -> MediaReader:
        from masklet.media import open_media

        return kept_open(("media", str(self.path)), lambda: open_media(self.path))

    @property
    def _masklets(self) -> _Masklets:
        return kept_open(("sav", str(self.path), *self._documents), self._load)

    def _load(self) -> _Masklets:
        merged: dict[int, dict[int, Any]] = {}
        count, size_hw = 0, (0, 0)
        for kind, path in self._documents.items():
            document = read_document(path)
            with expecting(path, "an annotation of SA-V"):
                frames = document["masklet"]
                count = int(document["video_frame_count"])
                size_hw = int(document["video_height"]), int(document["video_width"])
                every = step_between(len(frames), count)
                ids = [int(number) for number in document["masklet_id"]]
                first = _AUTO_IDS if kind == "auto" else 0
                for place, objects in enumerate(frames):
                    # the last annotated frame can come after the last one that the count knows
                    if place * every < count:
                        found = {first + ids[n]: run_lengths for n, run_lengths in enumerate(objects) if run_lengths}
                        merged.setdefault(place * every, {}).update(found)
        return _Masklets(count, size_hw, merged)


def step_between(annotated: int, frame_count: int) -> int:
    """Frames of the video per annotated frame: 4, unless the file was made of all frames or of another choice."""
    for step in (EVERY, 1, 2, 3, 5, 6, 8):
        if -(-frame_count // step) == annotated:
            return step
    return max(1, round(frame_count / max(1, annotated)))


def find_videos(root: Path, masklets: str) -> list[SavVideo]:
    """All videos with annotations in a folder and its subfolders (or for one JSON file).

    Raises InputError where videos are missing.
    """
    find, name = root.rglob, "*"
    if root.is_file():
        find, name = root.parent.glob, glob.escape(root.stem.removesuffix("_manual").removesuffix("_auto"))
    files = {kind: sorted(find(f"{name}_{kind}.json")) for kind in KINDS}
    kinds = KINDS if masklets == "both" else (masklets,)
    found: dict[Path, dict[str, Path]] = {}
    for kind in kinds:
        for path in files[kind]:
            found.setdefault(path.with_name(path.stem.removesuffix(f"_{kind}") + ".mp4"), {})[kind] = path
    if not found:
        raise InputError(
            f"{root} holds no {' or '.join(f'*_{kind}.json' for kind in kinds)} of SA-V"
            + (f"; it has others: leave masklets={masklets!r} out" if any(files.values()) else "")
        )
    missing = [video for video in found if not video.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(found)} annotated videos are missing, the first is {missing[0]}. "
            "Put the mp4 files beside the JSON files, as SA-V has them."
        )
    return [SavVideo(video, documents) for video, documents in sorted(found.items())]
