"""Masks for the page, finished by their mask settings with the same functions as every export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.finish import FinishedMask, finish_frame
from masklet.masks.settings import MaskSettings
from masklet.project import Project, ProjectObject
from masklet.project.finishing import Finishing, network_cells
from masklet.results import ObjectMask
from masklet.studio.frames import FrameStore
from masklet.studio.schemas import FrameMasksState, ObjectMaskState, Rle

MOST_FRAMES = 256
_SHARP = 1.5  # a feather up to here is no more than antialiasing


def mask_state(
    record: ObjectMask, run_lengths: Mapping[str, Any] | None = None, settings: MaskSettings | None = None
) -> ObjectMaskState:
    """A mask as the API gives it; `run_lengths` are those of the finished mask, the record's own by default."""
    shown = record.rle if run_lengths is None else run_lengths
    return ObjectMaskState(
        object=record.object_id,
        rle=Rle(size=list(shown["size"]), counts=shown["counts"]),
        **vars(record.scores),
        candidate=record.candidate,
        lost=record.lost,
        prompt=record.is_prompt,
        painted=record.painted,
        soft=settings is not None and settings.feather > _SHARP,
    )


def is_plain(settings: Iterable[MaskSettings]) -> bool:
    """Whether settings leave the pixels of masks as they are (soft edges aside)."""
    return all(not one.touches_masks and not one.exclusive for one in settings)


class Overlays:
    """The masks of one project, for its page."""

    def __init__(self, project: Project, frames: FrameStore) -> None:
        self.project, self.frames = project, frames

    def raw(self, start: int, end: int) -> list[FrameMasksState]:
        """Masks as they were tracked, of frames `start` to `end`, both included."""
        self._check(start, end)
        return [
            FrameMasksState(frame=frame, objects=[mask_state(record) for record in records.values()])
            for frame, records in self.project.frames(None, start, end + 1)
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
        self._check(start, end)
        objects = self._objects(object_ids)
        settings = self._settings(objects, changes)
        shown = set(settings)
        if is_plain(settings.values()):
            return [
                FrameMasksState(
                    frame=frame,
                    objects=[mask_state(one, None, settings[one.object_id]) for one in records.values()],
                )
                for frame, records in self.project.frames(sorted(shown), start, end + 1)
            ]
        done = []
        for frame, records in list(self.project.frames(sorted(shown), start, end + 1)):
            masks = self._finish(frame, records, objects, settings)
            done.append(
                FrameMasksState(
                    frame=frame,
                    objects=[
                        mask_state(
                            record,
                            rle.encode(masks[number].mask_hw) if number in masks else None,
                            settings[number],
                        )
                        for number, record in records.items()
                    ],
                )
            )
        return done

    def alpha_png(self, frame: int, object_id: int, changes: Mapping[str, Any] | None = None) -> bytes:
        """The opacity of one object on a frame as 8-bit grey PNG, soft edges included.

        Raises InputError where it has no mask there.
        """
        self._check(frame, frame)
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
            for one in objects:
                if one.id in records:
                    finishing = Finishing(self.project, [one], settings[one.id])
                    for _, _, layers in finishing.layers([frame], pixels=False):
                        if one.id in layers:
                            layer = layers[one.id]
                            found[one.id] = FinishedMask(layer.mask_hw, layer.opacity_hw)
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
        return {chosen.id: self.project.settings_of(chosen.id).changed(**given) for chosen in objects}

    def _check(self, start: int, end: int) -> None:
        last = self.project.source.frame_count - 1
        if not 0 <= start <= end <= last:
            raise InputError(f"Frames {start} to {end} are not in the source, which has frames 0 to {last}.")
        if end - start >= MOST_FRAMES:
            raise InputError(f"At most {MOST_FRAMES} frames at a time; {start} to {end} are more.")
