"""Stored masks as the mask settings of their objects want them: the same steps for every export and preview."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.finish import ClipFinisher, FinishedMask
from masklet.masks.settings import MaskSettings

if TYPE_CHECKING:
    from masklet.media import MediaReader
    from masklet.project.records import ProjectObject
    from masklet.project.store import Project
    from masklet.results import ObjectMask


@dataclass
class Layer:
    """One object on one frame, finished: cleaned, refined and softened as its mask settings say.

    `mask_hw` is the mask with a hard edge, boolean (height, width); `alpha_hw` the opacity, uint8 0 to 255, None where
    it is the same. `record` is what tracking kept, `made_hw` the mask that finishing made of it, None where it made
    none, and `untouched` says that the mask came out as it went in.
    """

    object: ProjectObject
    record: ObjectMask
    made_hw: np.ndarray | None
    alpha_hw: np.ndarray | None
    untouched: bool

    @property
    def mask_hw(self) -> np.ndarray:
        """The finished mask, bool (height, width)."""
        # Unpacked only for those who look at pixels: what writes run lengths needs none.
        return self.record.mask if self.made_hw is None else self.made_hw

    @cached_property
    def rle(self) -> rle.RLE:
        """The finished mask as run lengths."""
        return self.record.rle if self.untouched else rle.encode(self.mask_hw)

    @cached_property
    def opacity_hw(self) -> np.ndarray:
        """Opacity, uint8 0 to 255, (height, width)."""
        return self.mask_hw.view(np.uint8) * np.uint8(255) if self.alpha_hw is None else self.alpha_hw


Finished = tuple[int, "np.ndarray | None", dict[int, Layer]]


class Finishing:
    """The masks of some objects of a project, finished by their settings or by `override`.

    Without `soft`, edges stay hard: feathering is left out.
    """

    def __init__(
        self,
        project: Project,
        objects: Sequence[ProjectObject],
        override: Mapping[str, Any] | MaskSettings | None = None,
        *,
        soft: bool = True,
    ) -> None:
        """Raises InputError for settings that don't exist or are out of range."""
        self._project = project
        self._chosen = {chosen.id: chosen for chosen in objects}
        self._settings = {number: self._resolve(number, override, soft) for number in self._chosen}
        self._involved = list(self._chosen)
        if any(settings.exclusive for settings in self._settings.values()):
            # Objects give way to others also when those are not exported.
            others = [known.id for known in project.objects() if known.visible and known.id not in self._chosen]
            self._involved += others
            self._settings |= {number: self._resolve(number, override, soft) for number in others}
        self._plain = not any(_changes(settings) for settings in self._settings.values())
        self._finisher: ClipFinisher | None = None
        self._waiting: dict[int, tuple[np.ndarray | None, Mapping[int, ObjectMask]]] = {}

    @property
    def alone(self) -> bool:
        """Whether every mask is finished by itself, so that frames may come one object at a time, in any order."""
        return not any(settings.smooth_frames or settings.exclusive for settings in self._settings.values())

    def layers(self, indices: Sequence[int], pixels: bool) -> Iterator[Finished]:
        """(frame, its picture where `pixels`, layers by object id) for every index, which must rise."""
        reach = max(settings.smooth_frames for settings in self._settings.values())
        plan = list(indices)
        if reach:
            last = self._project.source.frame_count - 1
            plan = list(range(max(0, plan[0] - reach), min(last, plan[-1] + reach) + 1))
        looks = any(settings.refine > 0 or settings.smooth_frames for settings in self._settings.values())
        reader = self._project.open_source() if pixels or looks else None
        wanted = set(indices)
        for index, records, image in zip(plan, self._records(plan), _images(reader, plan), strict=True):
            yield from (found for found in self.push(index, records, image) if found[0] in wanted)
        yield from (found for found in self.flush() if found[0] in wanted)

    def push(self, index: int, records: Mapping[int, ObjectMask], image_hwc: np.ndarray | None) -> list[Finished]:
        """Takes the masks of the next frame, and its picture; gives the frames that are finished now, in order."""
        if self._plain:
            return [(index, image_hwc, self._untouched(records))]
        if self._finisher is None:
            # How coarse the network's outlines are matters to refinement only; finding out takes PyTorch's import.
            refines = any(settings.refine > 0 for settings in self._settings.values())
            cells = network_cells(self._project) if refines else None
            self._finisher = ClipFinisher(self._settings, self._project.source.size, cells)
        self._waiting[index] = image_hwc, records
        done = self._finisher.push(
            index,
            {number: record.mask for number, record in records.items()},
            image_hwc,
            {number: record.precedence for number, record in records.items()},
            {number for number, record in records.items() if record.painted or record.is_prompt},
        )
        return self._hand_out(done)

    def flush(self) -> list[Finished]:
        """The frames that waited for others; what is pushed after it begins anew."""
        finisher, self._finisher = self._finisher, None
        return [] if finisher is None else self._hand_out(finisher.flush())

    def _resolve(self, number: int, override: Mapping[str, Any] | MaskSettings | None, soft: bool) -> MaskSettings:
        if override is None:
            settings = self._project.settings_of(number)
        else:
            settings = override if isinstance(override, MaskSettings) else MaskSettings.from_dict(override)
        return settings if soft else settings.changed(feather=0.0)

    def _records(self, plan: Sequence[int]) -> Iterator[dict[int, ObjectMask]]:
        stored = self._project.frames(self._involved, plan[0], plan[-1] + 1)
        nothing: tuple[int | None, dict[int, ObjectMask]] = (None, {})
        frame, records = next(stored, nothing)
        for index in plan:
            while frame is not None and frame < index:
                frame, records = next(stored, nothing)
            found = records if frame == index else {}
            yield {number: found[number] for number in self._involved if number in found}

    def _untouched(self, records: Mapping[int, ObjectMask]) -> dict[int, Layer]:
        return {
            number: Layer(chosen, records[number], None, None, True)
            for number, chosen in self._chosen.items()
            if number in records
        }

    def _hand_out(self, done: Sequence[tuple[int, dict[int, FinishedMask]]]) -> list[Finished]:
        finished: list[Finished] = []
        for index, masks in done:
            image, records = self._waiting.pop(index)
            layers = {
                number: Layer(
                    chosen,
                    records[number],
                    masks[number].mask_hw,
                    masks[number].alpha_hw,
                    not _changes(self._settings[number].changed(feather=0.0)),
                )
                for number, chosen in self._chosen.items()
                if number in records
            }
            finished.append((index, image, layers))
        return finished


def network_cells(project: Project) -> int | None:
    """Pixels a side of the masks that the project's network makes, which says how coarse its outlines are."""
    from masklet.models.specs import get_spec

    settings = project.track_settings
    if settings.resolution is not None:
        return settings.resolution // 4
    try:
        return get_spec(settings.model).image_size // 4
    except InputError:
        return None


def _changes(settings: MaskSettings) -> bool:
    return settings.touches_masks or settings.feather > 0 or settings.exclusive


def _images(reader: MediaReader | None, plan: Sequence[int]) -> Iterator[np.ndarray | None]:
    if reader is None:
        for _ in plan:
            yield None
        return
    steps = {later - sooner for sooner, later in pairwise(plan)} or {1}
    if len(steps) == 1:
        for frame in reader.frames(plan[0], plan[-1] + 1, steps.pop()):
            yield frame.image_hwc
        return
    for index in plan:
        yield reader.read(index).image_hwc
