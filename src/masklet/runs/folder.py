"""Tracking into a folder of files: what `masklet track -o out/` does.

out/masks/<object>/00000.png   white on black, the size of the video, one for every frame
out/overlay.mp4                the video with every object in its colour
out/masklets.json              run lengths and scores
out/.masklet/run.masklet       the project that all of it comes from, and that a stopped run goes on from
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError, MaskletError, MediaError, explained
from masklet.export import registry
from masklet.export.base import Put, StreamExporter
from masklet.export.job import Job, frames_between
from masklet.export.output import InPlace, Output
from masklet.media import open_media, parse_position
from masklet.media.rates import to_rate
from masklet.naming import unique_names
from masklet.project.finishing import Finishing
from masklet.project.run import Asked
from masklet.runs import actions
from masklet.runs.engine import Progress, RunStep, RunSteps, Stopped, drive
from masklet.runs.live import LiveFiles
from masklet.runs.objects import collect_objects, objects_of
from masklet.runs.plan import ascending, make_legs, moved_to
from masklet.runs.request import RunReport, TrackProgress, TrackRequest
from masklet.sources import refuse_source

if TYPE_CHECKING:
    from masklet.project.store import Project

MASKLETS, OVERLAY, MASKS = "masklets.json", "overlay.mp4", "masks"
_PROJECT = Path(".masklet", "run.masklet")
#: Hard edges, unless something else is asked for.
_FINISH: Mapping[str, Any] = {"feather": 0.0}
# One folder below masks/: files are removed there, so a made-up path must not lead anywhere else.
_MASK_FOLDER = re.compile(rf"{MASKS}/((?!\.{{1,2}}$)[^/\\:\x00]+)")


def track(
    folder: Path, request: TrackRequest, *, progress: Progress | None = None, stopped: Stopped | None = None
) -> RunReport:
    """Track into a folder. Decoding, the network and the writing of files overlap.

    Args:
        progress: told before the first frame, when everything is loaded, and after every one.
        stopped: asked after every frame; once it says yes, what is done is kept and the run ends.

    Raises:
        MaskletError: what was given can't be used, or nothing can be written; nothing is left behind then. Once frames
            are tracked they are kept, and what went wrong is the report's `problem`.
    """
    with open_media(request.source, rate=request.rate) as reader:
        plan = actions.make_plan(request, reader)
        named = unique_names({known.id: known.name for known in plan.objects})
        _require_free(folder, named.values(), request.overwrite)
        earlier = _earlier_names(folder)
        request = replace(request, finish={**_FINISH, **request.finish})
        with _made(folder / _PROJECT.parent), actions.new_project(folder / _PROJECT, plan, reader, request) as project:
            files = _FolderRun(folder, project, request, progress, True, earlier)
            return files.follow(actions.plan_steps(project, plan, request), stopped)


def resume(
    folder: Path, request: TrackRequest, *, progress: Progress | None = None, stopped: Stopped | None = None
) -> RunReport:
    """Go on with a run that was stopped or killed, exactly where it was; what the request leaves open is as before.

    With new prompts, other settings, or a `request.start`, what follows from them is tracked again.

    Raises what `track` does.
    """
    from masklet.project.store import Project

    if not (folder / _PROJECT).is_file():
        if (folder / MASKLETS).is_file():
            raise InputError(
                f"{folder} was written by an earlier version of masklet, which kept too little to go on with: "
                "track again with --overwrite, or into another folder"
            )
        raise InputError(f"there is nothing to go on with in {folder}. Leave --resume out to start")
    with Project.open(folder / _PROJECT) as project:
        reader = project.open_source(request.source)
        rate = project.source.rate
        if request.rate is not None and to_rate(request.rate) != rate:
            raise InputError(
                f"this run was begun at {float(rate):g} frames per second: leave --rate out, or start again with "
                "--overwrite"
            )
        asked = project.asked or Asked(first=0, last=len(reader) - 1, direction="forward")
        start, end = (None if text is None else parse_position(text, reader) for text in (request.start, request.end))
        kept = actions.frames_between(asked.first, asked.last if end is None else end)
        if start is not None and start not in kept:
            raise InputError(f"this run keeps frames {kept[0]} to {kept[-1]}; it can't go on at frame {start}")
        direction = request.direction or asked.direction
        frame = start if request.frame is None else parse_position(request.frame, reader)
        objects = collect_objects(request.prompts, reader, frame, objects_of(project), project.mask)
        settings = actions.settings_of(request, project.track_settings)
        run, legs = project.run, make_legs(objects, kept, direction)
        goes_on = (
            run is not None
            and objects == objects_of(project)
            and (settings, direction) == (project.track_settings, asked.direction)
            and start in (None, run.place.frame)
            and (kept[-1] == asked.last or moved_to(run, legs) is not None)
        )
        asked, moved = asked.model_copy(update={"last": kept[-1], "direction": direction}), kept[-1] != asked.last

        if goes_on:
            steps = actions.resume.steps(project, request.device, (asked, legs) if moved else None)
        else:
            steps = actions.track_again.steps(project, objects, asked, settings, start, request.device)
        if request.finish:
            project.set_mask_settings({**project.mask_settings, **request.finish})
        files = _FolderRun(folder, project, request, progress, False, _earlier_names(folder))
        return files.follow(steps, stopped)


class _FolderRun:
    """The files of a folder: written while a run goes on where that can be, and completed out of its project."""

    def __init__(
        self,
        folder: Path,
        project: Project,
        request: TrackRequest,
        progress: Progress | None,
        anew: bool,
        earlier: Iterable[str] = (),
    ) -> None:
        """`anew` replaces what is in the folder, and in the mask folders of `earlier` names, once a mask is there."""
        self.folder, self.project, self.request = folder.absolute(), project, request
        self._tell = progress or (lambda state: None)
        self._anew, self._earlier = anew, set(earlier)
        self._live: LiveFiles | None = None
        self._live_masks = self._live_overlay = self._live_json = False
        self._notes: list[str] = []

    def follow(self, steps: RunSteps, stopped: Stopped | None) -> RunReport:
        """Carry out a run."""
        from masklet.runtime import taking_turns

        try:
            with taking_turns():
                report = drive(steps, self._tell, lambda: self._problem is not None or (stopped or bool)(), self._see)
            if self._live is not None:
                self._live.end()
        finally:
            if self._live is not None:
                self._live.close()
        report.problem = report.problem or self._problem
        frames = sorted({frame for tracked in self._tracked().values() for frame in tracked})
        report.kept = len(frames)
        if frames:
            try:
                self._complete(report, frames)
            except Exception as problem:  # masks are there, and what went wrong is said with them
                report.problem = report.problem or problem
        elif report.problem is not None:
            raise report.problem
        report.notes += [note for note in self._notes if note not in report.notes]
        return report

    @property
    def _problem(self) -> Exception | None:
        return None if self._live is None else self._live.problem

    # --- on the way --------------------------------------------------------------------------------------------

    def _see(self, step: RunStep) -> None:
        if step.masks:
            if self._live is None:
                self._live = self._begin(step.frame)
            self._live.put(step)

    def _begin(self, first: int) -> LiveFiles:
        """What is written as the frames come: what they come in order for, or what doesn't depend on that."""
        if self._anew:
            self._sweep({})
            for name in (MASKLETS, OVERLAY):
                refuse_source(self.folder / name)
                (self.folder / name).unlink(missing_ok=True)
        run, finishing = self.project.run, self._finishing()
        rises = self._anew and run is not None and ascending(run.legs)
        self._live_masks = self.request.masks and (rises or self._patches(finishing))
        self._live_overlay, self._live_json = self.request.overlay and rises, rises
        streams = []
        if self._live_masks:
            streams.append(_stream(self._masks_job(finishing), blank=False))
        if rises and run is not None:
            last = run.legs[-1].last
            streams.append(self._stream_to(MASKLETS, "masklets-json", first, last, finishing, folder=MASKS))
            if self._live_overlay:
                streams.append(self._stream_to(OVERLAY, "overlay", first, last, finishing))
        return LiveFiles(finishing, self.project.source, streams)

    def _patches(self, finishing: Finishing) -> bool:
        """Whether masks that are there already can stay, because none depends on another one, or on new settings."""
        return finishing.alone and (self._anew or not self.request.finish)

    def _masks_job(self, finishing: Finishing) -> Job:
        digits = max(5, len(str(self.project.source.frame_count - 1)))
        template = f"{{object}}/{{frame:0{digits}d}}"
        return self._job("png-mask", InPlace(self.folder / MASKS), finishing=finishing, template=template)

    @contextmanager
    def _stream_to(
        self, name: str, format_name: str, first: int, last: int, finishing: Finishing, **options: Any
    ) -> Iterator[Put]:
        job = self._job(format_name, InPlace(self.folder / name), first, last, finishing=finishing)
        with _stream(job, **options) as put:
            yield put
        self._notes += job.notes

    # --- at the end --------------------------------------------------------------------------------------------

    def _complete(self, report: RunReport, frames: list[int]) -> None:
        if not self._live_json or self._problem is not None:
            self._export(MASKLETS, "masklets-json", frames, folder=MASKS)
        report.files.append(self.folder / MASKLETS)
        if self._problem is not None:
            return
        if not self._anew:
            self._sweep(self._tracked())
        if self.request.masks:
            self._complete_masks(frames)
            report.files[:0] = [self.folder / MASKS / name for name in self._tracked()]
        if self.request.overlay and not self._live_overlay:
            self._export(OVERLAY, "overlay", frames)
        if (self.folder / OVERLAY).is_file():
            report.files.insert(-1, self.folder / OVERLAY)

    def _export(self, name: str, format_name: str, frames: list[int], **options: Any) -> None:
        job = self._job(format_name, InPlace(self.folder / name), frames[0], frames[-1])
        registry.get(format_name).parse(options).write(job)
        self._notes += job.notes

    def _complete_masks(self, frames: list[int]) -> None:
        """Write the PNGs that aren't there; all of them where the frames on the way could not simply be added."""
        finishing = self._finishing()
        if self._anew and self._live_masks:
            return
        if self._patches(finishing) and (self._live_masks or not self._anew):
            tracked = self._tracked()
            there = {name: _frames_in(self.folder / MASKS / name) for name in tracked}
            frames = sorted({t for name in tracked for t in tracked[name] - there[name].keys()})
        if frames:
            job = self._masks_job(finishing)
            with _stream(job, blank=False) as put:
                for picture in job.pictures(frames, pixels=False):
                    put(picture)

    # --- helpers -----------------------------------------------------------------------------------------------

    def _finishing(self, soft: bool = True) -> Finishing:
        return Finishing(self.project, self.project.objects(), soft=soft)

    def _job(
        self,
        format_name: str,
        output: Output,
        first: int | None = None,
        last: int | None = None,
        *,
        finishing: Finishing | None = None,
        template: str = "{clip}",
    ) -> Job:
        finishing = finishing or self._finishing(registry.get(format_name).soft_edges)
        frames = frames_between(self.project.source, first, last)
        return Job(
            self.project,
            format_name,
            self.project.objects(),
            frames,
            finishing,
            template,
            output,
            progress=lambda done, total: self._tell(TrackProgress(format_name, done, total)),
        )

    def _tracked(self) -> dict[str, set[int]]:
        """Frames with a mask, by the name of an object's folder."""
        return {name: set(self.project.tracked_frames(number)) for number, name in _names(self.project).items()}

    def _sweep(self, kept: Mapping[str, Container[int]]) -> None:
        """Remove PNGs of frames that aren't kept, and what a crash left half written."""
        for name in {*self._earlier, *_names(self.project).values()}:
            folder = self.folder / MASKS / name
            for frame, path in _frames_in(folder).items():
                if frame not in kept.get(name, ()):
                    refuse_source(path)
                    path.unlink(missing_ok=True)
            for path in folder.glob(".*.png.*part"):
                path.unlink(missing_ok=True)
        for name in (MASKLETS, OVERLAY):
            for path in self.folder.glob(f".{name}.*part"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _stream(job: Job, **options: Any) -> AbstractContextManager[Put]:
    exporter = registry.get(job.format_name).parse(options)
    assert isinstance(exporter, StreamExporter)
    return exporter.stream(job)


def _names(project: Project) -> dict[int, str]:
    """The name of every object's folder of masks."""
    return unique_names({known.id: known.name for known in project.objects()})


def _frames_in(folder: Path) -> dict[int, Path]:
    """The PNGs of frames in a folder of masks."""
    return {int(path.stem): path for path in folder.glob("*.png") if path.stem.isdecimal()}


def _require_free(folder: Path, names: Iterable[str], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the results")
    places = [folder / MASKLETS, folder / OVERLAY, *(folder / MASKS / name for name in names)]
    for path in places:
        refuse_source(path if path.suffix else path / "00000.png")
    there = [path for path in (*places, folder / _PROJECT) if path.is_file() or any(path.glob("*.png"))]
    if there and not overwrite:
        raise InputError(
            f"{there[0]} exists already: choose another folder, or add --overwrite to replace it, or --resume to go on"
        )


def _earlier_names(folder: Path) -> set[str]:
    """Folders of masks below masks/ that an earlier run wrote to."""
    from masklet.project.store import Project

    found: set[str] = set()
    with contextlib.suppress(MaskletError), Project.open(folder / _PROJECT, read_only=True) as project:
        found.update(_names(project).values())
    # A file of another kind, or a damaged one, is replaced, but not followed.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        content = json.loads((folder / MASKLETS).read_text(encoding="utf-8"))
        said = [_MASK_FOLDER.fullmatch(known["folder"]) for known in content["objects"]]
        found.update(name[1] for name in said if name is not None)
    home = folder.resolve() / MASKS
    return {name for name in found if (home / name).resolve().parent == home}


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Makes a folder; it goes again, and those around it that were made, where it is empty at the end."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    with explained(MediaError, f"The folder {folder} can't be made"):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise MediaError(f"The folder {folder} can't be written to: permission denied.")
    try:
        yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # not empty
                place.rmdir()
