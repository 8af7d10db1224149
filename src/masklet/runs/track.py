"""Track objects through a video and write masks, an overlay and run lengths: what `masklet track` does."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from masklet import __version__
from masklet.errors import InputError
from masklet.masks import palette
from masklet.media import Frame, MediaInfo, MediaReader, open_media, parse_position
from masklet.models import get_spec
from masklet.naming import unique_names
from masklet.prompts import Prompt
from masklet.runs.earlier import EarlierRun, remove_earlier
from masklet.runs.objects import TrackedObject, collect_objects
from masklet.runs.plan import Leg, Range, ascending, make_legs, resume_legs
from masklet.runs.request import (
    DEFAULT_DIRECTION,
    DEFAULT_MODEL,
    ObjectReport,
    TrackProgress,
    TrackReport,
    TrackRequest,
)
from masklet.runs.track_files import MASKLETS, MASKS, OVERLAY, TrackFiles, Wanted
from masklet.sources import refuse_source
from masklet.tracking import DEFAULT_POLICY, Session, make_policy

#: A session may be this many frames ahead of the masks that it gives.
_FRAMES_REMEMBERED = 4

Progress = Callable[[TrackProgress], None]
Listener = Callable[[dict[str, Any]], None]


def track(
    request: TrackRequest,
    *,
    progress: Progress | None = None,
    stopped: Callable[[], bool] | None = None,
    listener: Listener | None = None,
) -> TrackReport:
    """Run a request. Decoding, the network and the writing of files overlap.

    Args:
        progress: told before the first frame, when everything is loaded, and after every one.
        stopped: asked after every frame; once it says yes, what is done is kept and the run ends.
        listener: told about every frame's entry of masklets.json, in another thread.

    Raises:
        MaskletError: what was given can't be used, or nothing can be written; nothing is left behind then. Once frames
            are tracked they are kept, and what went wrong is the report's `problem`.
    """
    with open_media(request.source, rate=request.rate) as reader:
        plan = _Plan(request, reader)
        return _Run(plan, reader, progress, stopped, listener).go()


class _Plan:
    """A request, checked against its video before anything heavy is loaded or anything is written."""

    def __init__(self, request: TrackRequest, reader: MediaReader) -> None:
        self.earlier = EarlierRun(request.output, reader) if request.resume else None
        self.request = request if self.earlier is None else self.earlier.fill_in(request)
        self.direction = self.request.direction or DEFAULT_DIRECTION
        _check_settings(self.request)
        self.kept, self.again_from = self._range(reader)
        self.objects = self._objects(reader)
        given = {} if self.earlier is None else self.earlier.folders
        named = unique_names({known.id: known.name for known in self.objects})
        self.folders = {**{number: f"{MASKS}/{name}" for number, name in named.items()}, **given}
        self.legs = make_legs(self.objects, self.kept, self.direction)
        if self.earlier is None:
            self._require_free()

    def _range(self, reader: MediaReader) -> tuple[Range, int | None]:
        """The frames to keep, and the one from which frames that are there already are tracked again."""
        start, end = (None if t is None else parse_position(t, reader) for t in (self.request.start, self.request.end))
        if self.earlier is None:
            kept = Range(start or 0, len(reader) - 1 if end is None else end)
            again = None
        else:
            before = self.earlier.kept
            kept = Range(before.first, before.last if end is None else end)
            again = start
        if kept.last < kept.first:
            raise InputError(f"the last frame to track, {kept.last}, lies before the first, {kept.first}")
        if again is not None and again not in kept:
            raise InputError(f"this run keeps frames {kept.first} to {kept.last}; it can't go on at frame {again}")
        return kept, again

    def _objects(self, reader: MediaReader) -> list[TrackedObject]:
        request = self.request
        known = [] if self.earlier is None else self.earlier.objects
        if not request.prompts and not known:
            raise InputError(
                "say what to track: a point on it (--point 640,300), a box around it (--box 153,219,571,558) or a "
                "picture of its mask (--mask first.png)"
            )
        frame: int | None
        if request.frame is not None:
            frame = parse_position(request.frame, reader)
        elif self.earlier is not None:
            frame = self.again_from
        else:
            frame = self.kept.last if self.direction == "backward" else self.kept.first
        return collect_objects(request.prompts, reader, frame, known)

    def _require_free(self) -> None:
        folder = self.request.output
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder for the results")
        places = [folder / MASKLETS, folder / OVERLAY, *(folder / name for name in self.folders.values())]
        first_masks = (folder / name / "00000.png" for name in self.folders.values())
        for path in (folder / MASKLETS, folder / OVERLAY, *first_masks):
            refuse_source(path)
        there = [path for path in places if path.is_file() or (path.is_dir() and any(path.glob("*.png")))]
        if there and not self.request.overwrite:
            raise InputError(f"{there[0]} exists already: choose another folder, or add --overwrite to replace it")


class _Run:
    """A plan being carried out."""

    def __init__(
        self,
        plan: _Plan,
        reader: MediaReader,
        progress: Progress | None,
        stopped: Callable[[], bool] | None,
        listener: Listener | None,
    ) -> None:
        self.plan, self.reader, self.listener = plan, _Watched(reader), listener
        self.tell = progress or (lambda state: None)
        self.stopped = stopped or (lambda: False)

    def go(self) -> TrackReport:
        plan, request = self.plan, self.plan.request
        policy_settings: dict[str, Any] = dict(request.policy_settings)
        with Session(
            self.reader,
            request.model or DEFAULT_MODEL,
            policy=request.policy or DEFAULT_POLICY,
            resolution=request.resolution,
            device=request.device,
            dtype=request.dtype,
            checkpoint=request.checkpoint,
            **policy_settings,
        ) as session:
            for thing in plan.objects:
                for frame, prompts in thing.prompts.items():
                    session.set_prompts(frame, thing.id, prompts)
            report = TrackReport(request.output, self.reader.info, session.model.spec.name)
            report.objects = {thing.id: ObjectReport(thing.name, plan.folders[thing.id]) for thing in plan.objects}
            report.notes += self.reader.info.notes
            self._with_files(session, report)
        if damaged := list(self.reader.damaged):
            shown = ", ".join(map(str, damaged[:10])) + (", …" if len(damaged) > 10 else "")
            report.notes.append(f"{len(damaged)} damaged frames were replaced by their neighbours: {shown}")
        return report

    def _with_files(self, session: Session, report: TrackReport) -> None:
        plan, request = self.plan, self.plan.request
        made = _missing_folders([request.output / name for name in plan.folders.values()])
        if request.overwrite and plan.earlier is None:
            remove_earlier(request.output)
        files = TrackFiles(
            request.output,
            self.reader,
            plan.objects,
            plan.folders,
            Wanted(request.masks, request.overlay),
            live=plan.earlier is None and ascending(plan.legs),
            listener=self.listener,
        )
        try:
            if plan.earlier is not None:
                plan.earlier.move_into(files.spool, plan.kept, plan.again_from)
            try:
                self._track(session, files, report)
            except Exception as problem:  # whatever it is: hours of work may be behind it
                report.problem = problem
            files.drain()
            if len(files.spool):
                self._complete(session, files, report)
        finally:
            files.close()
            if not len(files.spool):
                for folder in made:
                    with contextlib.suppress(OSError):  # not empty, or never made
                        folder.rmdir()
        if report.problem is not None and not report.kept:
            raise report.problem

    def _complete(self, session: Session, files: TrackFiles, report: TrackReport) -> None:
        left = resume_legs(self.plan.legs, files.spool.has, lambda leg, frame, _: frame)
        report.kept, report.complete = len(files.spool), not left
        report.go_on_at = left[0].keep_from if left and left[0].step > 0 else None
        try:
            files.write_masklets(self._header(session, report.complete))
            files.write_overlay(lambda done, total: self.tell(TrackProgress("overlay", done, total)))
        except Exception as problem:
            report.problem = report.problem or problem
        report.notes += files.notes

    def _track(self, session: Session, files: TrackFiles, report: TrackReport) -> None:
        legs = self.plan.legs if self.plan.earlier is None else self._legs_left(session, files)
        total = sum(len(leg.frames) for leg in legs)
        self.tell(TrackProgress("track", 0, total))
        began = time.perf_counter()
        for leg in legs:
            direction = "forward" if leg.step > 0 else "backward"
            for masks in session.propagate(leg.first, leg.last, direction=direction, objects=leg.object_ids):
                lost = [report.objects[found.object_id] for found in masks if found.lost]
                if leg.keeps(masks.index):
                    files.put(masks, self.reader.current(masks.index))
                    for thing in lost:
                        thing.add_lost(masks.index)
                report.frames += 1
                report.seconds = time.perf_counter() - began
                self.tell(TrackProgress("track", report.frames, total, tuple(thing.name for thing in lost)))
                if self.stopped():
                    return

    def _legs_left(self, session: Session, files: TrackFiles) -> list[Leg]:
        prompted = {thing.id: set(thing.starts) for thing in self.plan.objects}

        def last_seen(leg: Leg, frame: int, object_id: int) -> int:
            """The last frame that shows the object; what was found there becomes a prompt."""
            while (frame - leg.first) * leg.step > 0:
                if frame in prompted[object_id]:
                    return frame
                found = files.spool.find(frame, object_id)
                if found is not None and found["area"] and not found["lost"]:
                    session.set_prompts(frame, object_id, [Prompt(mask=found["rle"], origin="tracked")])
                    prompted[object_id].add(frame)
                    return frame
                frame -= leg.step
            return leg.first

        return resume_legs(self.plan.legs, files.spool.has, last_seen)

    def _header(self, session: Session, complete: bool) -> dict[str, Any]:
        """What masklets.json says besides the frames."""
        plan, request, info = self.plan, self.plan.request, self.reader.info
        checkpoint = request.checkpoint
        return {
            "masklet": __version__,
            "source": {
                "path": info.path,
                "width": info.width,
                "height": info.height,
                "frame_count": len(self.reader),
                "rate": str(info.rate),
                "duration": round(float(info.duration), 6),
                "fingerprint": self.reader.fingerprint(),
            },
            "settings": {
                "model": session.model.spec.name,
                "checkpoint": None if checkpoint is None else str(checkpoint),
                "resolution": session.engine.image_size,
                "dtype": str(session.model.dtype).removeprefix("torch."),
                "policy": session.policy.name,
                "policy_settings": dict(request.policy_settings),
                "direction": plan.direction,
                "first_frame": plan.kept.first,
                "last_frame": plan.kept.last,
            },
            "complete": complete,
            "objects": [
                {
                    "id": thing.id,
                    "name": thing.name,
                    "color": palette.hex_color(thing.id),
                    "folder": plan.folders[thing.id],
                    "prompts": [
                        {"frame": frame, **prompt.to_json()}
                        for frame in thing.prompts
                        for prompt in session.prompts(frame, thing.id)
                    ],
                }
                for thing in plan.objects
            ],
        }


class _Watched(MediaReader):
    """A reader that remembers the pictures it gave lately, which the overlay would have to decode a second time."""

    def __init__(self, inner: MediaReader) -> None:
        super().__init__()
        self._inner = inner
        self._lately: deque[Frame] = deque(maxlen=_FRAMES_REMEMBERED)

    def current(self, index: int) -> np.ndarray:
        """The picture of a frame that was given just now."""
        for frame in tuple(self._lately):
            if frame.index == index:
                return frame.image_hwc
        return self._inner.read(index).image_hwc

    def frames(
        self, start: int | None = None, stop: int | None = None, step: int = 1, *, prefetch: int = 4
    ) -> Iterator[Frame]:
        for frame in self._inner.frames(start, stop, step, prefetch=prefetch):
            self._lately.append(frame)
            yield frame

    @property
    def info(self) -> MediaInfo:
        return self._inner.info

    @property
    def time_base(self) -> Fraction:
        return self._inner.time_base

    @property
    def damaged(self) -> Any:
        return self._inner.damaged

    def read(self, index: int) -> Frame:
        return self._inner.read(index)

    def time_of(self, index: int) -> Fraction:
        return self._inner.time_of(index)

    def fingerprint(self) -> str:
        return self._inner.fingerprint()

    def _open_cursor(self, cached: bool) -> Any:
        return self._inner._open_cursor(cached)


def _check_settings(request: TrackRequest) -> None:
    """Raises InputError for what the model or the policy can't take, before a model is loaded."""
    spec = get_spec(request.model or DEFAULT_MODEL)
    make_policy(request.policy or DEFAULT_POLICY, spec, **request.policy_settings)
    if request.resolution is not None:
        spec.check_resolution(request.resolution)


def _missing_folders(wanted: list[Path]) -> list[Path]:
    """The folders that have to be made for these to exist, innermost first."""
    missing = {place for folder in wanted for place in (folder, *folder.parents) if not place.exists()}
    return sorted(missing, key=lambda place: -len(place.parts))
