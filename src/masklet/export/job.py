"""What a format gets to write from: the frames of a range with the finished masks of some objects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import CancelledError, ExportError
from masklet.naming import NameTemplate, sanitize, unique_names

if TYPE_CHECKING:
    from masklet.export.output import Output
    from masklet.media import MediaReader
    from masklet.project.finishing import Finishing, Layer
    from masklet.project.records import ProjectObject
    from masklet.project.source import SourceReference
    from masklet.project.store import Project

Progress = Callable[[int, int], None]
Cancel = Callable[[], bool] | threading.Event


@dataclass
class Picture:
    """One frame of an export: `index` in the source, `number` in the export, `time` in seconds since its
    first.

    `layers` holds the objects that have a mask here, by id, in the project's order.
    """

    index: int
    number: int
    time: Fraction
    layers: dict[int, Layer]
    size: tuple[int, int]
    _image_hwc: np.ndarray | None = field(default=None, repr=False)

    @property
    def image_hwc(self) -> np.ndarray:
        """The source frame, uint8 RGB (height, width, 3)."""
        assert self._image_hwc is not None, "this format did not ask for pixels"
        return self._image_hwc

    def alpha_hw(self, object_ids: Sequence[int] | None = None) -> np.ndarray:
        """Opacity of some or all objects together, uint8 0 to 255, (height, width); zeros where none is."""
        together = np.zeros(self.size, np.uint8)
        for number, layer in self.layers.items():
            if object_ids is None or number in object_ids:
                np.maximum(together, layer.opacity_hw, out=together)
        return together


@dataclass
class Job:
    """One export that is going on: these `objects` of a project, in its order, on these frames of the source."""

    project: Project
    format_name: str
    objects: list[ProjectObject]
    frames: range
    finishing: Finishing
    template: str
    output: Output
    progress: Progress | None = None
    cancel: Cancel | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clip = sanitize(self.source.name)
        self.object_names = unique_names({chosen.id: chosen.name for chosen in self.objects})
        self._template = NameTemplate(self.template)

    @property
    def source(self) -> SourceReference:
        return self.project.source

    @property
    def ids(self) -> list[int]:
        """Ids of the objects to export, in the project's order."""
        return [chosen.id for chosen in self.objects]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the source."""
        return self.source.size

    @property
    def reader(self) -> MediaReader:
        """The source. Raises ProjectError when it isn't found."""
        return self.project.open_source()

    def indices(self, every: int = 1, tracked_only: bool = False) -> list[int]:
        """Source frames of this export: each `every`-th, or of those only the ones that have a mask."""
        wanted = self.frames[::every]
        if not tracked_only:
            return list(wanted)
        tracked: set[int] = set()
        for number in self.ids:
            tracked.update(self.project.tracked_frames(number))
        return [index for index in wanted if index in tracked]

    def pictures(self, indices: Sequence[int] | None = None, *, pixels: bool = True) -> Iterator[Picture]:
        """The frames with their finished masks, in order; all of the range by default.

        Reports progress and stops with CancelledError when the caller wants that.
        """
        wanted = self.indices() if indices is None else list(indices)
        if not wanted:
            raise ExportError("There is no frame to export in this range.")
        first = self.source.time_of(wanted[0])
        for number, (index, image_hwc, layers) in enumerate(self.finishing.layers(wanted, pixels)):
            self.check_cancelled()
            yield Picture(index, number, self.source.time_of(index) - first, layers, self.size, image_hwc)
            if self.progress:
                self.progress(number + 1, len(wanted))
        self.check_cancelled()
        if pixels:
            self.notes += self.reader.damage_notes(set(wanted))

    def check_cancelled(self) -> None:
        """Raises CancelledError when the caller asked to stop."""
        if self.cancel is None:
            return
        wanted = self.cancel.is_set() if isinstance(self.cancel, threading.Event) else self.cancel()
        if wanted:
            raise CancelledError("The export was stopped; nothing was written.")

    def path(
        self,
        picture: Picture | None = None,
        chosen: ProjectObject | None = None,
        suffix: str = "",
    ) -> PurePosixPath:
        """A relative file name from the template, for a frame, an object, or both; `suffix` is added if
        missing.
        """
        values: dict[str, str | int] = {"clip": self.clip, "format": self.format_name}
        if chosen is not None:
            values |= {"object": self.object_names[chosen.id], "id": chosen.id}
        elif len(self.objects) == 1:
            values |= {"object": self.object_names[self.ids[0]], "id": self.ids[0]}
        else:
            values |= {"object": "all", "id": 0}
        if picture is not None:
            values |= {"frame": picture.index, "number": picture.number}
        named = self._template.fill(values)
        return named if not suffix or named.suffix.lower() == suffix else named.with_name(named.name + suffix)


def choose_objects(project: Project, wanted: Sequence[int | str] | None) -> list[ProjectObject]:
    """Objects by id or name; without a choice all visible ones. Raises UnknownObjectError, ExportError."""
    there = project.objects()
    if not there:
        raise ExportError(f"{project.path.name} has no objects yet, so there is nothing to export. Track one first.")
    if wanted is None:
        shown = [found for found in there if found.visible]
        if not shown:
            raise ExportError(
                "All objects of this project are hidden, so there is nothing to export. "
                "Show one, or say which to export."
            )
        return shown
    if not wanted:
        raise ExportError("No object was chosen, so there is nothing to export.")
    return project.find_objects(wanted)


def frames_between(source: SourceReference, start: int | None, end: int | None) -> range:
    """The frames from `start` to `end`, both included; all by default. Raises ExportError where some don't exist."""
    first = 0 if start is None else start
    last = source.frame_count - 1 if end is None else end
    if not 0 <= first < source.frame_count or not 0 <= last < source.frame_count:
        raise ExportError(
            f"Frames {first} to {last} are not all in the source, which has frames 0 to {source.frame_count - 1}."
        )
    if last < first:
        raise ExportError(f"The last frame to export ({last}) comes before the first one ({first}).")
    return range(first, last + 1)


def require_masks(job: Job) -> None:
    """Raises ExportError where there is nothing to export, saying why."""
    span = f"frames {job.frames[0]} to {job.frames[-1]}"
    names = ", ".join(f"{chosen.id} ({chosen.name})" for chosen in job.objects)
    seen = 0
    for record in job.project.masks(job.ids, job.frames.start, job.frames.stop):
        seen += 1
        if record.area:
            return
    if seen:
        raise ExportError(
            f"Nothing to export: all {seen} masks of object {names} in {span} are "
            "empty (the object was lost, or never found). Correct it on a frame where it can be seen."
        )
    tracked = sorted({frame for number in job.ids for frame in job.project.tracked_frames(number)})
    where = f"Its masks are on frames {tracked[0]} to {tracked[-1]}." if tracked else "Track it first."
    raise ExportError(f"Nothing to export: object {names} has no mask in {span}. {where}")
