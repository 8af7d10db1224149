"""Boxes of other tools: masklet's own exports read back in, and files of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.export import write
from masklet.jobs.boxes import FoundPrompts, read_prompts
from masklet.masks.boxes import mask_to_box
from masklet.media import MediaInfo, open_media

FORMATS: list[tuple[str, dict[str, Any], str]] = [
    ("coco", {}, "annotations.json"),
    ("coco", {"segmentation": "polygons"}, "annotations.json"),
    ("yolo-boxes", {}, ""),
    ("yolo-seg", {"tolerance": 0}, ""),
    ("mot", {}, "gt/gt.txt"),
    ("label-studio", {"kind": "masks"}, "tasks.json"),
    ("label-studio", {"kind": "boxes"}, "tasks.json"),
    ("cvat", {"kind": "masks"}, "annotations.xml"),
    ("cvat", {"kind": "polygons", "tolerance": 0}, "annotations.xml"),
    ("cvat", {"kind": "boxes"}, "annotations.xml"),
]


@pytest.fixture
def info(clip: Path) -> MediaInfo:
    with open_media(clip) as reader:
        return reader.info


def boxes_of(found: FoundPrompts) -> dict[str, dict[int, tuple[float, ...]]]:
    boxes: dict[str, dict[int, tuple[float, ...]]] = {}
    for prompt in found.prompts:
        boxes.setdefault(str(prompt.object), {})[int(str(prompt.frame))] = prompt.box
    return boxes


@pytest.mark.parametrize(("name", "options", "file"), FORMATS)
def test_exports_come_back_as_the_boxes_that_they_were(
    name: str, options: dict[str, Any], file: str, make_project, true_masks, info: MediaInfo, tmp_path: Path
) -> None:
    project = make_project()
    if name != "mot" and not name.startswith("yolo"):
        options = {**options, "images": "none"} if "boxes" not in options.values() else options
    write(project, name, tmp_path / "out", settings={"feather": 0.0}, **options)
    found = read_prompts(tmp_path / "out" / file, info, every=1)
    read = boxes_of(found)
    names = dict(zip(read, sorted(read), strict=True))
    assert sorted(names) == (["1", "2"] if name == "mot" else ["bunny", "rock"])
    assert set(found.classes.values()) == ({"bunny", "rock"} if name != "mot" else set())
    for number, called in enumerate(sorted(read), 1):
        there = {t: mask_to_box(true_masks[number](t)) for t in range(info.frame_count)}
        there = {t: box for t, box in there.items() if box is not None}
        assert read[called].keys() == there.keys()
        for frame, box in there.items():
            # Polygons go through the middles of pixels at the border.
            np.testing.assert_allclose(
                read[called][frame], box, atol=1.01 if file == "" or "polygon" in str(options) else 0.01
            )


def test_masklets_json_gives_its_prompts(make_project, info: MediaInfo, tmp_path: Path) -> None:
    write(make_project(), "masklets-json", tmp_path / "m.json")
    found = read_prompts(tmp_path / "m.json", info)
    assert [(p.object, p.frame, p.points, p.box) for p in found.prompts] == [
        ("bunny", "0", ((30, 50),), None),
        ("rock", "0", (), (80, 50, 110, 72)),
    ]


def test_detections_without_identity_are_joined_and_the_first_box_is_the_prompt(
    info: MediaInfo, tmp_path: Path
) -> None:
    lines = [f"{t + 1},-1,{10 + 3 * t},10,20,20,0.9,-1,-1,-1" for t in range(4)]
    lines += [f"{t + 1},-1,{80 - 3 * t},40,20,20,0.8,-1,-1,-1" for t in range(1, 4)] + ["1,-1,50,50,9,9,0.1,-1,-1,-1"]
    (tmp_path / "det.txt").write_text("\n".join(lines))
    found = read_prompts(tmp_path / "det.txt", info, min_score=0.5)
    assert boxes_of(found) == {"1": {0: (9, 9, 29, 29)}, "2": {1: (76, 39, 96, 59)}}
    assert sorted(boxes_of(read_prompts(tmp_path / "det.txt", info, min_score=0.5, every=2))["1"]) == [0, 2]


def test_coco_results_have_frames_for_images(info: MediaInfo, tmp_path: Path) -> None:
    entries = [{"image_id": t, "category_id": 3, "bbox": [t, 5, 20, 20], "score": 0.7} for t in (1, 2)]
    (tmp_path / "r.json").write_text(json.dumps(entries))
    found = read_prompts(tmp_path / "r.json", info)
    assert boxes_of(found) == {"class 3": {1: (1, 5, 21, 25)}}
    assert found.classes == {"class 3": "class 3"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "1,1,5,5,9,9,1\nwhat\n2,1,5,5,0,9,1\n", ["line 2", "line 3"]),
        ("a.json", '[{"image_id": 1}]', ["annotation 1"]),
        ("a.json", '{"hello": 1}', ["none that is known"]),
        ("a.json", "[", ["JSON"]),
        ("a.xml", "<a>", ["line 1"]),
        ("a.xml", "<html/>", ["<html>"]),
        ("a.txt", "900,1,5,5,9,9,1", ["frame 899", "--prompts-first"]),
        ("a.json", '{"prompts": [{"frame": 3}]}', ["prompt 1"]),
    ],
)
def test_mistakes_are_told_with_their_place(
    name: str, text: str, said: list[str], info: MediaInfo, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as problem:
        read_prompts(tmp_path / name, info)
    assert all(part in str(problem.value) for part in said)
