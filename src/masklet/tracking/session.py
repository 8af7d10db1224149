"""Prompt any frame of a video for any object, and propagate masks forwards and backwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace as changed
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.models.sam2 import SAM2, ImageFeatures
from masklet.prompts import Prompt, prompts_after, waits
from masklet.results import FrameMasks, ObjectMask, Window
from masklet.runtime import threads
from masklet.settings import Shape, check_shape
from masklet.tracking import closer
from masklet.tracking.engine import Engine
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies import DEFAULT_POLICY, Policy, make_policy
from masklet.tracking.policies.base import State
from masklet.tracking.spool import Spool
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.tracking.zoom import Zoom
from masklet.weights.loading import resolve_model

if TYPE_CHECKING:
    import torch

    from masklet.media import Frame, MediaReader

#: Frames whose features are kept in any case.
_FEATURES_KEPT = 2
#: Frames that wait with their features for the one before.
_FRAMES_AHEAD = 1
DIRECTIONS = {"forward": (1,), "backward": (-1,), "both": (1, -1)}


class Session:
    """One video with its objects.

    Args:
        video: a path, anything :func:`masklet.open_media` takes, or an open reader.
        model: a network, or the name of one (``nano`` by default).
        policy: the name of one (``samurai`` by default; docs/policies.md tells of all), or a policy object.
        resolution: side of the network's input, the longer one (the model's own by default).
        shape: ``square``, into which frames are stretched, or ``fit`` for their own proportions (docs/shapes.md).
        zoom: look at small objects through a window around them, at the source's full resolution
            (docs/small-objects.md).
        device, dtype, checkpoint: see :func:`masklet.load_model`.
        stability_fallback: a single mask whose outline is unsure gives way to the best of three.
        short_clip_pointers: treat clips shorter than the model's number of object pointers as the official package
            does, which scales the pointers' time to the clip's length. A stream can't know its length, so this is off
            by default: a stream and a file give the same masks.
        correct_from_memory: clicks on a tracked frame are decoded on top of what memory says there, as the official
            package does. Without it they correct the mask that is there, which means the same whatever was tracked
            before: the prompts that :meth:`prompts` gives come to the same mask in any session.
        feature_bytes: what the network saw of frames is kept up to so many bytes (two frames in any case), so that the
            next prompt on one of them is quick.
        picture: gives a frame's picture, uint8 RGB ``[height, width, 3]``, for prompts; by default ``video`` is read.
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
        shape: Shape = "square",
        zoom: bool = False,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        checkpoint: str | Path | None = None,
        stability_fallback: bool = True,
        binarize_prompts: bool = True,
        short_clip_pointers: bool = False,
        correct_from_memory: bool = False,
        feature_bytes: int = 0,
        picture: Callable[[int], np.ndarray] | None = None,
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
            shape=shape,
            stability_fallback=stability_fallback,
            binarize_prompts=binarize_prompts,
            max_pointers=max_pointers,
        )
        self.size = FrameSize(self.video.info.width, self.video.info.height)
        self._tracks: dict[int, ObjectTrack] = {}
        self._spool = Spool() if spool_limit is None else Spool(spool_limit)
        self.zoom = zoom
        if zoom and correct_from_memory:
            raise InputError("zoom and correct_from_memory don't go together: leave one of them out")
        check_shape(shape, zoom)
        self._zoom = Zoom(self.engine, self.size, self._encode) if zoom else None
        # By frame, and the window of it.
        self._features: OrderedDict[tuple[int, Window | None], ImageFeatures] = OrderedDict()
        self._feature_bytes = feature_bytes
        self._picture = picture or (lambda frame: self.video.read(frame).image_hwc)
        self._correct_from_memory = correct_from_memory
        self._previewed: tuple[int, FrameRecord] | None = None
        self._frame: Frame | None = None

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

    @property
    def frame(self) -> Frame | None:
        """The frame, with its picture, whose masks :meth:`propagate` gave last."""
        return self._frame

    def prompts(self, frame: int, object_id: int) -> tuple[Prompt, ...]:
        """What is said about an object on a frame, in order. :meth:`set_prompts` takes it back, in any session."""
        self._check_frame(frame)
        return self._track(object_id).prompts(frame)

    def prompt_frames(self, object_id: int) -> list[int]:
        """Frames on which something is said about an object, rising."""
        track = self._track(object_id)
        return sorted({*track.prompted, *track.waiting})

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
                found[track.object_id] = record.mask_of(track.object_id, self.size)
        return FrameMasks(frame, found, self.video.time_of(frame))

    def encode(self, frame: int) -> None:
        """Let the network look at a frame, so that the first prompt there is quick. Raises InputError, MediaError."""
        self._check_frame(frame)
        self._encode(frame)

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
    ) -> FrameMasks:
        """Prompt an object on a frame; the answer decides this frame, whatever was tracked there before.

        On a frame that shows the object already, clicks and a box correct the mask that is there (see
        :func:`~masklet.prompts.prompts_after`). Clicks that only take away wait where there is no mask yet: they
        correct the one that tracking finds when it comes there.

        Args:
            frame: index of the frame.
            object_id: any integer; a new id is a new object.
            points: x, y pairs in pixels of the frame.
            labels: 1 (this) or 0 (not this) for each point; all 1 by default.
            box: x1, y1, x2, y2.
            mask: bool ``[height, width]``, taken as it is; all false says that the object isn't here.
            replace: forget what was said on this frame before, and the mask that is there.

        Returns:
            The masks of all objects that have one on this frame.

        Raises:
            PromptError: the prompt can't be used (see :meth:`Prompt.make`).
            InputError: the frame is not in the video.
        """
        frame = self._check_frame(frame)
        prompt = Prompt.make(points, labels, box, mask, width=self.size.width, height=self.size.height)
        track = self._tracks.get(object_id)
        there = () if track is None or replace else track.prompts(frame)
        if self._correct_from_memory:
            shown = None if track is None else self._record(track, frame)
            known = None if shown is None else changed(shown, prompts=there)
            return self._say(frame, object_id, (*there, prompt), known)
        mask_there = None if replace else self.masks(frame).objects.get(object_id)
        return self.set_prompts(frame, object_id, prompts_after(there, mask_there, prompt))

    def set_prompts(self, frame: int, object_id: int, prompts: Sequence[Prompt]) -> FrameMasks:
        """Say just this about an object on a frame, instead of what was said before; nothing takes it back.

        Prompts that go on from those that the frame has are answered from there.

        Returns and raises as :meth:`add_prompt`.
        """
        frame = self._check_frame(frame)
        prompts = self._fitted(prompts)
        track = self._tracks.get(object_id)
        if not prompts:
            return self.clear_prompts(frame, object_id)
        if track is not None and track.prompts(frame) == prompts:
            return self.masks(frame)
        return self._say(frame, object_id, prompts, None if track is None else track.prompted.get(frame))

    def preview(self, frame: int, prompts: Sequence[Prompt], object_id: int = 0) -> ObjectMask:
        """The mask that prompts would give. Nothing is kept but what makes the next preview quick.

        Raises:
            PromptError: a prompt can't be used, or all of them only take away.
            InputError: the frame is not in the video.
        """
        frame = self._check_frame(frame)
        prompts = self._fitted(prompts)
        if waits(prompts):
            raise PromptError("there is nothing to take away from: click on the object first, or draw a box")
        track = ObjectTrack(object_id)
        known = self._tracks[object_id].prompted.get(frame) if object_id in self._tracks else None
        if prompts[1:] and (known is None or known.prompts != prompts[:-1]):
            if self._previewed is None or self._previewed[0] != frame or self._previewed[1].prompts != prompts[:-1]:
                self._previewed = frame, self._decide(track, frame, prompts[:-1], known)
            known = self._previewed[1]
        return self._decide(track, frame, prompts, known).mask_of(object_id, self.size)

    def candidates(self, frame: int, object_id: int) -> tuple[ObjectMask, ...]:
        """All masks that the network offered for the prompts of a frame; none where it offered only one."""
        self._check_frame(frame)
        record = self._offered(self._track(object_id), frame)
        return () if record is None else record.candidates_of(object_id, self.size)

    def choose(self, frame: int, object_id: int, candidate: int) -> FrameMasks:
        """Take another of the :meth:`candidates`; the prompts say so from then on.

        Raises InputError where there are no candidates, or none of this number.
        """
        record = self._offered(self._track(object_id), frame)
        offered = () if record is None else record.candidates_of(object_id, self.size)
        if record is None or not offered:
            raise InputError("There is only one mask here: candidates come with the first click on an object.")
        if not 0 <= candidate < len(offered):
            raise InputError(f"There is no candidate {candidate}: the prompts gave 0 to {len(offered) - 1}.")
        assert record.explanation is not None
        prompts = prompts_after(record.prompts, None, Prompt(mask=offered[candidate].rle, origin="candidate"))
        if candidate == int(np.argmax(record.explanation.final_scores)):  # what the policy chose by itself
            return self.set_prompts(frame, object_id, prompts[:-1])
        return self._say(frame, object_id, prompts, changed(record, prompts=prompts[:-1]))

    def clear_prompts(self, frame: int, object_id: int) -> FrameMasks:
        """Take an object's prompts on a frame back; what tracking had found there counts again.

        An object without any prompt left has nothing to be tracked by: its masks go too, its id stays.
        """
        self._check_frame(frame)
        track = self._track(object_id)
        self._take_back(track, frame)
        if not track.prompted:
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
        self._previewed = None

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
        prompted = [frame for i in chosen for frame in self._tracks[i].prompted]
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
            # What is looked at is known only after the frame before, so nothing of it can be made ahead.
            few = None if self.zoom else self.engine.threads_beside()
            for frame, features in self._frames(first, None if end < 0 else end, step, few):
                tracks = [t for t in self._tracks.values() if (chosen is None or t.object_id in chosen) and t.prompted]
                if not tracks:
                    return
                if features is not None:
                    self._keep((frame.index, None), features)
                with threads(few):
                    masks = self._advance(frame, step, tracks)
                self._frame = frame
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
                    known = (frame.index, None) in self._features
                    yield frame, None if known else self.engine.encode(frame.image_hwc)

        yield from prefetched(encoded, _FRAMES_AHEAD)

    def _advance(self, frame: Frame, step: int, tracks: Sequence[ObjectTrack]) -> FrameMasks:
        found: dict[int, FrameRecord] = {}
        going = [track for track in tracks if frame.index not in track.prompted]
        for track in tracks:
            self._enter(track, frame.index, step)
        if going:
            for track, record in zip(going, self._look(frame, step, going), strict=True):
                self._take(track, record)
                if frame.index in track.waiting:
                    self._say(frame.index, track.object_id, track.waiting[frame.index], None)
                found[track.object_id] = track.prompted.get(frame.index, record)
        for track in tracks:
            record = found.get(track.object_id) or track.prompted[frame.index]
            found[track.object_id] = record
            if record.is_prompt:
                track.visited[record.frame] = step
            track.state, track.before = record.state, record
            track.cursor = (frame.index, step)
            self.engine.forget(track, frame.index + step, step)
        results = {i: record.mask_of(i, self.size) for i, record in ((t.object_id, found[t.object_id]) for t in tracks)}
        return FrameMasks(frame.index, results, frame.time)

    def _look(self, frame: Frame, step: int, tracks: Sequence[ObjectTrack]) -> list[FrameRecord]:
        """Find objects on a frame."""
        if self._zoom is None:
            features = self._encode(frame.index, frame.image_hwc)
            return self.engine.track(features, self.size, frame.index, step, tracks)
        found = []
        for track in tracks:
            *again, record = self._zoom.track(frame.index, frame.image_hwc, step, track)
            for anew in again:
                self._take(track, anew)
            found.append(record)
        return found

    def _decide(
        self,
        track: ObjectTrack,
        frame: int,
        prompts: Sequence[Prompt],
        known: FrameRecord | None = None,
        step: int | None = None,
    ) -> FrameRecord:
        """Let prompts decide a frame; see :meth:`Engine.decide`."""
        if self._zoom is not None:
            return self._zoom.decide(track, frame, prompts, known)
        if self._correct_from_memory:  # as in the official package, which looks at whole frames
            features = self._encode(frame)
            return self.engine.decide(features, self.size, track, frame, prompts, known, correction_step=step)
        look = partial(self._encode, frame, None)
        return closer.decide(self.engine, look, self.size, track, frame, prompts, known)

    # --- the state of a track ----------------------------------------------------------------------------------

    def _enter(self, track: ObjectTrack, frame: int, step: int) -> None:
        """Bring a track's memories and state to where tracking is about to look at ``frame``."""
        if track.cursor == (frame - step, step):
            return
        # The policy picks what it wants by its state and the scores; only that is read from disk.
        track.state, wanted = self._place(track, frame, step)
        track.bank.recent = {t: memory for t in sorted(wanted) if (memory := self._memory(track, t)) is not None}
        track.before = self._record(track, frame - step) if self.zoom else None
        track.cursor = (frame - step, step)

    def _take(self, track: ObjectTrack, record: FrameRecord) -> None:
        assert record.memory is not None
        track.bank.add(record.memory)
        self._spool.put(track.object_id, record)

    def _say(self, frame: int, object_id: int, prompts: tuple[Prompt, ...], known: FrameRecord | None) -> FrameMasks:
        """Let prompts decide a frame, or wait for its mask; see :meth:`Engine.decide` for ``known``."""
        track = self._tracks.get(object_id)
        if track is None:
            track = ObjectTrack(check_object_id(object_id))
        step = None
        if self._correct_from_memory:
            step = self._visited(track, frame)
        elif waits(prompts):
            tracked = self._spool.get(object_id, frame, self.model.device, self.model.dtype)
            mask_there = None if tracked is None else tracked.mask_of(object_id, self.size)
            prompts = reduce(lambda there, prompt: prompts_after(there, mask_there, prompt), prompts, ())
            if waits(prompts):
                self._take_back(track, frame)
                track.waiting[frame], self._tracks[object_id] = prompts, track
                return self.masks(frame)
        if not (any(prompt.shows or prompt.takes_away for prompt in prompts) or set(track.prompted) - {frame}):
            raise PromptError(
                "the mask is empty, and nothing else shows the object: paint it, or prompt it on another frame first"
            )
        if step:
            self._enter(track, frame, step)
        record = self._decide(track, frame, prompts, known, step)
        assert record.memory is not None
        self._tracks[object_id] = track
        track.waiting.pop(frame, None)
        track.prompted[frame] = record
        track.bank.add(record.memory)
        track.cursor = None
        return self.masks(frame)

    def _take_back(self, track: ObjectTrack, frame: int) -> None:
        for said in (track.prompted, track.waiting, track.visited, track.bank.prompts):
            said.pop(frame, None)
        track.cursor = None

    def _offered(self, track: ObjectTrack, frame: int) -> FrameRecord | None:
        """A prompted frame's record with its candidates, which a session that was gone on with has to find again."""
        record = track.prompted.get(frame)
        if record is None or record.explanation is not None:
            return record
        return self._decide(ObjectTrack(track.object_id), frame, record.prompts)

    def _fitted(self, prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
        return tuple(prompt.fitted(self.size.width, self.size.height) for prompt in prompts)

    def _place(
        self, track: ObjectTrack, frame: int, step: int, without: Sequence[range] = ()
    ) -> tuple[State, set[int]]:
        """What the policy knows before ``frame``, and the tracked frames that it or one after it may read, had those
        of ``without`` not been tracked.
        """
        before = self._record(track, frame - step)
        # What a policy knows runs in one direction of time only.
        state = before.state if before is not None and before.step in (0, step) else b""
        scores = {
            t: entry.scores
            for t, entry in self._spool.entries(track.object_id).items()
            if (frame - t) * step > 0 and t not in track.bank.prompts and not any(t in some for some in without)
        }
        at = self.engine.moment(frame, step)
        return state, self.policy.reach(list(track.bank.prompts), scores, state, at) & scores.keys()

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

    def _encode(self, frame: int, image_hwc: np.ndarray | None = None, window: Window | None = None) -> ImageFeatures:
        features = self._features.get((frame, window))
        if features is None:
            if image_hwc is None:
                at_hand = self._frame is not None and self._frame.index == frame
                image_hwc = self._frame.image_hwc if self._frame is not None and at_hand else self._picture(frame)
            features = self.engine.encode(image_hwc if window is None else window.cut(image_hwc))
            self._keep((frame, window), features)
        self._features.move_to_end((frame, window))
        return features

    def _keep(self, looked_at: tuple[int, Window | None], features: ImageFeatures) -> None:
        self._features[looked_at] = features
        most = max(_FEATURES_KEPT, self._feature_bytes // max(1, _bytes_of(features)))
        while len(self._features) > most:
            self._features.popitem(last=False)

    def _track(self, object_id: int) -> ObjectTrack:
        if object_id not in self._tracks:
            known = ", ".join(map(str, self._tracks)) or "none yet"
            raise UnknownObjectError(f"there is no object {object_id!r}; the objects are: {known}")
        return self._tracks[object_id]

    def _check_frame(self, frame: int) -> int:
        if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)):
            raise InputError(f"a frame is a whole number, but got {frame!r}")
        if not 0 <= frame < self.frame_count:
            raise InputError(f"frame {frame} is not in the video, which has frames 0 to {self.frame_count - 1}")
        return int(frame)

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


def check_object_id(object_id: int) -> int:
    """An object's id as a plain integer; :class:`InputError` for anything else."""
    if isinstance(object_id, bool) or not isinstance(object_id, (int, np.integer)):
        raise InputError(f"an object's id is a whole number, but got {object_id!r}")
    return int(object_id)


def _bytes_of(features: ImageFeatures) -> int:
    values = (value if isinstance(value, list | tuple) else [value] for value in vars(features).values())
    return sum(getattr(part, "nbytes", 0) for parts in values for part in parts)
