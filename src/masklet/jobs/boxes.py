"""Boxes of other tools as prompts: COCO, YOLO, MOTChallenge, Label Studio, CVAT, and masklet's own prompt files.

What a file is, is seen from what is in it. Boxes that name their object keep it; the others are joined from frame to
frame where boxes of one class overlap. docs/detectors.md describes each format.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import yaml
from pydantic import ValidationError

from masklet.errors import InputError
from masklet.jobs.job import JobPrompt
from masklet.jobs.overlaps import match
from masklet.masks.boxes import mask_to_box
from masklet.media import MediaInfo

#: How much boxes of neighbouring frames overlap (IoU) that show one object, where a file doesn't say it.
SAME_OBJECT = 0.3
_LONGEST_NAME = 60
_MOST_TOLD = 20

Xyxy = tuple[float, float, float, float]


@dataclass(frozen=True)
class SeenBox:
    """A box that a file has: on which frame, of which class, and, where it says that, of which object.

    `name` is what the object is called, `track` what tells it from others of its class.
    """

    frame: int
    box: Xyxy
    label: str | None = None
    track: str | None = None
    name: str | None = None
    score: float = 1.0


class FoundPrompts(NamedTuple):
    """Prompts of a file, and the class of objects by name where it has classes."""

    prompts: list[JobPrompt]
    classes: dict[str, str]


def read_prompts(
    path: Path, info: MediaInfo, *, every: int | None = None, first_frame: int | None = None, min_score: float = 0.0
) -> FoundPrompts:
    """The prompts that a file or folder has for a video.

    Args:
        info: of the video that they are for.
        every: a prompt every so many frames for each object; by default its first box alone.
        first_frame: the number that the file gives the first frame; by default 1 for MOTChallenge, else 0. Files that
            say what they count from (Label Studio's videos, masklet's own COCO) need none.
        min_score: boxes of a lower score are left out.

    Raises InputError: it can't be read, or nothing in it is for this video; every mistake is told with its place.
    """
    if every is not None and every < 1:
        raise InputError(f"a prompt every {every} frames makes no sense: 1 or more")
    mistakes: list[str] = []
    if path.is_dir():
        seen = _yolo(path, info, first_frame or 0, mistakes)
    else:
        text = read_text(path)
        start = text.lstrip()[:1]
        if start == "<":
            seen = _cvat(text, first_frame or 0, mistakes)
        elif start in ("{", "["):
            content = _json(text)
            if isinstance(content, dict) and "prompts" in content:
                return _own(content, path)
            if isinstance(content, dict) and str(content.get("format", "")).startswith("masklet"):
                return _masklets(content, path)
            elif isinstance(content, list) and content and _is_task(content[0]):
                seen = _label_studio(content, info, first_frame, mistakes)
            else:
                seen = _coco(content, first_frame or 0, mistakes)
        else:
            seen = _mot(text, 1 if first_frame is None else first_frame, mistakes)
    boxes = list(seen)
    for number, seen_box in enumerate(boxes):
        if not 0 <= seen_box.frame < info.frame_count:
            mistakes.append(
                f"box {number + 1} is on frame {seen_box.frame}, but the video has frames 0 to {info.frame_count - 1}; "
                "--prompts-first says what number the first frame has in the file"
            )
    if mistakes:
        more = [f"and {len(mistakes) - _MOST_TOLD} more"] if len(mistakes) > _MOST_TOLD else []
        raise InputError("\n  ".join([f"{path} can't be used:", *mistakes[:_MOST_TOLD], *more]))
    boxes = [seen_box for seen_box in boxes if seen_box.score >= min_score]
    if not boxes:
        raise InputError(f"{path} has no box" + (f" with a score of {min_score:g} or more" if min_score else ""))
    return _chosen(named(boxes), every)


def named(boxes: Sequence[SeenBox]) -> list[SeenBox]:
    """The boxes in the order of the video, each with the name of its object.

    Objects are called by their name, else by their class, with a number where there are several.
    """
    ordered = _linked(sorted(boxes, key=lambda seen: seen.frame))
    keys = list(dict.fromkeys((seen.name, seen.label, seen.track) for seen in ordered))
    names: dict[tuple[str | None, str | None, str | None], str] = {}
    for key in keys:
        name, label, track = key
        if name is not None:
            called = name
        elif label is None:
            called = track if track is not None and track.isdecimal() and int(track) > 0 else f"track {track}"
        else:
            alone = sum(other[1] == label for other in keys) == 1
            called = label if alone else f"{label[: _LONGEST_NAME - 12]} {track}"
        names[key] = _plain(called)
    return [replace(seen, name=names[seen.name, seen.label, seen.track]) for seen in ordered]


def _chosen(boxes: Iterable[SeenBox], every: int | None) -> FoundPrompts:
    """The first box of each object, and with `every` those that come so many frames later."""
    prompts: list[JobPrompt] = []
    classes: dict[str, str] = {}
    last: dict[str, int] = {}
    for seen in boxes:
        name = str(seen.name)
        if name in last and (every is None or seen.frame < last[name] + every):
            continue
        last[name] = seen.frame
        prompts.append(JobPrompt(object=name, frame=str(seen.frame), box=seen.box))
        if seen.label is not None:
            classes.setdefault(f"object {name}" if name.isdecimal() else name, seen.label)
    return FoundPrompts(prompts, classes)


def _linked(boxes: Sequence[SeenBox]) -> list[SeenBox]:
    """Boxes that don't say their object get a number that those have in common that follow each other."""
    free = [seen for seen in boxes if seen.track is None and seen.name is None]
    linked = [seen for seen in boxes if seen.track is not None or seen.name is not None]
    ends: dict[str | None, dict[str, SeenBox]] = {}
    taken = {seen.track for seen in linked}
    number = 0
    for frame in dict.fromkeys(seen.frame for seen in free):
        for label in dict.fromkeys(seen.label for seen in free if seen.frame == frame):
            here = [seen for seen in free if (seen.frame, seen.label) == (frame, label)]
            tracks = ends.setdefault(label, {})
            found = match([seen.box for seen in here], [seen.box for seen in tracks.values()], SAME_OBJECT)
            known = list(tracks)
            for index, seen in enumerate(here):
                track = known[found[index]] if index in found else None
                if track is None:
                    number += 1
                    while str(number) in taken:
                        number += 1
                    track = str(number)
                linked.append(replace(seen, track=track))
                tracks[track] = seen
    return sorted(linked, key=lambda seen: seen.frame)


# --- formats ---------------------------------------------------------------------------------------------------


def _mot(text: str, first: int, mistakes: list[str]) -> Iterator[SeenBox]:
    """MOTChallenge: frame, id (-1: not known), left, top, width, height, score, class, …; pixels are counted from 1."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = re.split(r"[,\s]+", line.strip().strip(","))
        values = _floats(cells)
        if values is None or len(values) < 6:
            mistakes.append(
                f"line {number}: {line[:60]!r} is no box. MOTChallenge writes frame, id, left, top, width, height in "
                "numbers; other files that are read are COCO, Label Studio and prompts (JSON), CVAT (XML), and YOLO's "
                "folder"
            )
            continue
        frame, track, left, top, width, height = values[:6]
        score = values[6] if len(values) > 6 and values[6] >= 0 else 1.0
        if len(values) == 9 and score == 0:  # ground truth that is not to be looked at
            continue
        box = _xywh((left - 1, top - 1, width, height), f"line {number}", mistakes)
        if box is not None:
            yield SeenBox(int(frame) - first, box, track=None if track < 0 else f"{track:g}", score=score)


def _yolo(folder: Path, info: MediaInfo, first: int, mistakes: list[str]) -> Iterator[SeenBox]:
    """YOLO: a text a frame, whose number ends its name; class, then a box or a polygon in shares of the frame."""
    classes = _yolo_classes(folder)
    labels = folder / "labels" if (folder / "labels").is_dir() else folder
    for path in sorted(labels.rglob("*.txt")):
        where = path.relative_to(folder)
        if path.name == "classes.txt":
            continue
        frame = _number_in(path.stem)
        if frame is None:
            mistakes.append(f"{where}: its name doesn't end in the number of a frame")
            continue
        for number, line in enumerate(read_text(path).splitlines(), 1):
            place, cells = f"{where}, line {number}", line.split()
            values = _floats(cells)
            if not cells:
                continue
            if values is None or not (len(cells) in (5, 6) or (len(cells) >= 7 and len(cells) % 2)):
                mistakes.append(f"{place}: {line[:60]!r} is neither a class with a box nor one with a polygon")
                continue
            # A box with its score and the number of its track has as many cells as a triangle.
            tracked = len(cells) == 7 and cells[6].isdecimal() and (values[6] > 1 or "." in cells[5])
            score = values[5] if len(cells) == 6 or tracked else 1.0
            if len(cells) <= 6 or tracked:
                x, y, width, height = values[1:5]
                corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            else:
                corners = (min(values[1::2]), min(values[2::2]), max(values[1::2]), max(values[2::2]))
            sides = (info.width, info.height) * 2
            box = _box([share * side for share, side in zip(corners, sides, strict=True)], place, mistakes)
            if box is not None:
                label = classes.get(int(values[0]), f"class {int(values[0])}")
                yield SeenBox(frame - first, box, label, cells[6] if tracked else None, score=score)


def _yolo_classes(folder: Path) -> dict[int, str]:
    for place in (folder, folder.parent):
        if (place / "data.yaml").is_file():
            try:
                found = (yaml.safe_load(read_text(place / "data.yaml")) or {}).get("names", {})
                pairs = found.items() if isinstance(found, dict) else enumerate(found)
                return {int(number): str(name) for number, name in pairs}
            except (yaml.YAMLError, AttributeError, TypeError, ValueError) as problem:
                raise InputError(f"{place / 'data.yaml'} can't be read: {problem}") from problem
        if (place / "classes.txt").is_file():
            return dict(enumerate(read_text(place / "classes.txt").split("\n")))
    return {}


def _coco(content: Any, first: int, mistakes: list[str]) -> Iterator[SeenBox]:
    """COCO: results (a list), or a data set with `images`, `annotations` and `categories`."""
    data = content if isinstance(content, dict) else {}
    entries = data.get("annotations") if data else content
    if not isinstance(entries, list):
        raise InputError(
            "this JSON is none that is known: COCO has a list of boxes or `annotations`, Label Studio a list of "
            "tasks, and masklet's own files `prompts`"
        )
    frames: dict[Any, int] = {}
    for number, image in enumerate(data.get("images", ()), 1):
        if not isinstance(image, dict) or "id" not in image:
            mistakes.append(f"image {number}: it has no id")
            continue
        named_frame = _number_in(Path(str(image.get("file_name", ""))).stem)
        said = image.get("frame_index")
        if isinstance(said, int):
            frames[image["id"]] = said
        else:
            frames[image["id"]] = (number - 1 if named_frame is None else named_frame) - first
    labels = {
        found.get("id"): str(found.get("name")) for found in data.get("categories", ()) if isinstance(found, dict)
    }
    for number, entry in enumerate(entries, 1):
        where = f"annotation {number}"
        if not isinstance(entry, dict) or "image_id" not in entry or "bbox" not in entry:
            mistakes.append(f"{where}: it needs an image_id and a bbox")
            continue
        image_id, category = entry["image_id"], entry.get("category_id")
        frame = frames.get(image_id) if frames else _number_in(str(image_id))
        if frame is None:
            mistakes.append(f"{where}: there is no image {image_id!r}")
            continue
        box = _xywh(entry["bbox"], where, mistakes)
        if box is not None:
            label = None if category is None else labels.get(category, f"class {category}")
            track, name = entry.get("track_id"), entry.get("name")
            yield SeenBox(
                frame if frames else frame - first,
                box,
                label,
                None if track is None else str(track),
                None if name is None else str(name),
                float(entry.get("score") or 0.0) if "score" in entry else 1.0,
            )


def _masklets(content: dict[str, Any], path: Path) -> FoundPrompts:
    """masklets.json: what was said of every object. Masks that tracking found are left out."""
    prompts, classes = [], {}
    for known in content.get("objects", ()):
        for said in known.get("prompts", ()):
            if said.get("origin") != "tracked":
                kept = {key: value for key, value in said.items() if key != "origin"}
                prompts.append({"object": known["name"], **kept})
        if "category" in known:
            classes[known["name"]] = known["category"]
    return _own({"prompts": prompts, "classes": classes}, path)


def _label_studio(tasks: list[Any], info: MediaInfo, first: int | None, mistakes: list[str]) -> Iterator[SeenBox]:
    """Label Studio: boxes on a video, or boxes and brush masks on pictures; places are in per cent."""
    for number, task in enumerate(tasks, 1):
        if not _is_task(task):
            mistakes.append(f"task {number}: it has no data with annotations or predictions")
            continue
        data = task["data"]
        frame = data.get("frame")
        if not isinstance(frame, int):
            shown = _number_in(Path(str(data.get("image", ""))).stem)
            frame = None if shown is None else shown - (first or 0)
        regions = [
            region
            for part in (task.get("annotations") or task.get("predictions") or ())[:1]
            for region in part.get("result", ())
        ]
        for place, region in enumerate(regions, 1):
            where, value = f"task {number}, region {place}", region.get("value", {})
            kind = region.get("type")
            label = next(
                iter(value.get("labels") or value.get("rectanglelabels") or value.get("brushlabels") or ()), None
            )
            # masklet calls regions object3_120: the object's number before the frame's.
            own = re.fullmatch(r"(object\d+)(?:_\d+)?", str(region.get("id", "")))
            try:
                if kind == "videorectangle":
                    for key in value["sequence"]:
                        box = _percent(key, info, where, mistakes)
                        if box is not None:
                            begin = 1 if first is None else first
                            yield SeenBox(int(key["frame"]) - begin, box, label, str(region.get("id", place)))
                    continue
                if kind not in ("rectanglelabels", "brushlabels"):
                    continue
                if frame is None:
                    mistakes.append(f"{where}: neither the task nor the picture's name says which frame it is")
                    continue
                if kind == "rectanglelabels":
                    box = _percent(value, info, where, mistakes)
                else:
                    mask_hw = unpack_brush(value["rle"], region["original_width"], region["original_height"])
                    found = mask_to_box(mask_hw)
                    box = None if found is None else _four(found)
                if box is not None:
                    yield SeenBox(frame, box, label, own[1] if own else None, score=float(region.get("score") or 1.0))
            except (KeyError, TypeError, ValueError, IndexError) as problem:
                mistakes.append(f"{where}: it can't be read ({type(problem).__name__}: {problem})")


def unpack_brush(packed: Sequence[int], width: int, height: int) -> np.ndarray:
    """The mask of Label Studio's run lengths, boolean (height, width); the reverse of the export's `pack_brush`.

    Raises ValueError where they don't fill the picture.
    """
    stream, place = "".join(f"{byte:08b}" for byte in packed), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(stream[place - count : place], 2)

    total = take(32)
    if total != width * height * 4:
        raise ValueError(f"the mask is not of {width}x{height} pixels")
    bits = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    parts, done = [], 0
    while done < total:
        repeated = take(1)
        run = take(sizes[take(2)]) + 1
        parts.append(np.full(run, take(bits)) if repeated else np.array([take(bits) for _ in range(run)]))
        done += run
    return np.concatenate(parts).reshape(height, width, 4)[..., 3] > 0


def _cvat(text: str, first: int, mistakes: list[str]) -> Iterator[SeenBox]:
    """CVAT: XML 1.1 "for images" or "for video"; boxes, and the boxes around polygons and masks."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as problem:
        raise InputError(f"the XML can't be read: {problem}") from problem
    if root.tag != "annotations":
        raise InputError(f"this XML begins with <{root.tag}>; CVAT's begins with <annotations>")
    for track in root.iter("track"):
        for number, shape in enumerate(track, 1):
            where = f"track {track.get('id')}, shape {number}"
            if shape.get("outside") == "1":
                continue
            box = _cvat_box(shape, where, mistakes)
            if box is not None:
                yield SeenBox(int(shape.get("frame", "0")) - first, box, track.get("label"), track.get("id"))
    for image in root.iter("image"):
        shown = _number_in(Path(image.get("name", "")).stem)
        frame = int(image.get("id", "0")) if shown is None else shown
        for number, shape in enumerate(image, 1):
            box = _cvat_box(shape, f"image {image.get('name')}, shape {number}", mistakes)
            if box is not None:
                yield SeenBox(frame - first, box, shape.get("label"), shape.get("group_id"))


def _cvat_box(shape: Element, where: str, mistakes: list[str]) -> Xyxy | None:
    try:
        if shape.tag == "box":
            return _box([float(shape.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr")], where, mistakes)
        if shape.tag == "mask":
            sides = [float(shape.attrib[side]) for side in ("left", "top", "width", "height")]
            return _xywh(sides, where, mistakes)
        if shape.tag == "polygon":
            points = np.array([pair.split(",") for pair in shape.attrib["points"].split(";")], float)
            return _box([*points.min(axis=0), *points.max(axis=0)], where, mistakes)
    except (KeyError, ValueError) as problem:
        mistakes.append(f"{where}: it can't be read ({type(problem).__name__}: {problem})")
    return None


def _own(content: dict[str, Any], path: Path) -> FoundPrompts:
    """masklet's own: `{"prompts": [{"object": …, "frame": …, "box": … (or points, mask, rle)}], "classes": {}}`."""
    mistakes, prompts = [], []
    listed, classes = content["prompts"], content.get("classes", {})
    if not isinstance(listed, list) or not isinstance(classes, dict):
        raise InputError(f"{path}: `prompts` is a list, and `classes` has the class of every object by its name")
    for number, given in enumerate(listed, 1):
        try:
            prompt = JobPrompt.model_validate(given)
        except ValidationError as problem:
            mistakes += [f"prompt {number}: {error['msg'].removeprefix('Value error, ')}" for error in problem.errors()]
            continue
        prompts.append(prompt if prompt.mask is None else prompt.model_copy(update={"mask": path.parent / prompt.mask}))
    if mistakes:
        raise InputError("\n  ".join([f"{path} can't be used:", *mistakes[:_MOST_TOLD]]))
    return FoundPrompts(prompts, {str(name): str(found) for name, found in classes.items()})


# --- parts -----------------------------------------------------------------------------------------------------


def read_text(path: Path, missing: str = "there is no file or folder {}") -> str:
    """What a file says, in UTF-8. Raises InputError; `missing` is what to say where it isn't there."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(missing.format(path)) from None
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} isn't in UTF-8: {problem}. Save it anew as UTF-8.") from problem
    except OSError as problem:
        raise InputError(f"{path} can't be read: {problem.strerror or problem}.") from problem


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"the JSON can't be read: {problem}") from problem


def _is_task(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("data"), dict)
        and ("annotations" in content or "predictions" in content)
    )


def _percent(place: dict[str, Any], info: MediaInfo, where: str, mistakes: list[str]) -> Xyxy | None:
    sides = (info.width, info.height) * 2
    values = [float(place[key]) * side / 100 for key, side in zip(("x", "y", "width", "height"), sides, strict=True)]
    return _xywh(values, where, mistakes)


def _xywh(values: Any, where: str, mistakes: list[str]) -> Xyxy | None:
    found = _floats(values) if isinstance(values, list | tuple) and len(values) == 4 else None
    if found is None:
        mistakes.append(f"{where}: a box is left, top, width, height in numbers, not {values!r:.60}")
        return None
    left, top, width, height = found
    return _box([left, top, left + width, top + height], where, mistakes)


def _box(corners: Sequence[float], where: str, mistakes: list[str]) -> Xyxy | None:
    if not all(map(math.isfinite, corners)) or corners[2] <= corners[0] or corners[3] <= corners[1]:
        mistakes.append(f"{where}: the box {', '.join(f'{value:g}' for value in corners)} has no area")
        return None
    return _four(corners)


def _four(corners: Iterable[float]) -> Xyxy:
    left, top, right, bottom = map(float, corners)
    return left, top, right, bottom


def _floats(cells: Iterable[Any]) -> list[float] | None:
    try:
        return [float(cell) for cell in cells]
    except (TypeError, ValueError):
        return None


def _number_in(name: str) -> int | None:
    """The number at the end of a name."""
    found = re.search(r"(\d+)\D*$", name)
    return None if found is None else int(found[1])


def _plain(name: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in name).strip()[:_LONGEST_NAME] or "object"
