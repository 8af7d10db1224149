"""The projects that are open, and what belongs to each: pictures, masks, the network's answers, news."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from masklet.errors import CheckpointError, InputError, MaskletError, MediaError, ProjectError
from masklet.masks.palette import hex_color
from masklet.media import MediaReader, open_media
from masklet.media.patterns import is_pattern
from masklet.project import Project, TrackSettings
from masklet.results import stretches
from masklet.studio import files, schemas
from masklet.studio.changes import changed_parts
from masklet.studio.files import PROJECT_SUFFIX, Root, place_id
from masklet.studio.frames import FrameStore, Kept
from masklet.studio.overlays import Overlays
from masklet.studio.problems import ModelMissingError, NotFoundError, OutsideRootError
from masklet.studio.recent import Recent

if TYPE_CHECKING:
    from masklet.project.records import ProjectObject, PromptRecord
    from masklet.results import ObjectMask
    from masklet.runs.prompting import Prompter
    from masklet.studio.batches import Batches
    from masklet.studio.sockets import Hub

What = Literal["objects", "prompts", "masks", "settings", "history", "run", "review"]
_FLAGS = {"lost": 1, "is_prompt": 2, "painted": 4, "empty": 8, "found_again": 16}


class OpenProject:
    """One open project. Its methods may be called from any thread, `prompter` from the worker's alone."""

    def __init__(
        self,
        project: Project,
        root: Root,
        hub: Hub,
        device: str | None,
        kept: Kept,
        source: Path | None = None,
        batch: schemas.BatchPlace | None = None,
    ) -> None:
        self.project, self._root, self._hub, self._device, self._batch = project, root, hub, device, batch
        self.id = place_id(project.path)
        self.reader = project.open_source(source, within=root.folder)
        self.frames = FrameStore(self.reader, kept)
        self.overlays = Overlays(project, self.frames)
        self.fingerprint = self.reader.fingerprint()
        # Higher than when it was open before: pages from then would take it for an old state, whose id is the same.
        self._revision = time.time_ns() // 1_000_000
        self._mutex = threading.Lock()
        self._prompter: Prompter | None = None
        self._news = ThreadPoolExecutor(1, "masklet-news")  # one thread, so that news come in order
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self._news.shutdown()
        self.frames.close()
        self._prompter = None
        self.project.close()

    # --- the network ---------------------------------------------------------------------------------------------

    def prompter(self) -> Prompter:
        """Answers prompts by the project's settings. Raises ModelMissingError before anything would be downloaded."""
        from masklet.runs.prompting import Prompter

        if self.closed:
            raise NotFoundError("This project was closed.")
        if self._prompter is None or not self._prompter.is_current:
            self._prompter = None
            self.require_model()
            self._prompter = Prompter(self.project, device=self._device, picture=self.frames.picture)
        return self._prompter

    def require_model(self) -> None:
        """Raises ModelMissingError, CheckpointError or OutsideRootError where tracking could not begin."""
        from masklet.runs.prompting import require_weights

        settings = self.project.track_settings
        if settings.checkpoint is not None:
            path = Path(settings.checkpoint)
            if not self._root.holds(path.resolve()):
                raise OutsideRootError(
                    f"The weights {path.name} that this project names are outside of {self._root.folder}. "
                    "Put them there, or choose another model."
                )
            if not path.is_file():
                raise CheckpointError(f"The weights {path.name} that this project names are not there.")
            return
        try:
            require_weights(self.project)
        except CheckpointError as problem:
            raise ModelMissingError(str(problem)) from problem

    # --- news ----------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        return self._revision

    def changed(self, *what: What, frames: Sequence[int] | None = None, objects: Sequence[int] | None = None) -> int:
        """Tell everybody what changed; returns the new revision."""
        with self._mutex:
            self._revision += 1
            news = schemas.ProjectChanged(
                project=self.id,
                revision=self._revision,
                what=list(what),
                frames=None if frames is None else list(frames),
                objects=None if objects is None else list(objects),
            )
            if not self.closed:
                self._news.submit(self._tell_change, news)  # whoever made the change has its answer first
            return news.revision

    def _tell_change(self, news: schemas.ProjectChanged) -> None:
        if not self._hub.listeners:
            return
        with suppress(MaskletError):  # something went meanwhile: whoever listens asks
            news.now = changed_parts(self, news)
        self._hub.tell(news, self.id)

    def tell_masks(self, job: str, frame: int, masks: Iterable[ObjectMask]) -> None:
        """Send masks that were just found to everybody who listens."""
        if self._hub.listeners:
            states, plain = self.overlays.news(masks)
            news = schemas.MasksArrived(project=self.id, job=job, frame=frame, objects=states, plain=plain)
            self._hub.tell(news, self.id)

    # --- its state as the API gives it ---------------------------------------------------------------------------

    def state(self, jobs: Sequence[schemas.JobState], lanes: bool = True) -> schemas.ProjectState:
        revision = self._revision  # before the rest: what is newer than its revision says is only told again
        project, objects = self.project, self.project.objects()  # once: one may go at any moment
        return schemas.ProjectState(
            id=self.id,
            name=project.path.stem,
            path=self._root.relative(project.path),
            revision=revision,
            media=self.media(),
            objects=[self.object_state(object_) for object_ in objects],
            prompts=[prompt_state(prompt) for prompt in project.prompts()],
            lanes=[self.lane(object_.id) for object_ in objects] if lanes else [],
            settings=self.settings(),
            history=self.history(),
            run=self.run(),
            jobs=list(jobs),
            batch=self._batch,
        )

    def media(self) -> schemas.MediaState:
        info, reader = self.reader.info, self.reader
        place = Path(info.path)
        return schemas.MediaState(
            kind=info.kind,
            path=self._root.relative(place.parent.resolve() / place.name),
            width=info.width,
            height=info.height,
            frame_count=info.frame_count,
            rate=str(info.rate),
            fps=float(info.rate),
            duration=float(info.duration),
            timecode_base=max(1, round(info.rate)),
            variable_rate=info.variable_rate,
            times=(
                [round(float(reader.time_of(i)), 6) for i in range(info.frame_count)] if info.variable_rate else None
            ),
            pixel_aspect=float(info.pixel_aspect),
            has_audio=info.has_audio,
            fingerprint=self.fingerprint,
            notes=list(info.notes),
        )

    def object_state(self, object_: ProjectObject) -> schemas.ObjectState:
        own = {**vars(object_), "color": hex_color(object_.color)}
        return schemas.ObjectState(**own, effective_settings=self.project.settings_of(object_).model_dump())

    def lane(self, object_id: int) -> schemas.Lane:
        rows = self.project.scores(object_id)
        return schemas.Lane(
            object=object_id,
            spans=stretches([row["frame"] for row in rows]),
            object_score=[_rounded(row["object_score"], 2) for row in rows],
            predicted_iou=[_rounded(row["predicted_iou"], 3) for row in rows],
            motion_score=[_rounded(row["motion_score"], 3) for row in rows],
            flags=[sum(bit * row[name] for name, bit in _FLAGS.items()) for row in rows],
        )

    def settings(self) -> schemas.SettingsState:
        track = self.project.track_settings.model_dump()
        if track["checkpoint"] is not None:
            track["checkpoint"] = self._root.relative(Path(track["checkpoint"]))
        # A project may hold what was never meant to be sent: it is shown as far as it fits.
        return schemas.SettingsState.model_construct(
            track=schemas.TrackSettingsState.model_construct(**track), masks=self.project.mask_settings
        )

    def change_settings(self, given: schemas.ChangeSettings) -> None:
        """Raises InputError, DeviceError for settings that can't be; NotFoundError, OutsideRootError for weights."""
        project = self.project
        if given.track is not None:
            check_settings(given.track, self._device)
            values = given.track.model_dump()
            if given.track.checkpoint:
                values["checkpoint"] = str(self._root.existing(given.track.checkpoint))
        with project.edit("Change settings"):
            if given.track is not None:
                project.set_track_settings(TrackSettings(**values))
            if given.masks is not None:
                project.set_mask_settings(given.masks)

    def history(self) -> schemas.HistoryState:
        steps = self.project.history()
        return schemas.HistoryState(
            undo=next((step.label for step in reversed(steps) if not step.undone), None),
            redo=next((step.label for step in steps if step.undone), None),
            step=max((step.id for step in steps if not step.undone), default=0),
        )

    def run(self) -> schemas.RunState | None:
        run = self.project.run
        if run is None:
            return None
        return schemas.RunState(
            label=run.label, frame=run.place.frame, frames_left=run.frames_left, frames_total=run.frames_total
        )


class Workspace:
    """All open projects of a studio."""

    def __init__(
        self, root: Root, hub: Hub, settings: TrackSettings, device: str | None, recent: Recent, batches: Batches
    ) -> None:
        self.root, self._hub, self._settings, self._device, self.recent = root, hub, settings, device, recent
        self._batches = batches
        self._open: dict[str, OpenProject] = {}
        self._kept = Kept()
        self._mutex = threading.RLock()

    def all(self) -> list[OpenProject]:
        with self._mutex:
            return list(self._open.values())

    def open_ids(self) -> dict[Path, str]:
        """Of the files of all open projects."""
        return {opened.project.path: opened.id for opened in self.all()}

    def get(self, project: str) -> OpenProject:
        """An open project by its id. Raises NotFoundError."""
        with self._mutex:
            found = self._open.get(project)
        if found is None:
            raise NotFoundError(f"No project {project[:40]!r} is open. Open it first: POST /api/projects.")
        return found

    def open(self, given: schemas.OpenRequest) -> OpenProject:
        """Opens a project, or the one of a source; a source without one gets one beside it.

        A project whose source moved is told where it is now by `source`; that may be no other video.
        Raises NotFoundError, OutsideRootError, BusyError, MediaError, ProjectError, ProjectInUseError, InputError.
        """
        path = self.root.path(given.path)
        with self._mutex:  # two tabs that open the same file get the same project
            if path.suffix.lower() == PROJECT_SUFFIX:
                return self._opened(self.root.existing(given.path), self._source(given))
            if not path.exists() and not is_pattern(path.name):
                raise NotFoundError(f"There is no {given.path or '.'} in {self.root.folder}.")
            return self._of_source(path, given)

    def close(self, project: OpenProject) -> None:
        """Closes a project whose jobs have ended."""
        with self._mutex:  # whoever opens it meanwhile waits until its lock is free
            self._open.pop(project.id, None)
            project.close()
        self._hub.tell(schemas.ProjectClosed(project=project.id), project.id)

    def _source(self, given: schemas.OpenRequest) -> Path | None:
        if given.source is None:
            return None
        place = self.root.path(given.source)
        if place.is_file():
            files.check_media(place)
        return place

    def _opened(self, path: Path, source: Path | None = None) -> OpenProject:
        number = place_id(path)
        if number in self._open:
            return self._open[number]
        batch = self._batches.place_of(path)
        return self._take(Project.open(path), source, batch)

    def _take(
        self, project: Project, source: Path | None = None, batch: schemas.BatchPlace | None = None
    ) -> OpenProject:
        try:
            opened = OpenProject(project, self.root, self._hub, self._device, self._kept, source, batch)
        except BaseException:
            project.close()
            raise
        self._open[opened.id] = opened
        if batch is None:  # the videos of a batch would leave no room for others
            self.recent.add(project.path)
        return opened

    def _of_source(self, path: Path, given: schemas.OpenRequest) -> OpenProject:
        reader = self._reader(path, given)
        try:
            for place in _places(path, self.root.folder):
                number = place_id(place)
                if number in self._open:
                    if self._open[number].fingerprint == reader.fingerprint():
                        reader.close()
                        return self._open[number]
                elif not place.exists():
                    return self._take(Project.create(place, reader, settings=self._settings))
                elif _is_about(place, reader):
                    reader.close()
                    return self._opened(place)
        except BaseException:
            reader.close()
            raise
        raise ProjectError(f"There are too many projects of {path.name} already: open one of them.")

    def _reader(self, path: Path, given: schemas.OpenRequest) -> MediaReader:
        if path.is_file():
            files.check_media(path)
        elif path.exists() and not path.is_dir():
            raise MediaError(f"{path.name} is neither a file nor a folder.")
        reader = open_media(path, rate=given.rate, sequence=given.sequence)
        try:
            for picture in getattr(reader, "paths", ()):
                if picture.is_symlink() and not self.root.holds(picture.resolve()):
                    raise OutsideRootError(f"{picture.name} leads out of {self.root.folder}.")
            files.check_size(path.name, reader.info.width, reader.info.height)
        except BaseException:
            reader.close()
            raise
        return reader


def check_settings(settings: TrackSettings, device: str | None) -> None:
    """Raises InputError or DeviceError for a model, policy, resolution or number format that can't be."""
    from masklet.runs.actions import check_network
    from masklet.runtime import pick_device, pick_dtype

    check_network(settings)
    pick_dtype(settings.dtype, pick_device(device))


def prompt_state(record: PromptRecord) -> schemas.PromptState:
    return schemas.PromptState(
        id=record.id,
        frame=record.frame,
        object=record.object_id,
        points=list(record.prompt.points),
        labels=list(record.prompt.labels),
        box=record.prompt.box,
        mask=None if record.prompt.mask is None else record.prompt.origin,
    )


def parse_color(text: str | None) -> tuple[int, int, int] | None:
    """Red, green, blue of `#rrggbb`."""
    if text is None:
        return None
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _places(path: Path, root: Path) -> list[Path]:
    """Where the project of a source could be."""
    from masklet.naming import sanitize

    stem = sanitize(path.name if path.is_dir() else path.stem) or "project"
    folder = path if path == root else path.parent
    return [folder / f"{stem}{'' if i == 1 else f' {i}'}{PROJECT_SUFFIX}" for i in range(1, 100)]


def _is_about(project: Path, reader: MediaReader) -> bool:
    try:
        with Project.open(project, read_only=True) as opened:
            return opened.source.fingerprint == reader.fingerprint()
    except (ProjectError, InputError):
        return False


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
