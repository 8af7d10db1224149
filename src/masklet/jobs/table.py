"""What a batch is asked for: a folder of videos with prompts beside them, or a table in CSV, JSON Lines or YAML.

All forms say the same: for every video what is to be tracked, and how. docs/batch.md describes them. A table is checked
as a whole before anything starts, and every mistake is told with its line.
"""

from __future__ import annotations

import csv
import glob
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from masklet.errors import InputError, MaskletError, MediaError
from masklet.export import get
from masklet.jobs.boxes import read_prompts, read_text
from masklet.jobs.detectors import load_detector, scheduled
from masklet.jobs.job import JobExport, JobPrompt, JobSettings, VideoJob
from masklet.jobs.places import local_path
from masklet.media import open_media
from masklet.naming import sanitize
from masklet.runs.actions import make_plan

#: Behind a video's name: what is to be tracked in it.
PROMPTS_SUFFIX = ".prompts.json"
#: Columns of a CSV table. Every other one is a setting (`masklet.jobs.job.JobSettings`).
COLUMNS = ("video", "name", "object", "class", "frame", "points", "negative", "box", "mask", "boxes", "detector")
_SETTINGS = tuple(JobSettings.model_fields)
_PROMPT = ("object", "frame", "points", "labels", "negative", "box", "box_xyxy", "mask", "rle", "origin")
#: What may lie beside a video and isn't one.
NO_VIDEO = (".json", ".csv", ".txt", ".xml", ".yaml", ".masklet", ".wav", ".mp3", ".srt", ".html", ".md")
_ONE_OF = {"prompts": "prompt", "points": "point", "labels": "label", "exports": "format", "settings": "setting"}
_SPACES = re.compile(r"[\s;|]+")


class TableError(InputError):
    """What is wrong with a table: every mistake with its place."""

    def __init__(self, path: Path, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        few = self.mistakes[:50]
        more = [f"and {len(self.mistakes) - len(few)} more"] if len(self.mistakes) > len(few) else []
        count = "One mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{count} in {path}; nothing was started.", *few, *more]))


@dataclass
class _Asked:
    """What the lines of a table say of one video."""

    where: list[str]
    video: str
    name: str
    broken: bool = False
    prompts: list[dict[str, Any] | JobPrompt] = field(default_factory=list)
    detector: dict[str, Any] | None = None
    classes: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    exports: list[dict[str, Any]] = field(default_factory=list)


def read_jobs(
    place: Path,
    *,
    exports: Iterable[JobExport] = (),
    defaults: Mapping[str, Any] | None = None,
    checked: Callable[[int, int], None] = lambda done, total: None,
) -> list[VideoJob]:
    """The jobs of a folder or a table, each checked against its video.

    Args:
        exports: formats for every video that doesn't name its own.
        defaults: settings for those that a video leaves open.
        checked: told how many videos were looked at, of how many.

    Raises TableError: one or more mistakes; InputError: it can't be read at all. A video that is there but can't be
    read is none: it fails alone when its turn comes.
    """
    mistakes: list[str] = []
    asked: dict[str, _Asked] = {}
    for where, entry in _entries(place, mistakes):
        try:
            _take(entry, where, place, asked)
        except InputError as problem:
            mistakes.append(f"{where}: {problem}")
    if not asked and not mistakes:
        what = f"no video with a {PROMPTS_SUFFIX[1:]} beside it" if place.is_dir() else "no video"
        raise InputError(f"There is {what} in {place}. `masklet batch init` writes a table to fill in.")
    jobs = []
    for number, found in enumerate(asked.values(), 1):
        where = ", ".join(found.where)
        try:
            if not found.broken:
                jobs.append(_job(found, exports, defaults or {}))
        except ValidationError as problem:
            mistakes += [f"{where}: {_words(error)}" for error in problem.errors()]
        except PydanticSerializationError:
            mistakes.append(f"{where}: there are characters in it that are none (half of a surrogate pair)")
        except MaskletError as problem:
            mistakes.append(f"{where}: {problem}")
        checked(number, len(asked))
    if mistakes:
        raise TableError(place, mistakes)
    return jobs


def _job(asked: _Asked, exports: Iterable[JobExport], defaults: Mapping[str, Any]) -> VideoJob:
    job = VideoJob(
        name=asked.name,
        source=asked.video,
        prompts=tuple(asked.prompts),  # type: ignore[arg-type]
        classes=asked.classes,
        settings=asked.settings,  # type: ignore[arg-type]
        detector=asked.detector,  # type: ignore[arg-type]
        exports=tuple(asked.exports) or tuple(exports),  # type: ignore[arg-type]
    )
    job.model_dump_json()  # as it will be kept
    for export in job.exports:
        get(export.format).parse(export.options)
    if local_path(job.source) is None:  # it is looked at once it has been fetched
        return job
    request = job.request(defaults)
    if request.checkpoint is not None and not Path(request.checkpoint).is_file():
        raise InputError(f"there is no checkpoint {request.checkpoint}")
    if not any(mark in job.source for mark in "#%*?") and not Path(job.source).exists():
        raise InputError(f"there is no file {job.source}")
    try:
        reader = open_media(request.source, rate=request.rate)
    except MediaError:
        return job
    with reader:
        if job.detector is not None:
            load_detector(job.detector.detector)
            scheduled(reader, range(1), job.detector.every)
        if job.prompts:
            make_plan(request, reader)
        elif job.detector is None:
            raise InputError("nothing says what to track: fill in points, box or mask (or boxes, or detector)")
    return job


def _entries(place: Path, mistakes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the lines say, each with its place; lines that can't be read go to `mistakes`."""
    if place.is_dir():
        for file in sorted(place.glob(f"*{PROMPTS_SUFFIX}")):
            yield from _beside(file, mistakes)
        return
    text = read_text(place, "There is no folder or table {}. `masklet batch init FOLDER` writes one.")
    suffix = place.suffix.lower()
    if suffix == ".csv":
        yield from _csv(text, mistakes)
    elif suffix in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield from _parsed(f"line {number}", partial(_line, line, f"line {number}"), mistakes)
    elif suffix in (".yaml", ".yml"):
        yield from _parsed(place.name, lambda: _yaml(text), mistakes)
    elif suffix == ".json":
        yield from _parsed(place.name, lambda: _listed(json.loads(text), "video {}".format), mistakes)
    else:
        raise InputError(f"{place.name} is no table: give a folder, or a file ending in .csv, .jsonl, .json or .yaml.")


def _parsed(
    where: str, parse: Callable[[], Iterable[tuple[str, Any]]], mistakes: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `parse` finds, which should be one mapping for every video."""
    try:
        found = list(parse())
    except (ValueError, yaml.YAMLError, RecursionError) as problem:
        mistakes.append(f"{where}: {' '.join(str(problem).split())}")
        return
    for place, entry in found:
        if isinstance(entry, dict) and all(isinstance(key, str) for key in entry):
            yield place, entry
        else:
            # A few lines of YAML can stand for more than there is memory.
            mistakes.append(f"{place}: a video is written as names with values, not as {reprlib.repr(entry)}")


def _listed(content: Any, place: Callable[[int], str]) -> list[tuple[str, Any]]:
    """The videos of a file, which is a list of them, or has one under `videos`."""
    entries = content.get("videos") if isinstance(content, dict) and "videos" in content else content
    if not isinstance(entries, list):
        raise ValueError("there should be a list of videos")
    return [(place(number), entry) for number, entry in enumerate(entries, 1)]


def _line(text: str, place: str) -> list[tuple[str, Any]]:
    return [(place, json.loads(text))]


def _yaml(text: str) -> list[tuple[str, Any]]:
    node = yaml.compose(text, yaml.SafeLoader)
    if isinstance(node, yaml.MappingNode):
        node = next((value for key, value in node.value if key.value == "videos"), None)
    lines = [child.start_mark.line + 1 for child in node.value] if isinstance(node, yaml.SequenceNode) else []
    return _listed(yaml.safe_load(text), lambda number: f"line {lines[number - 1]}")


def _csv(text: str, mistakes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = text.splitlines()
    try:
        dialect: Any = csv.Sniffer().sniff(lines[0], ",;\t") if lines else csv.excel
    except csv.Error:
        dialect = csv.excel
    rows = csv.reader(lines, dialect, strict=True)
    try:
        heads = [head.strip().lower() for head in next(rows, [])]
    except csv.Error as problem:
        mistakes.append(f"line 1: {problem}")
        return
    known = {*COLUMNS, *_SETTINGS}
    if "video" not in heads:
        mistakes.append(
            f"line 1: the first line names the columns, and one has to be `video` ({', '.join(COLUMNS)}, …)"
        )
        return
    mistakes += [
        f"line 1: there is no column {head!r}; there are: {', '.join(sorted(known))}"
        for head in heads
        if head and head not in known
    ]
    mistakes += [f"line 1: the column {head!r} is there twice" for head in set(heads) & known if heads.count(head) > 1]
    try:
        for row in rows:
            where = f"line {rows.line_num}"
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            if len(row) > len(heads):
                mistakes.append(f"{where}: {len(row)} cells, but the first line names {len(heads)} columns")
                continue
            yield (
                where,
                {head: cell.strip() for head, cell in zip(heads, row, strict=False) if head in known and cell.strip()},
            )
    except csv.Error as problem:
        mistakes.append(f"line {rows.line_num}: {problem}")


def _beside(file: Path, mistakes: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entry of `clip.prompts.json`, for the video of that name beside it."""
    stem = file.name.removesuffix(PROMPTS_SUFFIX)
    there = [path for path in sorted(file.parent.glob(f"{glob.escape(stem)}*")) if stem in (path.stem, path.name)]
    videos = [path for path in there if path.is_dir() or (path.suffix.lower() not in NO_VIDEO)]
    if len(videos) != 1:
        what = "there is no video" if not videos else f"{' and '.join(path.name for path in videos)} could be meant"
        mistakes.append(f"{file.name}: {what} beside it; it is for the video {stem} with any suffix")
        return
    try:
        text = read_text(file)
    except InputError as problem:
        mistakes.append(f"{file.name}: {problem}")
        return
    for place, entry in _parsed(file.name, partial(_line, text, file.name), mistakes):
        yield place, {"video": videos[0].name, **entry}


def _take(entry: Mapping[str, Any], where: str, place: Path, asked: dict[str, _Asked]) -> None:
    """Adds what one line says to what is known of its video. Raises InputError."""
    unknown = sorted(
        set(entry)
        - {"video", "name", "class", "classes", "prompts", "formats", "boxes", "detector", *_PROMPT, *_SETTINGS}
    )
    if unknown:
        raise InputError(f"{unknown[0]!r} means nothing here")
    video, name = entry.get("video"), entry.get("name")
    if not isinstance(video, str) or not video.strip():
        raise InputError("`video` is missing")
    base = place if place.is_dir() else place.parent
    path = local_path(video)
    source = video if path is None else str((base / path).absolute())
    name = (
        str(name) if name is not None else re.sub(r"[._-]?(#+|%0?\d*d|\*)$", "", Path(video).stem) or Path(video).stem
    )
    key = sanitize(name).casefold()
    found = asked.setdefault(key, _Asked([], source, name))
    found.where.append(where)
    if found.video != source:
        raise InputError(
            f"{video} and {found.video} ({found.where[0]}) would both be called {name!r}: give one a `name`"
        )
    try:
        _take_into(found, entry, base)
    except InputError:
        found.broken = True
        raise


def _take_into(found: _Asked, entry: Mapping[str, Any], base: Path) -> None:
    listed = entry.get("prompts", [])
    if not isinstance(listed, list) or not all(isinstance(prompt, dict) for prompt in listed):
        raise InputError("`prompts` is a list of prompts, each with names and values")
    own = {key: entry[key] for key in _PROMPT if key in entry and key != "frame"}
    if set(own) - {"object"}:
        listed = [{key: entry[key] for key in _PROMPT if key in entry}, *listed]
    elif "frame" in entry:
        found.settings["frame"] = entry["frame"]
    for prompt in listed:
        found.prompts.append(_prompt(prompt, base))
    if "boxes" in entry:  # a file of another tool, beside the table
        with open_media(found.video, rate=entry.get("rate")) as reader:
            read = read_prompts(base / str(entry["boxes"]), reader.info)
        found.prompts += read.prompts
        found.classes |= read.classes
    if "detector" in entry:
        given = entry["detector"]
        found.detector = given if isinstance(given, dict) else {"detector": str(given)}
    classes, formats = entry.get("classes", {}), entry.get("formats", [])
    if not isinstance(classes, dict):
        raise InputError("`classes` says the class of every object by its name")
    if not isinstance(formats, list):
        raise InputError("`formats` is a list of export formats")
    found.classes |= classes
    if "class" in entry:
        found.classes[str(entry.get("object") or "object 1")] = str(entry["class"])
    for setting in _SETTINGS:
        if setting in entry and setting != "frame":
            value = _value(setting, entry[setting], base)
            if found.settings.setdefault(setting, value) != value:
                raise InputError(f"{setting} is {value} here, but {found.settings[setting]} on {found.where[0]}")
    for export in formats:
        found.exports.append({"format": export} if isinstance(export, str) else export)


def _prompt(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """One prompt; in a table of texts, points are `640,300 700,320` and boxes `153,219,571,558`. Raises InputError."""
    prompt = {key: value for key, value in given.items() if key not in ("negative", "origin")}
    points = _points(given.get("points", ()), "points")
    negative = _points(given.get("negative", ()), "negative")
    if points or negative:
        labels = given.get("labels") or [1] * len(points)
        prompt |= {"points": [*points, *negative], "labels": [*labels, *[0] * len(negative)]}
    if isinstance(given.get("box"), str):
        prompt["box"] = _numbers(given["box"], 4, "box")
    if isinstance(given.get("mask"), str):
        prompt["mask"] = base / given["mask"]
    return prompt


def _points(given: Any, what: str) -> list[Any]:
    if isinstance(given, str):
        return [_numbers(text, 2, what) for text in _SPACES.split(given.strip()) if text]
    if not isinstance(given, list | tuple):
        raise InputError(f"{what} are x, y pairs, not {given!r:.40}")
    return [given] if len(given) == 2 and not isinstance(given[0], list | tuple) else list(given)


def _numbers(text: str, count: int, what: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count:
        example = "640,300" if count == 2 else "153,219,571,558 (left, top, right, bottom)"
        raise InputError(f"{what} can't be read: {text!r}. Write {example}")
    return found


def _value(setting: str, given: Any, base: Path) -> Any:
    """A setting; in a table of texts, `policy_settings` and `finish` are JSON."""
    if setting == "checkpoint":
        return str(base / str(given))
    if isinstance(given, str) and setting in ("policy_settings", "finish", "resolution", "zoom"):
        try:
            return json.loads(given.lower() if setting == "zoom" else given)
        except ValueError:
            raise InputError(f"{setting} can't be read: {given!r:.60}") from None
    return given


def _words(error: Any) -> str:
    """One mistake that pydantic found, in a sentence."""
    place = " ".join(str(part + 1) if isinstance(part, int) else _ONE_OF.get(part, part) for part in error["loc"])
    return f"{place}: {error['msg'].removeprefix('Value error, ')}" if place else error["msg"]
