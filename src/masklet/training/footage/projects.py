"""Masklet projects as training data: what was painted and prompted, and what was tracked surely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.masks import rle
from masklet.training.footage.handles import kept_open
from masklet.training.footage.videos import MediaVideo

if TYPE_CHECKING:
    from masklet.media import MediaReader
    from masklet.project import Project


class _Labels:
    """An open project and, for each visible object, the frames on which its mask can be trusted.

    Mask settings (holes, growth, smoothing) are not applied: they are for the look of an export.
    """

    def __init__(self, path: Path, tracked: bool, least_predicted_iou: float) -> None:
        from masklet.project import Project

        self.project: Project = Project.open(path, read_only=True)
        try:
            self.names = {found.id: found.name for found in self.project.objects() if found.visible}
            self.frame_count = self.project.source.frame_count
            self.trusted: dict[int, set[int]] = {}
            for object_id in self.names:
                self.trusted[object_id] = {
                    int(row["frame"])
                    for row in self.project.scores(object_id)
                    if _can_be_trusted(row, tracked, least_predicted_iou)
                }
            # a mask that was given as a prompt and not tracked from yet
            self.given: dict[tuple[int, int], rle.RLE] = {}
            for place, prompts in self.project.said().items():
                known, mask = self.trusted.get(place[1]), prompts[-1].mask
                if known is not None and mask is not None and place[0] not in known:
                    self.given[place] = mask
            for frame, object_id in self.given:
                self.trusted[object_id].add(frame)
            self.annotated = sorted(set().union(*self.trusted.values()))
        except BaseException:
            self.project.close()
            raise

    def close(self) -> None:
        self.project.close()


def _can_be_trusted(row: dict[str, Any], tracked: bool, least_predicted_iou: float) -> bool:
    if row["painted"]:
        return True
    # lost may mean hidden or missed, so it says nothing
    if row["lost"]:
        return False
    if row["is_prompt"]:
        return True
    iou, score = row["predicted_iou"], row["object_score"]
    return tracked and (score is None or score > 0) and (iou is None or iou >= least_predicted_iou)


class ProjectVideo(MediaVideo):
    """The video of a masklet project. It is opened read-only, and found again where it moved (see docs/projects.md)."""

    exclusive = False

    def __init__(self, path: Path, tracked: bool = True, least_predicted_iou: float = 0.7) -> None:
        super().__init__(path.stem, path)
        self._trust = tracked, least_predicted_iou

    def __len__(self) -> int:
        return self._labels.frame_count

    @property
    def annotated(self) -> Sequence[int]:
        return self._labels.annotated

    def unknown(self, index: int) -> frozenset[int]:
        return frozenset(number for number, frames in self._labels.trusted.items() if index not in frames)

    def known_masks(self, index: int) -> dict[int, np.ndarray]:
        labels, found = self._labels, {}
        for object_id, frames in labels.trusted.items():
            if index not in frames:
                continue
            if (given := labels.given.get((index, object_id))) is not None:
                found[object_id] = rle.decode(given)
            elif (record := labels.project.mask(index, object_id)) is not None:
                found[object_id] = record.mask
        return found

    def object_name(self, object_id: int) -> str:
        return self._labels.names.get(object_id, super().object_name(object_id))

    def _reader(self) -> MediaReader:
        return self._labels.project.open_source()

    @property
    def _labels(self) -> _Labels:
        return kept_open(("project", str(self.path), *self._trust), lambda: _Labels(self.path, *self._trust))


def find_projects(root: Path, tracked: bool, least_predicted_iou: float) -> list[ProjectVideo]:
    """The projects in a folder and its subfolders, or the one that is named; those without a mask are left out.

    Raises:
        InputError: there is none, or none has a mask to learn from.
        ProjectError: one of them can't be read.
    """
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*.masklet") if path.is_file())
    videos = [ProjectVideo(path, tracked, least_predicted_iou) for path in paths]
    usable = [video for video in videos if video.annotated]
    if not usable:
        raise InputError(
            f"None of the {len(videos)} projects in {root} has a mask to learn from"
            + ("" if tracked else " (only painted and prompted masks were asked for)")
            + ". Track or paint objects in them first."
        )
    return usable
