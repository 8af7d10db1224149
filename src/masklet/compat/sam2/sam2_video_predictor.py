"""The official video predictor's methods over :class:`masklet.Session`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masklet.compat.sam2.errors import NoSuchObjectError, StateError
from masklet.compat.sam2.modeling.sam2_base import SAM2Base
from masklet.errors import PromptError
from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING
from masklet.models.sam2 import resize, upsample
from masklet.prompts import numbers
from masklet.results import FrameMasks, ObjectMask
from masklet.settings import ABSENT
from masklet.tracking.session import Session

#: What all objects but the first on a pixel have at most, where objects must not overlap.
_COVERED = -10.0

#: Frame index, object ids, and the objects' logits ``[objects, 1, height, width]``.
Output = tuple[int, list[int], Tensor]


class InferenceState(Mapping[str, Any]):
    """One video being tracked: what ``init_state`` gives, with the entries that callers of the official package read.

    Attributes:
        session: the :class:`masklet.Session` that holds everything.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    def _entries(self) -> dict[str, Any]:
        session, ids = self.session, self.session.object_ids
        return {
            "num_frames": session.frame_count,
            "video_height": session.size.height,
            "video_width": session.size.width,
            "images": session.video,
            "obj_ids": ids,
            "obj_id_to_idx": {object_id: index for index, object_id in enumerate(ids)},
            "obj_idx_to_id": dict(enumerate(ids)),
            "device": session.model.device,
            "storage_device": session.model.device,
        }

    def __getitem__(self, key: str) -> Any:
        entries = self._entries()
        if key not in entries:
            raise KeyError(f"{key!r}: an inference state of masklet has only {', '.join(entries)}")
        return entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())


class SAM2VideoPredictor(SAM2Base):
    """Prompt objects on any frame of a video and propagate their masks; from ``build_sam2_video_predictor``.

    Methods, arguments and answers are the official package's (its newest version: objects may be added after tracking
    began). Frames that were corrected keep their correction, where the official package tracks over them. Errors are
    masklet's, which are ``ValueError`` or ``RuntimeError`` where the official package raises these.
    """

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
        """See :func:`~masklet.compat.sam2.build_sam.build_sam2_video_predictor_hf`."""
        from masklet.compat.sam2.build_sam import build_sam2_video_predictor_hf

        return build_sam2_video_predictor_hf(model_id, **kwargs)

    def init_state(
        self,
        video_path: Any,
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """Open a video: a file, a folder of JPEG or PNG frames of any naming, or anything masklet opens.

        The other arguments change nothing: frames are read when their turn comes, and memories of the past are on disk.

        Raises:
            MediaError: it is missing, damaged or not a video.
        """
        return InferenceState(
            Session(
                video_path,
                self.network,
                policy=self.policy,
                resolution=self.image_size,
                shape=self.settings.shape,
                stability_fallback=self.settings.stability_fallback,
                binarize_prompts=self.settings.binarize_prompts,
                short_clip_pointers=True,
                correct_from_memory=True,
            )
        )

    # --- prompts -----------------------------------------------------------------------------------------------

    def add_new_points_or_box(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
    ) -> Output:
        """Click or box an object on a frame.

        Args:
            points: ``[n, 2]`` x, y in pixels of the frame (from 0 to 1 without ``normalize_coords``).
            labels: 1 (this) or 0 (not this) for each point; 2 and 3 mark the corners of a box.
            clear_old_points: forget earlier clicks on this frame; a box needs it. The mask so far is taken into account
                either way.
            box: ``[4]`` x1, y1, x2, y2.

        Returns:
            The frame, all object ids, and the objects' logits on it, ``[objects, 1, height, width]`` float32; -1024
            everywhere for an object without a mask there.

        Raises:
            PromptError (a ValueError): the prompt can't be used.
            InputError: no such frame.
        """
        if (points is None) != (labels is None):
            raise PromptError("points and labels must be provided together")
        if box is not None and not clear_old_points:
            raise PromptError(
                "a box can't be added to old points: it has to come before them (use clear_old_points=True)"
            )
        session = inference_state.session
        scale = np.ones(2) if normalize_coords else np.array([session.size.width, session.size.height])
        if box is not None:
            box = numbers(box, "box").reshape(-1)
            if box.size == 4:
                box = box * np.tile(scale, 2)
        if points is not None:
            points = numbers(points, "points")
            points = points.reshape(-1, points.shape[-1] if points.ndim else 1)
            labels = numbers(labels, "labels").reshape(-1)
            if len(points) == len(labels) and points.shape[1] == 2:
                points, labels, box = _take_out_box(points * scale, labels, box)
        session.add_prompt(
            frame_idx,
            obj_id,
            points=points,
            labels=labels,
            box=box,
            replace=clear_old_points,
        )
        return self._on_frame(session, frame_idx)

    def add_new_points(self, *args: Any, **kwargs: Any) -> Output:
        """The old name of :meth:`add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(self, inference_state: InferenceState, frame_idx: int, obj_id: int, mask: Any) -> Output:
        """Show an object on a frame by its mask, ``[h, w]`` of any size, anything above 0 being the object.

        Returns and raises as :meth:`add_new_points_or_box`.
        """
        session = inference_state.session
        size = (session.size.height, session.size.width)
        inside = torch.from_numpy(numbers(mask, "mask")) > 0
        if inside.ndim != 2:
            raise PromptError(f"a mask has rows and columns, but this one has the shape {tuple(inside.shape)}")
        if inside.numel():
            inside = resize(inside[None, None].float(), size, antialias=True)[0, 0] >= 0.5
        session.add_prompt(frame_idx, obj_id, mask=inside)
        return self._on_frame(session, frame_idx)

    def clear_all_prompts_in_frame(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, need_output: bool = True
    ) -> Output | None:
        """Take an object's prompts on a frame back. Answers as :meth:`add_new_points_or_box`, if ``need_output``."""
        session = inference_state.session
        session.clear_prompts(frame_idx, obj_id)
        return self._on_frame(session, frame_idx) if need_output else None

    def remove_object(
        self, inference_state: InferenceState, obj_id: int, strict: bool = False, need_output: bool = True
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Forget an object.

        Returns:
            The ids that are left, and, if ``need_output``, ``(frame, logits)`` of the frames on which it was prompted.

        Raises:
            NoSuchObjectError (a RuntimeError): there is no such object, and ``strict``.
        """
        session = inference_state.session
        if obj_id not in session.object_ids:
            if strict:
                raise NoSuchObjectError(f"object {obj_id!r} can't be removed; the objects are: {session.object_ids}")
            return session.object_ids, []
        frames = session.prompt_frames(obj_id)
        session.remove_object(obj_id)
        if not need_output or not session.object_ids:
            return session.object_ids, []
        return session.object_ids, [(frame, self._on_frame(session, frame)[2]) for frame in frames]

    def reset_state(self, inference_state: InferenceState) -> None:
        """Forget all objects."""
        inference_state.session.reset()

    # --- tracking ----------------------------------------------------------------------------------------------

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """Check that there is something to track, and that every object was prompted.

        Raises:
            StateError (a RuntimeError): there isn't, or an object wasn't.
        """
        session = inference_state.session
        if not session.object_ids:
            raise StateError("no object was prompted: give points, a box or a mask first")
        for object_id in session.object_ids:
            if not session.prompt_frames(object_id):
                raise StateError(f"object {object_id} has no points, box or mask: give one, or remove the object")

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Output]:
        """Track all objects, frame by frame; prompts may be added and objects removed in between.

        Args:
            start_frame_idx: first frame (the earliest prompt by default).
            max_frame_num_to_track: how many frames to go on after the first (to the end by default).
            reverse: backwards; from frame 0 that is nothing.

        Yields:
            As :meth:`add_new_points_or_box` returns.

        Raises:
            StateError, InputError: on the first frame: nothing to track, or no such frame.
        """
        self.propagate_in_video_preflight(inference_state)
        session = inference_state.session
        if start_frame_idx is None:
            start_frame_idx = min(frame for i in session.object_ids for frame in session.prompt_frames(i))
        if reverse and start_frame_idx == 0:
            return
        stop = None
        if max_frame_num_to_track is not None:
            if max_frame_num_to_track < 0:
                return
            stop = start_frame_idx + (-max_frame_num_to_track if reverse else max_frame_num_to_track)
            stop = min(max(stop, 0), session.frame_count - 1)
        direction = "backward" if reverse else "forward"
        for masks in session.propagate(start_frame_idx, stop, direction=direction):
            yield masks.index, list(masks.objects), self._logits(session, masks)

    # --- answers -----------------------------------------------------------------------------------------------

    def _on_frame(self, session: Session, frame: int) -> Output:
        """What is known about a frame, with blanks for objects that have no mask there."""
        return int(frame), session.object_ids, self._logits(session, session.masks(frame), session.object_ids)

    def _logits(self, session: Session, masks: FrameMasks, ids: list[int] | None = None) -> Tensor:
        ids = list(masks.objects) if ids is None else ids
        height, width = session.size.height, session.size.width
        known = [row for row, object_id in enumerate(ids) if object_id in masks.objects]
        full = torch.full((len(ids), 1, height, width), ABSENT, dtype=torch.float32, device=self.device)
        if known:
            low = torch.stack([_low_res(masks[ids[row]]) for row in known])[:, None]
            found = upsample(low, height, width)
            if len(known) < len(ids):
                full[known] = found
            else:
                full = found
        if self.settings.non_overlap_masks and len(ids) > 1:
            front = full.argmax(dim=0, keepdim=True)
            behind = torch.arange(len(ids), device=full.device)[:, None, None, None] != front
            full = torch.where(behind, full.clamp(max=_COVERED), full)
        return full


class SAM2VideoPredictorVOS(SAM2VideoPredictor):
    """The official package's compiled predictor; here the same as the other."""


def _low_res(mask: ObjectMask) -> Tensor:
    assert mask.low_res_logits_hw is not None
    return mask.low_res_logits_hw


def _take_out_box(
    points_n2: np.ndarray, labels_n: np.ndarray, box: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Points and labels without padding and without the two that stand for a box's corners, and the box."""
    if box is None and BOX_TOP_LEFT in labels_n and BOX_BOTTOM_RIGHT in labels_n:
        corners = [int(np.flatnonzero(labels_n == label)[0]) for label in (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)]
        box = points_n2[corners].reshape(-1)
        points_n2, labels_n = np.delete(points_n2, corners, axis=0), np.delete(labels_n, corners)
    clicks = labels_n != PADDING
    if not clicks.any():
        return None, None, box
    return points_n2[clicks], labels_n[clicks], box
