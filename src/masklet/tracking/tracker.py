"""Track objects through a stream, one frame at a time: webcam, network camera, generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.masks._arrays import as_image
from masklet.models.sam2 import SAM2, ImageFeatures
from masklet.prompts import Prompt, prompts_after, waits
from masklet.results import FrameMasks, Window
from masklet.settings import Shape
from masklet.tracking import closer
from masklet.tracking.engine import Engine
from masklet.tracking.policies import DEFAULT_POLICY, Policy, make_policy
from masklet.tracking.session import check_object_id
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.weights.loading import resolve_model

if TYPE_CHECKING:
    import torch


class VideoTracker:
    """Push frames, get masks: nothing of the past is kept but what the next frame may read.

    Args:
        model, policy, resolution, shape, device, dtype, checkpoint, policy_settings: as for :class:`~masklet.Session`.
            A stream gives the same masks as the same file tracked forwards in a session.

    Example:
        >>> tracker = VideoTracker("nano")
        >>> tracker.push(first_frame, prompts={1: {"box": (60, 70, 170, 215)}})
        >>> for frame in stream:
        ...     mask = tracker.push(frame)[1].mask
    """

    def __init__(
        self,
        model: SAM2 | str | None = None,
        *,
        policy: str | Policy = DEFAULT_POLICY,
        resolution: int | None = None,
        shape: Shape = "square",
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        checkpoint: str | Path | None = None,
        **policy_settings: Any,
    ) -> None:
        self.model = resolve_model(model, device, dtype, checkpoint)
        chosen = make_policy(policy, self.model.spec, **policy_settings)
        self.engine = Engine(self.model, chosen, image_size=resolution, shape=shape)
        self._tracks: dict[int, ObjectTrack] = {}
        self._records: dict[int, FrameRecord] = {}
        self._size: FrameSize | None = None
        self._frame = -1
        self._time: Fraction | None = None
        self._image: np.ndarray | None = None
        self._features: dict[Window | None, ImageFeatures] = {}

    @property
    def object_ids(self) -> list[int]:
        """Ids in the order the objects were added."""
        return list(self._tracks)

    @property
    def frame_index(self) -> int:
        """Index of the frame pushed last, counting from 0; -1 before the first."""
        return self._frame

    def push(
        self,
        image_hwc: np.ndarray,
        prompts: Mapping[int, Mapping[str, Any]] | None = None,
        *,
        time: Fraction | None = None,
    ) -> FrameMasks:
        """Take the next frame and return the masks of every object on it.

        Args:
            image_hwc: uint8 RGB ``[height, width, 3]``; all frames of a stream have one size.
            prompts: ``{object id: {"points": …, "labels": …, "box": …, "mask": …}}`` that decide this frame, as if
                given with :meth:`prompt` right afterwards.
            time: when the frame was taken, in seconds; handed through.

        Raises:
            InputError: not a picture, or not of the size of the frames before.
            PromptError: a prompt can't be used; the frame counts as not pushed.
        """
        image_hwc = as_image(image_hwc, "frame")
        size = FrameSize(image_hwc.shape[1], image_hwc.shape[0])
        if self._size is not None and size != self._size:
            raise InputError(
                f"this frame is {size.width}x{size.height} pixels, but the stream began with "
                f"{self._size.width}x{self._size.height}: resize it, or start a new tracker"
            )
        checked = {
            check_object_id(object_id): self._check_prompt(object_id, prompt, size)
            for object_id, prompt in (prompts or {}).items()
        }
        self._size, self._frame, self._time = size, self._frame + 1, time
        self._image, self._features, self._records = image_hwc, {}, {}
        tracks = list(self._tracks.values())
        for track in tracks:
            # Not earlier: a correction on the frame before may have read what this frame can't.
            self.engine.forget(track, self._frame, 1, prompts=True)
        if tracks:
            found = self.engine.track(self._encoded(), size, self._frame, 1, tracks)
            for track, record in zip(tracks, found, strict=True):
                track.take(record)
                self._records[track.object_id] = record
        for object_id, prompt in checked.items():
            self._decide(object_id, prompt)
        return self._masks()

    def prompt(
        self,
        object_id: int = 1,
        *,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        box: Sequence[float] | np.ndarray | None = None,
        mask: Any = None,
    ) -> FrameMasks:
        """Prompt an object on the frame pushed last: a new one, or a correction that steers what follows.

        Arguments as for :meth:`masklet.Session.add_prompt`; clicks add to earlier ones on this frame.

        Raises:
            InputError: no frame was pushed yet.
            PromptError: the prompt can't be used.
        """
        if self._size is None:
            raise InputError("no frame was pushed yet: push one, then prompt an object on it")
        given = {"points": points, "labels": labels, "box": box, "mask": mask}
        self._decide(check_object_id(object_id), self._check_prompt(object_id, given, self._size))
        return self._masks()

    def remove_object(self, object_id: int) -> None:
        """Stop tracking an object and forget it."""
        if object_id not in self._tracks:
            known = ", ".join(map(str, self._tracks)) or "none yet"
            raise UnknownObjectError(f"there is no object {object_id!r}; the objects are: {known}")
        del self._tracks[object_id]
        self._records.pop(object_id, None)

    def reset(self) -> None:
        """Forget all objects and frames; the network stays."""
        self._tracks.clear()
        self._records, self._size, self._frame = {}, None, -1
        self._image, self._features = None, {}

    def _check_prompt(self, object_id: int, prompt: Mapping[str, Any], size: FrameSize) -> Prompt:
        try:
            made = Prompt.make(**prompt, width=size.width, height=size.height)
        except TypeError as error:
            raise PromptError(f"a prompt has points, labels, box and mask, but got {sorted(prompt)}") from error
        if not made.shows and object_id not in self._tracks:
            what = "clicks only take away" if made.mask is None else "mask is empty"
            raise PromptError(f"object {object_id} is new, but its {what}: show it first")
        return made

    def _encoded(self, window: Window | None = None) -> ImageFeatures:
        """The features of the frame, or of a window of it: those asked for last are kept, besides the frame's."""
        assert self._image is not None
        if window not in self._features:
            self._features = {key: kept for key, kept in self._features.items() if key is None}
            self._features[window] = self.engine.encode(self._image if window is None else window.cut(self._image))
        return self._features[window]

    def _decide(self, object_id: int, prompt: Prompt) -> None:
        assert self._size is not None
        track = self._tracks.get(object_id)
        if track is None:
            track = ObjectTrack(object_id)
        record = self._records.get(object_id)
        mask_there = None if record is None else record.mask_of(object_id, self._size)
        prompts = prompts_after(track.prompts(self._frame), mask_there, prompt)
        track.waiting = {}
        if waits(prompts):  # the object isn't seen here, as the clicks say
            track.waiting = {self._frame: prompts}
            return
        known = track.prompted.get(self._frame)
        record = closer.decide(self.engine, self._encoded, self._size, track, self._frame, prompts, known)
        self._tracks[object_id] = track
        track.prompted = {self._frame: record}
        track.take(record)
        self._records[object_id] = record

    def _masks(self) -> FrameMasks:
        assert self._size is not None
        found = {i: self._records[i].mask_of(i, self._size) for i in self._tracks if i in self._records}
        return FrameMasks(self._frame, found, self._time)
