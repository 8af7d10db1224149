"""Masks for the page, finished by their mask settings with the same functions as every export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.finish import FinishedMask, finish_frame
from masklet.masks.settings import MaskSettings
from masklet.project import Project
from masklet.project.finishing import Finishing, network_cells
from masklet.project.records import ProjectObject
from masklet.results import ObjectMask
from masklet.studio.frames import FrameStore
from masklet.studio.schemas import FrameMasksState, ObjectMaskState

MOST_FRAMES = 256
_SHARP = 1.5  # a feather up to here is no more than antialiasing


def mask_state(mask: ObjectMask, settings: MaskSettings | None = None) -> ObjectMaskState:
    """A mask as the API gives it, with the settings that finish it where they are to be told of."""
    soft = settings is not None and settings.feather > _SHARP
    return ObjectMaskState(object=mask.object_id, soft=soft, **mask.to_json())


def is_plain(settings: Iterable[MaskSettings]) -> bool:
    """Whether settings leave the pixels of masks as they are (soft edges aside)."""
    return all(not setting.touches_masks and not setting.exclusive for setting in settings)


class Overlays:
    """The masks of one project, for its page."""

    def __init__(self, project: Project, frames: FrameStore) -> None:
        self.project, self.frames = project, frames

    def raw(self, start: int, end: int) -> list[FrameMasksState]:
        """Masks as they were tracked, of frames `start` to `end`, both included."""
        self.check(start, end)
        return [
            FrameMasksState(frame=frame, objects=[mask_state(mask) for mask in masks.values()])
            for frame, masks in self.project.frames(None, start, end + 1)
        ]

    def finished(
        self,
        start: int,
        end: int,
        changes: Mapping[str, Any] | None = None,
        object_ids: Sequence[int] | None = None,
    ) -> list[FrameMasksState]:
        """Masks as their settings want them; `changes` are put on top of those, to look at without keeping them.

        Raises InputError for settings that there are not, UnknownObjectError.
        """
        self.check(start, end)
        objects = self._objects(object_ids)
        settings = self._settings(objects, changes)
        return self._shown(list(self.project.frames(sorted(settings), start, end + 1)), objects, settings)

    def before(self, step: int, start: int, end: int) -> list[FrameMasksState]:
        """Finished masks as they were before a step of the history and all that are done since, but not smoothed in
        time."""
        self.check(start, end)
        objects = self.project.objects()
        settings = self._settings(objects, {"smooth_frames": 0})
        kept = []
        for frame in range(start, end + 1):
            found = {known.id: self.project.mask_before(step, frame, known.id) for known in objects}
            kept.append((frame, {number: mask for number, mask in found.items() if mask is not None}))
        return self._shown(kept, objects, settings)

    def _shown(
        self,
        frames: Iterable[tuple[int, Mapping[int, ObjectMask]]],
        objects: Sequence[ProjectObject],
        settings: Mapping[int, MaskSettings],
    ) -> list[FrameMasksState]:
        plain = is_plain(settings.values())
        shown = []
        for frame, masks in frames:
            done = {} if plain else self._finish(frame, masks, objects, settings)
            as_done = {i: replace(masks[i], run_lengths=rle.encode(done[i].mask_hw)) for i in done}
            states = [mask_state(mask, settings[number]) for number, mask in {**masks, **as_done}.items()]
            shown.append(FrameMasksState(frame=frame, objects=states))
        return shown

    def news(self, masks: Iterable[ObjectMask]) -> tuple[list[ObjectMaskState], bool]:
        """Masks that were just found, of objects that are still there, and whether they are shown as they are."""
        masks = list(masks)
        found = {mask.object_id for mask in masks}
        settings = self._settings([known for known in self.project.objects() if known.id in found], None)
        states = [mask_state(mask, settings[mask.object_id]) for mask in masks if mask.object_id in settings]
        return states, is_plain(settings[state.object] for state in states)

    def alpha_png(self, frame: int, object_id: int, changes: Mapping[str, Any] | None = None) -> bytes:
        """The opacity of one object on a frame as 8-bit grey PNG, soft edges included.

        Raises InputError where it has no mask there.
        """
        self.check(frame, frame)
        chosen = self.project.get_object(object_id)
        settings = self._settings([chosen], changes)
        records = dict(next(iter(self.project.frames([object_id], frame, frame + 1)), (frame, {}))[1])
        if not records:
            raise InputError(f"{chosen.name} has no mask on frame {frame}.")
        alpha_hw = self._finish(frame, records, [chosen], settings)[object_id].alpha_hw
        return cv2.imencode(".png", alpha_hw, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()

    def _finish(
        self,
        frame: int,
        records: Mapping[int, ObjectMask],
        objects: Sequence[ProjectObject],
        settings: Mapping[int, MaskSettings],
    ) -> Mapping[int, FinishedMask]:
        if any(settings[number].smooth_frames for number in records):
            # Smoothing looks at the frames around, as the export does.
            found: dict[int, FinishedMask] = {}
            for chosen in objects:
                if chosen.id in records:
                    finishing = Finishing(self.project, [chosen], settings[chosen.id])
                    for _, _, layers in finishing.layers([frame], pixels=False):
                        if chosen.id in layers:
                            layer = layers[chosen.id]
                            found[chosen.id] = FinishedMask(layer.mask_hw, layer.opacity_hw)
            return found
        refines = any(settings[number].refine > 0 for number in records)
        return finish_frame(
            {number: record.mask for number, record in records.items()},
            settings,
            self.frames.picture(frame) if refines else None,
            self.project.source.size,
            network_cells(self.project) if refines else None,
            {number: record.precedence for number, record in records.items()},
        )

    def _objects(self, object_ids: Sequence[int] | None) -> list[ProjectObject]:
        if object_ids is None:
            return self.project.objects()
        return [self.project.get_object(number) for number in dict.fromkeys(object_ids)]

    def _settings(self, objects: Sequence[ProjectObject], changes: Mapping[str, Any] | None) -> dict[int, MaskSettings]:
        given = changes or {}
        return {chosen.id: self.project.settings_of(chosen).changed(**given) for chosen in objects}

    def check(self, start: int, end: int) -> None:
        """Raises InputError unless these frames are in the source, and not too many."""
        last = self.project.source.frame_count - 1
        if not 0 <= start <= end <= last:
            raise InputError(f"Frames {start} to {end} are not in the source, which has frames 0 to {last}.")
        if end - start >= MOST_FRAMES:
            raise InputError(f"At most {MOST_FRAMES} frames at a time; {start} to {end} are more.")
