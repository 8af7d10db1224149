"""Objects that a detector finds: it looks at some frames, and what it finds there is prompted by its box and tracked.

Tracking goes from one frame of the schedule to the next. There the detector's boxes are matched with the masks that
tracking has brought, and what no mask is for becomes a new object. Each of these stretches is a run of the one engine,
and what is next follows from the project alone: a run that was killed goes on with the same masks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.jobs.job import DetectorSettings
from masklet.jobs.overlaps import iou, match
from masklet.masks import rle
from masklet.media import MediaReader, open_media
from masklet.project import Project
from masklet.project.run import Asked
from masklet.runs import actions
from masklet.runs.engine import Progress, Stopped
from masklet.runs.objects import TrackedObject, collect_objects, objects_of
from masklet.runs.prompt_text import PromptText
from masklet.runs.request import RunReport, TrackProgress, TrackRequest

GROUP = "masklet.detectors"
#: A leftover box that overlaps a known object so much (IoU) is taken for a second box of it.
_SAME = 0.7
_NUMBERED = re.compile(r"(.+) \d+")

#: From a frame, uint8 RGB (height, width, 3), to boxes x1, y1, x2, y2 in pixels with label and score (0 to 1).
Detector = Callable[[np.ndarray], Iterable[tuple[Sequence[float], str, float]]]


@dataclass(frozen=True)
class Detection:
    """A box in pixels of the frame, cut to it, with its label and score."""

    box: tuple[float, float, float, float]
    label: str
    score: float


def load_detector(name: str) -> Detector:
    """The detector of that name: `text:a red car`, an entry point of `masklet.detectors`, or `package.module:function`.

    A class is called for every video, so that what a detector has learned in one stays there. Raises InputError that
    says what there is.
    """
    if name.startswith("text:"):
        from masklet.jobs.text_detector import TextDetector

        return TextDetector(name.removeprefix("text:"))
    there = {point.name: point for point in entry_points(group=GROUP)}
    try:
        if name in there:
            found = there[name].load()
        elif re.fullmatch(r"[\w.]+:[\w.]+", name):
            module, _, path = name.partition(":")
            found = import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        else:
            known = f" Installed are: {', '.join(sorted(there))}." if there else ""
            raise InputError(f"there is no detector {name!r}: write package.module:function or text:WORDS.{known}")
    except (ImportError, AttributeError) as problem:
        raise InputError(f"the detector {name} can't be loaded: {problem}") from problem
    if isinstance(found, type):
        try:
            found = found()
        except Exception as problem:  # it is somebody else's code
            raise InputError(f"the detector {name} can't be made: {type(problem).__name__}: {problem}") from problem
    if not callable(found):
        raise InputError(f"the detector {name} is no function")
    return found


def detect(detector: Detector, image_hwc: np.ndarray, settings: DetectorSettings) -> list[Detection]:
    """What a detector finds on a frame, best first. Raises InputError where its answer can't be used."""
    height, width = image_hwc.shape[:2]
    found = []
    try:
        for box, label, score in detector(image_hwc):
            left, top, right, bottom = map(float, box)
            cut = max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))
            if cut[0] < cut[2] and cut[1] < cut[3] and float(score) >= settings.min_score:
                found.append(Detection(cut, " ".join(str(label).split())[:40] or "object", float(score)))
    except Exception as problem:  # it is somebody else's code
        raise InputError(
            f"the detector {settings.detector} failed: {type(problem).__name__}: {problem}. It takes a frame, uint8 "
            "RGB (height, width, 3), and gives (x1, y1, x2, y2), label, score for every object"
        ) from problem
    return sorted(found, key=lambda detection: -detection.score)


def new_objects(
    detections: Sequence[Detection], known_boxes: Sequence[Sequence[float]], min_iou: float
) -> list[Detection]:
    """The detections that no known object is matched with, one to one, and that are no second box of anything."""
    matched = match([detection.box for detection in detections], known_boxes, min_iou)
    there, new = [list(box) for box in known_boxes], []
    for index, detection in enumerate(detections):
        if index not in matched and not (there and iou([detection.box], there).max() >= _SAME):
            new.append(detection)
            there.append(list(detection.box))
    return new


def scheduled(reader: MediaReader, kept: range, every: str) -> list[int]:
    """The frames on which the detector looks: the first one, and one each time that `every` has passed.

    Raises InputError for what is neither seconds nor frames.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s?)", every.strip())
    if found is None or not float(found[1]):
        raise InputError(f"{every!r} is no distance in time: write 2s, or 50 for every 50th frame")
    step = float(found[1]) * (float(reader.info.rate) if found[2] else 1.0)
    if step < 1:
        return list(kept)
    return [kept[0] + round(n * step) for n in range(int((len(kept) - 1) / step) + 1) if round(n * step) < len(kept)]


def track_detected(
    path: Path,
    request: TrackRequest,
    settings: DetectorSettings,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    stopped: Stopped = lambda: False,
) -> RunReport:
    """Tracks what a detector finds, and what is prompted besides, into a project; forwards.

    Args:
        resume: go on with the project that is there; asked for the same, it ends with the same masks.

    Raises:
        InputError: the detector finds nothing, can't be loaded or fails; MaskletError: as `runs.actions.begin`.
    """
    if request.direction not in (None, "forward"):
        raise InputError("a detector looks ahead from frame to frame: it can be used with --direction forward alone")
    if resume and not path.exists():
        raise InputError(f"there is no project {path} to go on with. Leave --resume out to start")
    detector = load_detector(settings.detector)
    with open_media(request.source, rate=request.rate) as reader:
        kept, place = actions.places_of(request, reader)
        asked_for = collect_objects(request.prompts, reader, place)
        looks = scheduled(reader, kept, settings.every)
        if len(looks) > 1 and looks[-1] == kept[-1]:
            looks.pop()
        run = _Stretches(path, request, reader, asked_for, kept, place, RunReport(""), progress, stopped, resume)
        total = run.total
        if resume:
            if not run.go_on():
                return total
            if progress is not None:  # a detector may take its time
                progress(TrackProgress("track", run.before + total.frames, len(kept)))
        elif run.begins_by(looks[0]) and not run.track([], looks[0]):
            return total
        for frame, end in zip(looks, [*looks[1:], kept[-1]], strict=True):
            if run.reached() > frame:
                continue
            names = run.names()
            found = detect(detector, reader.read(frame).image_hwc, settings)
            new = new_objects(found, run.boxes(frame), settings.min_iou)[: max(settings.max_objects - len(names), 0)]
            if not run.started and not new and not run.begins_by(end):
                continue
            if not run.track(_named(new, names, frame), end):
                return total
    if not run.started:
        raise InputError(
            f"the detector {settings.detector} found nothing on {len(looks)} frames with a score of "
            f"{settings.min_score:g} or more"
        )
    total.complete = True
    return total


def _named(detections: Iterable[Detection], taken: set[str], frame: int) -> list[PromptText]:
    """A prompt for every new object: `car 1`, `car 2` and so on, by its label."""
    texts, taken = [], set(taken)
    for detection in detections:
        name = next(name for n in range(1, 10**6) if (name := f"{detection.label} {n}") not in taken)
        taken.add(name)
        texts.append(PromptText(name, str(frame), box=detection.box))
    return texts


@dataclass
class _Stretches:
    """A project that is tracked further and further."""

    path: Path
    request: TrackRequest
    reader: MediaReader
    asked_for: list[TrackedObject]
    kept: range
    place: int  # of prompts that name no frame
    total: RunReport
    progress: Progress | None
    stopped: Stopped
    started: bool  # the project is there
    before: int = 0  # frames that were tracked at an earlier time

    def go_on(self) -> bool:
        """Ends the stretch that was not ended. False where that was stopped."""
        with Project.open(self.path) as project:
            project.open_source(self.request.source)
            self.before = len({frame for known in project.objects() for frame in project.tracked_frames(known.id)})
            if project.run is None:
                return True
            report = actions.resume(project, self.request.device, **self._watching())
        return self._add(report)

    def begins_by(self, frame: int) -> bool:
        """Whether an object that the user prompted has begun by then."""
        return any(known.starts[0] <= frame for known in self.asked_for)

    def track(self, texts: Sequence[PromptText], end: int) -> bool:
        """Tracks to `end`, with the objects prompted so far and new ones. False where that was stopped."""
        texts = [*(text for text in self.request.prompts if self._met(text, end)), *texts]
        if not self.started:
            self.started = True
            request = replace(self.request, prompts=texts, end=str(end))
            return self._add(actions.begin(self.path, request, **self._watching()))
        with Project.open(self.path) as project:
            objects = collect_objects(texts, self.reader, self.place, objects_of(project))
            asked = Asked(first=self.kept[0], last=end, direction="forward")
            settings, device = project.track_settings, self.request.device
            watching = self._watching()
            report = actions.track_again(project, objects, asked, settings, None, device, **watching)
        return self._add(report)

    def _met(self, text: PromptText, end: int) -> bool:
        """Whether the object of a prompt of the user's has begun by then."""
        return any(
            known.starts[0] <= end
            for known in self.asked_for
            if text.object in (known.name, str(known.id)) or (text.object is None and known.id == 1)
        )

    def reached(self) -> int:
        """The last frame that was asked for so far; -1: nothing was."""
        if not self.started:
            return -1
        with Project.open(self.path, read_only=True) as project:
            return -1 if project.asked is None else project.asked.last

    def names(self) -> set[str]:
        """What the objects are called that there are, or will be."""
        if not self.started:
            return {known.name for known in self.asked_for}
        with Project.open(self.path, read_only=True) as project:
            return {known.name for known in project.objects()}

    def boxes(self, frame: int) -> list[Any]:
        """Boxes of the masks that a frame has."""
        if not self.started:
            return []
        with Project.open(self.path, read_only=True) as project:
            masks = [project.mask(frame, known.id) for known in project.objects()]
            found = [rle.box(mask.rle) for mask in masks if mask is not None and not mask.lost]
            return [box for box in found if box is not None]

    def _add(self, report: RunReport) -> bool:
        total = self.total
        total.model = report.model
        total.frames, total.seconds = total.frames + report.frames, total.seconds + report.seconds
        for number, known in report.objects.items():
            there = total.objects.setdefault(number, known)
            if there is not known:
                there.lost += known.lost
        total.notes += [note for note in report.notes if note not in total.notes]
        with Project.open(self.path) as project:
            own = {known.name for known in self.asked_for}
            for tracked in project.objects():  # the label is in the name: a kill in between changes nothing
                label = _NUMBERED.fullmatch(tracked.name)
                if label and tracked.category is None and tracked.name not in own and label[1] != "object":
                    project.update_object(tracked.id, category=label[1])
        if report.problem is not None:
            raise report.problem
        return report.complete and not self.stopped()

    def _watching(self) -> dict[str, Any]:
        before, tell = self.before + self.total.frames, self.progress

        def show(state: TrackProgress) -> None:
            if tell is not None:
                tell(replace(state, done=min(before + state.done, len(self.kept)), total=len(self.kept)))

        return {"progress": show, "stopped": self.stopped}
