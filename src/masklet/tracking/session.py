"""Prompt any frame of a video for any object, and propagate masks forwards and backwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.models import SAM2, ImageFeatures
from masklet.runtime import threads
from masklet.tracking.engine import Engine, FrameSize
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies import DEFAULT_POLICY, MotionState, Policy, make_policy
from masklet.tracking.prompts import Prompt
from masklet.tracking.results import FrameMasks, ObjectMask
from masklet.tracking.spool import Spool
from masklet.tracking.track import FrameRecord, ObjectTrack
from masklet.weights.loading import resolve_model

if TYPE_CHECKING:
    import torch

    from masklet.media import Frame, MediaReader

_FEATURES_KEPT = 2
#: Frames that wait with their features for the one before.
_FRAMES_AHEAD = 1
DIRECTIONS = {"forward": (1,), "backward": (-1,), "both": (1, -1)}


class Session:
    """One video with its objects.

    Args:
        video: a path, anything :func:`masklet.open_media` takes, or an open reader.
        model: a network, or the name of one (``nano`` by default).
        policy: ``samurai`` (default), ``recency``, or a policy object.
        resolution: side of the network's square input (the model's own by default).
        device, dtype, checkpoint: see :func:`masklet.load_model`.
        stability_fallback: a single mask whose outline is unsure gives way to the best of three.
        short_clip_pointers: treat clips shorter than the model's number of object pointers as the official package
            does, which scales the pointers' time to the clip's length. A stream can't know its length, so this is off
            by default: a stream and a file give the same masks.
        spool_limit: bytes on disk for memories of tracked frames (4 GiB); see :class:`~masklet.tracking.spool.Spool`.
        policy_settings: settings of a policy given by name (``kf_score_weight=0.15`` …).

    Raises:
        InputError, MediaError, CheckpointError, DeviceError: what was given can't be used.
    """

    def __init__(
        self,
        video: Any,
        model: SAM2 | str | None = None,
        *,
        policy: str | Policy = DEFAULT_POLICY,
        resolution: int | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        checkpoint: str | Path | None = None,
        stability_fallback: bool = True,
        binarize_prompts: bool = True,
        short_clip_pointers: bool = False,
        spool_limit: int | None = None,
        **policy_settings: Any,
    ) -> None:
        from masklet.media import MediaReader, open_media

        self._owns_video = not isinstance(video, MediaReader)
        self.video: MediaReader = open_media(video) if self._owns_video else video
        self.model = resolve_model(model, device, dtype, checkpoint)
        spec = self.model.spec
        max_pointers = min(len(self.video), spec.max_pointers) if short_clip_pointers else None
        self.engine = Engine(
            self.model,
            make_policy(policy, spec, **policy_settings),
            image_size=resolution,
            stability_fallback=stability_fallback,
            binarize_prompts=binarize_prompts,
            max_pointers=max_pointers,
        )
        self.size = FrameSize(self.video.info.width, self.video.info.height)
        self._tracks: dict[int, ObjectTrack] = {}
        self._spool = Spool() if spool_limit is None else Spool(spool_limit)
        self._features: OrderedDict[int, ImageFeatures] = OrderedDict()

    # --- what there is -----------------------------------------------------------------------------------------

    @property
    def frame_count(self) -> int:
        return len(self.video)

    @property
    def object_ids(self) -> list[int]:
        """Ids in the order the objects were added."""
        return list(self._tracks)

    @property
    def policy(self) -> Policy:
        return self.engine.policy

    def prompts(self, object_id: int) -> dict[int, Prompt]:
        """An object's prompts by frame."""
        return dict(sorted(self._track(object_id).prompts.items()))

    def tracked_frames(self, object_id: int) -> list[int]:
        """Frames for which the object has a mask, prompted or tracked."""
        track = self._track(object_id)
        return sorted({*track.prompted, *self._spool.entries(object_id)})

    def masks(self, frame: int) -> FrameMasks:
        """The masks a frame has so far, of the objects that have one there."""
        self._check_frame(frame)
        found = {}
        for track in self._tracks.values():
            record = self._record(track, frame)
            if record is not None:
                found[track.object_id] = self._result(track, record)
        return FrameMasks(frame, found, self.video.time_of(frame))

    # --- prompts -----------------------------------------------------------------------------------------------

    def add_prompt(
        self,
        frame: int,
        object_id: int = 1,
        *,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        box: Sequence[float] | np.ndarray | None = None,
        mask: Any = None,
        replace: bool = False,
        use_previous_mask: bool | None = None,
    ) -> FrameMasks:
        """Prompt an object on a frame; the answer decides this frame, whatever was tracked there before.

        On a frame that tracking has visited, clicks correct the mask that memory gives; on a new one they stand alone.

        Args:
            frame: index of the frame.
            object_id: any integer; a new id is a new object.
            points: x, y pairs in pixels of the frame.
            labels: 1 (this) or 0 (not this) for each point; all 1 by default.
            box: x1, y1, x2, y2.
            mask: bool ``[height, width]``; all false says that the object isn't here.
            replace: forget earlier clicks and box on this frame instead of adding to them.
            use_previous_mask: feed the frame's mask so far back to the decoder (by default unless ``replace``).

        Returns:
            The masks of all objects that have one on this frame.

        Raises:
            PromptError: the prompt can't be used (see :meth:`Prompt.make`).
            InputError: the frame is not in the video.
        """
        self._check_frame(frame)
        prompt = Prompt.make(points, labels, box, mask, width=self.size.width, height=self.size.height)
        track = self._tracks.get(object_id)
        new = track is None
        if track is None:
            track = ObjectTrack(check_object_id(object_id))
        earlier = track.prompts.get(frame)
        if earlier is not None and not replace:
            prompt = earlier.joined(prompt)
        if prompt.mask_hw is not None and not prompt.mask_hw.any() and not set(track.prompts) - {frame}:
            raise PromptError(
                "the mask is empty, and nothing else shows the object: paint it, or prompt it on another frame first"
            )
        if use_previous_mask is None:
            use_previous_mask = not replace
        features = self._encode(frame)
        step = self._visited(track, frame)
        previous = self._record(track, frame) if use_previous_mask else None
        if step:
            self._enter(track, frame, step)
        record = self.engine.decide(
            features,
            self.size,
            track,
            frame,
            prompt,
            correction_step=step,
            previous_low_res=None if previous is None else previous.low_res_11hw,
        )
        if new:
            self._tracks[object_id] = track
        self._take_prompt(track, prompt, record)
        return self.masks(frame)

    def clear_prompts(self, frame: int, object_id: int) -> FrameMasks:
        """Take an object's prompts on a frame back; what tracking had found there counts again.

        An object without any prompt left has nothing to be tracked by: its masks go too, its id stays.
        """
        self._check_frame(frame)
        track = self._track(object_id)
        track.prompts.pop(frame, None)
        track.prompted.pop(frame, None)
        track.visited.pop(frame, None)
        track.bank.prompts.pop(frame, None)
        track.cursor = None
        if not track.prompts:
            self._spool.discard(object_id)
            track.bank, track.visited = MemoryBank(), {}
        return self.masks(frame)

    def remove_object(self, object_id: int) -> None:
        """Forget an object."""
        self._track(object_id)
        del self._tracks[object_id]
        self._spool.discard(object_id)

    def reset(self) -> None:
        """Forget all objects; video and network stay."""
        self._tracks.clear()
        self._spool.clear()

    # --- tracking ----------------------------------------------------------------------------------------------

    def propagate(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        direction: str = "forward",
        objects: Sequence[int] | None = None,
    ) -> Iterator[FrameMasks]:
        """Track objects through the video, yielding every frame's masks as soon as they are known.

        Prompt frames keep their masks; objects may be prompted, added or removed between frames.

        Args:
            start: first frame (the earliest prompt by default).
            stop: last frame to track, inclusive (the video's end in that direction by default). With ``both``, use two
                calls to set the two ends.
            direction: ``forward``, ``backward``, or ``both`` (forwards from ``start``, then backwards from it).
            objects: ids to track (all by default).

        Raises:
            InputError: a frame out of range, an unknown direction, or no object has a prompt.
            UnknownObjectError: an id that isn't there.
        """
        steps = DIRECTIONS.get(direction)
        if steps is None:
            raise InputError(f"there is no direction {direction!r}; choose one of: {', '.join(DIRECTIONS)}")
        chosen = list(self._tracks) if objects is None else [self._track(i).object_id for i in objects]
        prompted = [frame for i in chosen for frame in self._tracks[i].prompts]
        if not prompted:
            raise InputError("nothing to track: give an object a point, box or mask on some frame first")
        if start is None:
            start = min(prompted) if direction != "backward" else max(prompted)
        self._check_frame(start)
        if stop is not None:
            self._check_frame(stop)
            if direction == "both":
                raise InputError("with direction 'both' there is no single stop: call forward and backward in turn")
            if (stop - start) * steps[0] < 0:
                raise InputError(f"frame {stop} does not lie {direction} of frame {start}")
        return self._propagate(start, stop, steps, None if objects is None else set(chosen))

    def _propagate(
        self, start: int, stop: int | None, steps: Sequence[int], chosen: set[int] | None
    ) -> Iterator[FrameMasks]:
        for turn, step in enumerate(steps):
            first = start if turn == 0 else start + step
            end = (self.frame_count if step > 0 else -1) if stop is None else stop + step
            if (end - first) * step <= 0:
                continue
            few = self.engine.threads_beside()
            for frame, features in self._frames(first, None if end < 0 else end, step, few):
                tracks = [t for t in self._tracks.values() if (chosen is None or t.object_id in chosen) and t.prompts]
                if not tracks:
                    return
                if features is not None:
                    self._keep(frame.index, features)
                with threads(few):
                    masks = self._advance(frame, step, tracks)
                yield masks

    def _frames(
        self, first: int, end: int | None, step: int, few: int | None
    ) -> Iterator[tuple[Frame, ImageFeatures | None]]:
        """The frames in turn; where frames overlap (``few`` threads each), with features made by another thread."""
        from masklet.media.prefetch import prefetched

        frames = self.video.frames(first, end, step)
        if few is None:
            yield from ((frame, None) for frame in frames)
            return

        def encoded() -> Iterator[tuple[Frame, ImageFeatures | None]]:
            with threads(few):
                for frame in frames:
                    known = frame.index in self._features
                    yield frame, None if known else self.engine.encode(frame.image_hwc)

        yield from prefetched(encoded, _FRAMES_AHEAD)

    def _advance(self, frame: Frame, step: int, tracks: Sequence[ObjectTrack]) -> FrameMasks:
        found: dict[int, FrameRecord] = {}
        going = [track for track in tracks if frame.index not in track.prompted]
        for track in tracks:
            self._enter(track, frame.index, step)
        if going:
            features = self._encode(frame.index, frame.image_hwc)
            for track, record in zip(
                going, self.engine.track(features, self.size, frame.index, step, going), strict=True
            ):
                found[track.object_id] = record
                self._take(track, record)
        for track in tracks:
            record = found.get(track.object_id) or track.prompted[frame.index]
            found[track.object_id] = record
            if record.is_prompt:
                track.visited[record.frame] = step
            track.motion = record.motion
            track.cursor = (frame.index, step)
            self._trim(track, frame.index + step, step)
        results = {track.object_id: self._result(track, found[track.object_id]) for track in tracks}
        return FrameMasks(frame.index, results, frame.time)

    # --- the state of a track ----------------------------------------------------------------------------------

    def _enter(self, track: ObjectTrack, frame: int, step: int) -> None:
        """Bring a track's memories and motion to where tracking is about to look at ``frame``."""
        if track.cursor == (frame - step, step):
            return
        entries = self._spool.entries(track.object_id)
        # The policy picks what it wants by the scores alone; only that is read from disk.
        behind = MemoryBank(
            track.bank.prompts,
            {
                t: FrameMemory(t, None, None, e.object_score, e.predicted_iou, e.motion_score)  # type: ignore[arg-type]
                for t, e in entries.items()
                if (frame - t) * step > 0 and t not in track.bank.prompts
            },
        )
        wanted = self.policy.reach(behind, frame, step, self.model.spec, self.engine.max_pointers)
        track.bank.recent = {
            t: memory for t in wanted if t in behind.recent and (memory := self._memory(track, t)) is not None
        }
        before = self._record(track, frame - step)
        # Belief about motion runs in one direction of time only.
        goes_on = before is not None and before.step in (0, step)
        track.motion = before.motion if before is not None and goes_on else MotionState()
        track.cursor = (frame - step, step)

    def _take(self, track: ObjectTrack, record: FrameRecord) -> None:
        assert record.memory is not None
        track.bank.add(record.memory)
        self._spool.put(track.object_id, record)

    def _take_prompt(self, track: ObjectTrack, prompt: Prompt, record: FrameRecord) -> None:
        assert record.memory is not None
        track.prompts[record.frame] = prompt
        track.prompted[record.frame] = record
        track.bank.add(record.memory)
        track.cursor = None

    def _trim(self, track: ObjectTrack, frame: int, step: int) -> None:
        """Drop memories that neither ``frame`` nor any frame after it can read."""
        track.bank.keep(self.policy.reach(track.bank, frame, step, self.model.spec, self.engine.max_pointers))

    def _visited(self, track: ObjectTrack, frame: int) -> int:
        """The direction in which tracking has passed a frame, 0 if it has not."""
        if frame in track.visited:  # later than what was tracked there before it was prompted
            return track.visited[frame]
        entry = self._spool.entries(track.object_id).get(frame)
        return 0 if entry is None else entry.step

    def _memory(self, track: ObjectTrack, frame: int) -> FrameMemory | None:
        record = self._spool.get(track.object_id, frame, self.model.device, self.model.dtype)
        return None if record is None else record.memory

    def _record(self, track: ObjectTrack, frame: int) -> FrameRecord | None:
        if frame in track.prompted:
            return track.prompted[frame]
        return self._spool.get(track.object_id, frame, self.model.device, self.model.dtype)

    # --- helpers -----------------------------------------------------------------------------------------------

    def _encode(self, frame: int, image_hwc: np.ndarray | None = None) -> ImageFeatures:
        features = self._features.get(frame)
        if features is None:
            if image_hwc is None:
                image_hwc = self.video.read(frame).image_hwc
            features = self.engine.encode(image_hwc)
            self._keep(frame, features)
        return features

    def _keep(self, frame: int, features: ImageFeatures) -> None:
        self._features[frame] = features
        while len(self._features) > _FEATURES_KEPT:
            self._features.popitem(last=False)

    def _result(self, track: ObjectTrack, record: FrameRecord) -> ObjectMask:
        return make_result(track.object_id, record, self.size)

    def _track(self, object_id: int) -> ObjectTrack:
        if object_id not in self._tracks:
            known = ", ".join(map(str, self._tracks)) or "none yet"
            raise UnknownObjectError(f"there is no object {object_id!r}; the objects are: {known}")
        return self._tracks[object_id]

    def _check_frame(self, frame: int) -> None:
        if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)):
            raise InputError(f"a frame is a whole number, but got {frame!r}")
        if not 0 <= frame < self.frame_count:
            raise InputError(f"frame {frame} is not in the video, which has frames 0 to {self.frame_count - 1}")

    def close(self) -> None:
        """Free what the session holds; the network stays loaded for others."""
        self.reset()
        self._features.clear()
        if self._owns_video:
            self.video.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def make_result(object_id: int, record: FrameRecord, size: FrameSize) -> ObjectMask:
    """A record as the caller sees it."""
    return ObjectMask(
        object_id=object_id,
        low_res_logits_hw=record.low_res_11hw[0, 0],
        width=size.width,
        height=size.height,
        object_score=record.object_score,
        predicted_iou=record.predicted_iou,
        motion_score=record.motion_score,
        candidate=record.candidate,
        is_prompt=record.is_prompt,
        low_res_candidates_nhw=None if record.candidates_1nhw is None else record.candidates_1nhw[0],
        explanation=record.explanation,
    )


def check_object_id(object_id: int) -> int:
    """An object's id as a plain integer; :class:`InputError` for anything else."""
    if isinstance(object_id, bool) or not isinstance(object_id, (int, np.integer)):
        raise InputError(f"an object's id is a whole number, but got {object_id!r}")
    return int(object_id)
