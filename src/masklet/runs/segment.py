"""Cut objects out of pictures: what was asked for, picture by picture, into files.

photo_mask.png, photo_cutout.png   for every object (its name comes in between where there are several)
photo_overlay.png                  the picture with every object in its colour
photo_mask.json                    run lengths and scores
photo_everything.png, .json        instead, where everything is searched for
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masklet import __version__
from masklet.atomic import atomic_path
from masklet.errors import DeviceError, InputError, MaskletError, MediaError, PromptError
from masklet.masks import rle
from masklet.masks.render import cutout, overlay
from masklet.media import natural_key, open_media, read_image, write_image
from masklet.naming import unique_names
from masklet.predictors import AutomaticMaskGenerator, FoundMask, ImageMasks, ImagePredictor
from masklet.prompts import Prompt
from masklet.runs.objects import number_objects, object_name, prompt_arguments
from masklet.runs.prompt_text import PromptText
from masklet.settings import known_shape
from masklet.sources import IMAGE_SUFFIXES, Sources, refuse_source

#: Told how far a run is: pictures done, all pictures, and the share of the picture that is being worked on.
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class SegmentRequest:
    """What to cut out of which pictures, how, and where to write it.

    Attributes:
        images: pictures, folders of them, or patterns such as ``shots/*.jpg``.
        prompts: what shows the objects, the same in every picture; none with ``everything``.
        everything: search for masks of everything instead.
        output: folder for the files; None for each picture's own folder.
        model, checkpoint, resolution, shape, device, dtype: see `masklet.ImagePredictor`.
        candidates: also write a mask of each candidate of an ambiguous prompt.
        search: settings of `masklet.AutomaticMaskGenerator`.
        overwrite: replace files that exist.
    """

    images: Sequence[str]
    prompts: Sequence[PromptText] = ()
    everything: bool = False
    output: Path | None = None
    model: str | None = None
    checkpoint: Path | None = None
    resolution: int | None = None
    shape: str | None = None
    device: str | None = None
    dtype: str | None = None
    candidates: bool = False
    search: Mapping[str, Any] = field(default_factory=dict)
    overwrite: bool = False


@dataclass
class PictureReport:
    """What became of one picture.

    Attributes:
        image: the picture.
        files: what was written.
        scores: predicted IoU of each object by name.
        count: masks that were found, where everything was searched for.
        notes: what a user should know.
        problem: what went wrong; `files` that were complete by then stay.
    """

    image: Path
    files: list[Path] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    count: int | None = None
    notes: list[str] = field(default_factory=list)
    problem: MaskletError | None = None


@dataclass
class _WantedObject:
    """An object with what shows it: some of points with labels, a box, and a mask."""

    id: int
    name: str
    prompt: dict[str, Any]


def segment(request: SegmentRequest, progress: Progress | None = None) -> Iterator[PictureReport]:
    """Work through the pictures and report each as soon as its files are written.

    A picture that can't be read, or that a prompt doesn't fit, is reported with its problem, and the next one follows.
    Everything that can be known before is checked before the first picture.

    Raises:
        InputError: nothing or too much was asked for, or a file is in the way.
        SourceError: a picture or a mask that was given would be written over.
        PromptError: a prompt that fits no picture; MediaError: a picture or a mask that isn't there.
        CheckpointError, DeviceError: the network can't be used.
    """
    if request.everything and request.prompts:
        raise InputError("--everything needs no points, boxes or masks: leave them out, or leave --everything out")
    if not request.everything and not request.prompts:
        raise InputError(
            "say what to cut out: --point X,Y (a point on it), --box X1,Y1,X2,Y2, --mask FILE, or --everything"
        )
    objects = _collect(request.prompts)
    paths = find_pictures(request.images)
    places = _places(paths, request.output)
    sources = Sources(*paths)
    for place in places.values():
        _check_free(_file_names(place, objects, request), request.overwrite)
    run = _Run(request, objects, sources)
    return _work(run, places, progress or (lambda *_: None))


def _work(run: _Run, places: Mapping[Path, Path], progress: Progress) -> Iterator[PictureReport]:
    for done, (path, place) in enumerate(places.items()):
        progress(done, len(places), 0.0)
        report = PictureReport(path)

        def advance(points: int, total: int, done: int = done) -> None:
            progress(done, len(places), points / total)

        try:
            run.picture(report, place, advance)
        except DeviceError:
            raise  # the next picture would fail for the same reason
        except MaskletError as error:
            report.problem = error
        yield report
        progress(done + 1, len(places), 0.0)


class _Run:
    """The network, loaded once for all pictures."""

    def __init__(self, request: SegmentRequest, objects: Sequence[_WantedObject], sources: Sources) -> None:
        self.request, self.objects, self.sources = request, objects, sources
        self.predictor = ImagePredictor(
            request.model,
            resolution=request.resolution,
            shape=known_shape(request.shape or "square"),
            device=request.device,
            dtype=request.dtype,
            checkpoint=request.checkpoint,
        )
        self.search = AutomaticMaskGenerator(self.predictor, **request.search) if request.everything else None

    def picture(self, report: PictureReport, place: Path, advance: Callable[[int, int], None]) -> None:
        image_hwc = read_image(report.image)
        if self.search is not None:
            found = self.search.generate(image_hwc, advance)
            self._write_everything(report, place, image_hwc, found)
            return
        self.predictor.set_image(image_hwc)
        answers = []
        for wanted in self.objects:
            try:
                answers.append(self.predictor.predict(**wanted.prompt))
            except PromptError as error:
                raise PromptError(f"{report.image}, {wanted.name}: {error}") from error
        self._write_objects(report, place, image_hwc, answers)

    def _write_objects(
        self, report: PictureReport, place: Path, image_hwc: np.ndarray, answers: Sequence[ImageMasks]
    ) -> None:
        stems = _stems(place, self.objects)
        for wanted, answer in zip(self.objects, answers, strict=True):
            stem = stems[wanted.id]
            self._write(report, _with(stem, "_mask.png"), answer.mask)
            self._write(report, _with(stem, "_cutout.png"), cutout(image_hwc, answer.mask, clear_outside=True))
            if self.request.candidates and len(answer) > 1:
                for i, candidate in enumerate(answer):
                    self._write(report, _with(stem, f"_candidate{i + 1}.png"), candidate.mask)
            report.scores[wanted.name] = answer.predicted_iou
            if not answer.mask.any():
                report.notes.append(f"{wanted.name}: nothing was found there, its mask is empty")
            elif answer.object_score < 0:
                report.notes.append(f"{wanted.name}: the model doubts that there is an object")
        masks = {wanted.id: answer.mask for wanted, answer in zip(self.objects, answers, strict=True)}
        names = {wanted.id: wanted.name for wanted in self.objects} if len(self.objects) > 1 else None
        self._write(report, _with(place, "_overlay.png"), overlay(image_hwc, masks, names=names))
        entries = [_entry(wanted, answer) for wanted, answer in zip(self.objects, answers, strict=True)]
        self._write_json(report, _with(place, "_mask.json"), image_hwc, {"objects": entries})

    def _write_everything(
        self, report: PictureReport, place: Path, image_hwc: np.ndarray, found: Sequence[FoundMask]
    ) -> None:
        # Large ones first, so that none lies hidden under another.
        ranked = sorted(found, key=lambda mask: -mask.area)
        masks = _Masks(ranked)
        self._write(report, _with(place, "_everything.png"), overlay(image_hwc, masks))
        entries = [{"id": i + 1, **mask.to_dict()} for i, mask in enumerate(ranked)]
        self._write_json(report, _with(place, "_everything.json"), image_hwc, {"annotations": entries})
        report.count = len(found)

    def _write(self, report: PictureReport, path: Path, array: np.ndarray) -> None:
        write_image(path, array, overwrite=self.request.overwrite)
        report.files.append(path)

    def _write_json(self, report: PictureReport, path: Path, image_hwc: np.ndarray, found: dict[str, Any]) -> None:
        content = {
            "masklet": __version__,
            "image": str(report.image),
            "width": image_hwc.shape[1],
            "height": image_hwc.shape[0],
            "model": self.predictor.model.spec.name,
            "resolution": self.predictor.image_size,
            "shape": self.predictor.shape,
            **found,
        }
        with atomic_path(path, self.request.overwrite) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        report.files.append(path)


class _Masks(Mapping[int, np.ndarray]):
    """Masks by number, each unpacked when it is drawn: hundreds of them at once would fill the memory."""

    def __init__(self, found: Sequence[FoundMask]) -> None:
        self._found = found

    def __getitem__(self, number: int) -> np.ndarray:
        return self._found[number - 1].mask

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, len(self._found) + 1))

    def __len__(self) -> int:
        return len(self._found)


# --- what was typed ------------------------------------------------------------------------------------------------


def find_pictures(names: Sequence[str]) -> list[Path]:
    """The pictures that files, folders and patterns stand for, each once, in the order given and natural order within.

    Raises:
        InputError: no name at all; MediaError: a file that isn't there, a folder without pictures, a pattern that
            nothing matches, a video.
    """
    if not names:
        raise InputError("name a picture")
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
            if not inside:
                raise MediaError(f"The folder {path} holds no pictures.")
            found |= dict.fromkeys(sorted(inside, key=lambda p: natural_key(p.name)))
        elif path.is_file():
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                _refuse_video(path)
            found[path] = None
        elif glob.has_magic(name):
            matching = [p for p in map(Path, glob.glob(name, recursive=True)) if p.is_file()]  # noqa: PTH207
            if not matching:
                raise MediaError(f"No file matches {name}.")
            found |= dict.fromkeys(sorted(matching, key=lambda p: natural_key(str(p))))
        else:
            raise MediaError(f"There is no file {path}.")
    return list(found)


def _refuse_video(path: Path) -> None:
    try:
        with open_media(path) as reader:
            frames = reader.info.frame_count if reader.info.kind == "video" else 1
    except MaskletError:
        return  # reading it says what is wrong
    if frames > 1:
        raise MediaError(f"{path} is a video of {frames} frames: `masklet track` follows objects through it.")


def _collect(texts: Sequence[PromptText]) -> list[_WantedObject]:
    """Objects with their prompts, in the order in which they first appear."""
    numbers = number_objects(texts)
    typed: dict[int, list[PromptText]] = {}
    for text in texts:
        if text.frame is not None:
            raise PromptError(f"a picture has no frames: leave @{text.frame} out")
        typed.setdefault(numbers[text.object], []).append(text)
    found = []
    for number, together in typed.items():
        name = object_name(together[0], number)
        prompt = prompt_arguments(together, name)
        if 1 not in prompt.get("labels", ()) and "box" not in prompt and "mask" not in prompt:
            raise PromptError(f"{name} has only points that are not on it; add a --point or a --box that shows it")
        found.append(_WantedObject(number, name, prompt))
    return found


def _prompt_json(prompt: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if "points" in prompt or "box" in prompt:
        kept = Prompt(tuple(prompt.get("points", ())), tuple(prompt.get("labels", ())), prompt.get("box")).to_json()
    return kept | Prompt(mask=rle.encode(prompt["mask"])).to_json() if "mask" in prompt else kept


# --- where it goes -------------------------------------------------------------------------------------------------


def _places(paths: Sequence[Path], output: Path | None) -> dict[Path, Path]:
    """For each picture the path that its files' names begin with; pictures of one name get their suffix into it."""
    places = {path: (path.parent if output is None else output) / path.stem for path in paths}
    taken: dict[Path, int] = {}
    for place in places.values():
        taken[place] = taken.get(place, 0) + 1
    for path, place in places.items():
        if taken[place] > 1:
            places[path] = place.with_name(path.name.replace(".", "_"))
    rivals: dict[Path, Path] = {}
    for path, place in places.items():
        if place in rivals:
            raise InputError(
                f"the files of {rivals[place]} and {path} would have the same names: write them to different folders"
            )
        rivals[place] = path
    return places


def _stems(place: Path, objects: Sequence[_WantedObject]) -> dict[int, Path]:
    """What the names of each object's files begin with."""
    if len(objects) == 1:
        return {objects[0].id: place}
    names = unique_names({known.id: known.name for known in objects})
    return {number: _with(place, f"_{name}") for number, name in names.items()}


def _file_names(place: Path, objects: Sequence[_WantedObject], request: SegmentRequest) -> list[Path]:
    if request.everything:
        return [_with(place, end) for end in ("_everything.png", "_everything.json")]
    ends = ["_mask.png", "_cutout.png"]
    if request.candidates:
        ends += [f"_candidate{i}.png" for i in (1, 2, 3)]
    own = [_with(stem, end) for stem in _stems(place, objects).values() for end in ends]
    return [*own, _with(place, "_overlay.png"), _with(place, "_mask.json")]


def _check_free(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        refuse_source(path)
        if path.is_dir():
            raise InputError(f"{path} is a folder, and a file of this name is to be written: choose another folder")
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists already: choose another folder with -o, or add --overwrite to replace it")


def _with(place: Path, end: str) -> Path:
    return place.with_name(place.name + end)


def _entry(wanted: _WantedObject, answer: ImageMasks) -> dict[str, Any]:
    box = answer.box_xyxy
    return {
        "id": wanted.id,
        "name": wanted.name,
        "prompt": _prompt_json(wanted.prompt),
        "rle": rle.encode(answer.mask),
        "area": int(np.count_nonzero(answer.mask)),
        "box_xyxy": None if box is None else [int(side) for side in box],
        "object_score": round(answer.object_score, 4),
        "predicted_iou": round(answer.predicted_iou, 4),
        "candidate": answer.best,
        "candidates": [
            {
                "predicted_iou": round(candidate.predicted_iou, 4),
                "area": int(np.count_nonzero(candidate.mask)),
                "rle": rle.encode(candidate.mask),
            }
            for candidate in answer
        ],
    }
