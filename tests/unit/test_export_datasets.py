"""Data sets, read back by the tools' own readers where those can be had, else as their documents say."""

from __future__ import annotations

import configparser
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from masklet.errors import ExportError
from masklet.export import write
from masklet.export.writers.label_studio import pack_brush
from masklet.masks import rle
from masklet.media import open_media
from masklet.results import ObjectMask, Scores, stretches

Masks = dict[int, Callable[[int], np.ndarray]]


def overlapping(project: Any) -> None:
    """Object 2 gets a mask that overlaps object 1 on frame 6, and a lower predicted IoU."""
    both = np.zeros((72, 128), bool)
    both[30:72, 60:110] = True
    project.put_masks([ObjectMask(2, 6, rle.encode(both), scores=Scores(object_score=1.0, predicted_iou=0.3))])


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("kind", ["rle", "exact polygons", "loose polygons"])
def test_coco_is_what_pycocotools_reads(make_project, true_masks: Masks, tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {}
    if kind != "rle":
        options = {"segmentation": "polygons", "tolerance": 0 if kind.startswith("exact") else 1.5}
    write(make_project(), "coco", tmp_path / "coco", **options)
    data = COCO(str(tmp_path / "coco" / "annotations.json"))
    assert {c["name"]: c["id"] for c in data.loadCats(data.getCatIds())} == {"bunny": 1, "rock": 2}
    assert len(data.getImgIds()) == 8
    seen = 0
    for image in data.loadImgs(data.getImgIds()):
        with Image.open(tmp_path / "coco" / "images" / image["file_name"]) as frame:
            assert frame.size == (image["width"], image["height"]) == (128, 72)
        for annotation in data.loadAnns(data.getAnnIds(imgIds=image["id"])):
            truth = true_masks[annotation["track_id"]](image["frame_index"])
            found = data.annToMask(annotation).astype(bool)
            if kind == "rle":
                np.testing.assert_array_equal(found, truth)
            else:
                # pycocotools' own polygon filling moves outlines by up to a pixel; holes must be there.
                wrong = (found ^ truth).sum()
                assert wrong <= (0.04 if kind.startswith("exact") else 0.12) * truth.sum()
                if annotation["track_id"] == 1:
                    centre = 30 + 7 * image["frame_index"]
                    assert not found[30, centre] and truth[45, centre] and found[45, centre]
            x1, y1, x2, y2 = box_of(truth)
            assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            assert annotation["area"] == truth.sum() and annotation["iscrowd"] == 0
            seen += 1
    assert seen == 14  # 8 bunnies, and 6 rocks: on two frames the rock can't be seen


def test_coco_with_few_frames_and_no_pictures(make_project, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(2, name="bunny")
    paths = write(project, "coco", tmp_path / "c", every=3, images="none", min_area=700)
    assert [path.name for path in paths] == ["annotations.json"]
    data = json.loads(paths[0].read_text("utf-8"))
    assert [image["frame_index"] for image in data["images"]] == [0, 3, 6]
    assert [category["name"] for category in data["categories"]] == ["bunny"]
    assert {annotation["track_id"] for annotation in data["annotations"]} == {1}
    with pytest.raises(ExportError, match=r"none of the masks in 3 frames has 5000 pixels"):
        write(project, "coco", tmp_path / "d", every=3, min_area=5000)
    assert not (tmp_path / "d").exists()


def yolo_labels(folder: Path) -> dict[tuple[str, int], list[list[str]]]:
    found = {}
    for path in folder.glob("labels/*/*.txt"):
        assert (folder / "images" / path.parent.name / f"{path.stem}.jpg").exists()
        frame = int(path.stem.split("_")[-1])
        found[path.parent.name, frame] = [line.split() for line in path.read_text().splitlines()]
    return found


def test_yolo_polygons_fill_to_the_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    write(make_project(), "yolo-seg", tmp_path / "y", tolerance=0)
    labels = yolo_labels(tmp_path / "y")
    assert sorted(labels) == [("train", f) for f in range(6)] + [("val", 6), ("val", 7)]
    for (_, frame), lines in labels.items():
        assert len(lines) == sum(true_masks[n](frame).any() for n in (1, 2))
        for number, *values in lines:
            ring = np.array(values, float).reshape(-1, 2)
            assert ring.min() >= 0 and ring.max() <= 1
            big = np.zeros((72 * 8, 128 * 8), np.uint8)
            cv2.fillPoly(big, [np.round(ring * [128 * 8, 72 * 8]).astype(np.int32)], 1)
            filled = big[4::8, 4::8].astype(bool)
            truth = true_masks[int(number) + 1](frame)
            # Only the cuts that join holes and parts may differ: OpenCV draws them as well.
            assert (filled ^ truth).sum() <= 12
    text = (tmp_path / "y" / "data.yaml").read_text("utf-8")
    assert text.splitlines() == [
        "train: images/train",
        "val: images/val",
        "names:",
        '  0: "bunny"',
        '  1: "rock"',
    ]


def test_yolo_boxes(make_project, true_masks: Masks, tmp_path: Path) -> None:
    write(make_project(), "yolo-boxes", tmp_path / "y", val_fraction=0)
    labels = yolo_labels(tmp_path / "y")
    assert {part for part, _ in labels} == {"train"}
    for (_, frame), lines in labels.items():
        for number, *values in lines:
            x, y, width, height = (float(value) for value in values)
            x1, y1, x2, y2 = box_of(true_masks[int(number) + 1](frame))
            found = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * [128, 72, 128, 72]
            np.testing.assert_allclose(found, [x1, y1, x2, y2], atol=1e-3)


def indexed(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
        return np.asarray(image)


@pytest.mark.parametrize("name", ["davis", "youtube-vos"])
def test_indexed_pngs_hold_every_object(make_project, true_masks: Masks, tmp_path: Path, name: str) -> None:
    project = make_project()
    overlapping(project)
    root = tmp_path / "set"
    write(project, name, root)
    part = "Full-Resolution/bunny cut" if name == "davis" else "bunny cut"
    for frame in range(8):
        labels = indexed(root / "Annotations" / part / f"{frame:05d}.png")
        first = true_masks[1](frame)
        np.testing.assert_array_equal(labels == 1, first)  # the surer object has the pixels that both want
        second = project.mask(frame, 2).mask
        np.testing.assert_array_equal(labels == 2, second & ~first)
        with Image.open(root / "JPEGImages" / part / f"{frame:05d}.jpg") as image:
            assert image.size == (128, 72)
    if name == "davis":
        assert (root / "ImageSets/2017/val.txt").read_text() == "bunny cut\n"
    else:
        meta = json.loads((root / "meta.json").read_text())["videos"]["bunny cut"]["objects"]
        assert meta["1"] == {"category": "bunny", "frames": [f"{frame:05d}" for frame in range(8)]}
        assert meta["2"]["frames"] == [f"{frame:05d}" for frame in (0, 1, 2, 5, 6, 7)]


def test_mot_boxes(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(1, name="person")
    write(project, "mot", tmp_path / "seq")
    rows = np.loadtxt(tmp_path / "seq" / "gt" / "gt.txt", delimiter=",")
    assert len(rows) == 14
    for frame, number, left, top, width, height, considered, kind, visible in rows:
        x1, y1, x2, y2 = box_of(true_masks[int(number)](int(frame) - 1))
        assert (left - 1, top - 1, width, height) == (x1, y1, x2 - x1, y2 - y1)
        assert considered == visible == 1 and kind == {1: 1, 2: 14}[number]
    info = configparser.ConfigParser()
    info.read(tmp_path / "seq" / "seqinfo.ini")
    assert dict(info["Sequence"]) == {
        "name": "bunny cut",
        "imdir": "img1",
        "framerate": "25",
        "seqlength": "8",
        "imwidth": "128",
        "imheight": "72",
        "imext": ".jpg",
    }
    assert len(list((tmp_path / "seq" / "img1").iterdir())) == 8


def test_mots_masks_do_not_overlap(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    overlapping(project)
    write(project, "mots", tmp_path / "seq", classes={"bunny": 7}, first_frame=0, images="none")
    seen: dict[int, np.ndarray] = {}
    for line in (tmp_path / "seq" / "gt" / "gt.txt").read_text().splitlines():
        frame, number, kind, height, width, counts = line.split(" ")
        found = coco_mask.decode({"size": [int(height), int(width)], "counts": counts.encode()}).astype(bool)
        assert int(number) // 1000 == int(kind)
        before = seen.setdefault(int(frame), np.zeros((72, 128), bool))
        assert not (before & found).any()
        before |= found
        if int(kind) == 7:
            np.testing.assert_array_equal(found, true_masks[1](int(frame)))
    for frame, together in seen.items():
        np.testing.assert_array_equal(together, true_masks[1](frame) | project.mask(frame, 2).mask)


def unpack_brush(values: list[int]) -> np.ndarray:
    """Label Studio's run lengths as its documents describe them, read bit by bit."""
    bits = "".join(f"{value:08b}" for value in values)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < total:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        out += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    return np.array(out, np.uint8)


def test_label_studio_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(2, name='rock "wet" & <big>')
    write(project, "label-studio", tmp_path / "ls", every=3)
    tasks = json.loads((tmp_path / "ls" / "tasks.json").read_text("utf-8"))
    assert [task["data"]["frame"] for task in tasks] == [0, 3, 6]
    for task in tasks:
        assert (
            tmp_path / "ls" / task["data"]["image"].removeprefix("/data/local-files/?d=").replace("%20", " ")
        ).exists()
        [answer] = task["predictions"]
        for result in answer["result"]:
            assert (result["original_width"], result["original_height"]) == (128, 72)
            number = 1 if result["value"]["brushlabels"] == ["bunny"] else 2
            rgba = unpack_brush(result["value"]["rle"]).reshape(72, 128, 4)
            truth = true_masks[number](task["data"]["frame"])
            np.testing.assert_array_equal(rgba == 255, np.repeat(truth[..., None], 4, axis=2))
    setup = ElementTree.fromstring((tmp_path / "ls" / "config.xml").read_text("utf-8"))
    assert [label.get("value") for label in setup.iter("Label")] == ["bunny", 'rock "wet" & <big>']
    assert tasks[0]["predictions"][0]["result"][0]["from_name"] == setup.find("BrushLabels").get("name")


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_brushes_and_row_runs_round_trip(mask: np.ndarray) -> None:
    rgba = unpack_brush(pack_brush(mask)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(rgba == 255, np.repeat(mask[..., None], 4, axis=2))
    runs = rle.row_runs(mask)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    np.testing.assert_array_equal(flat.reshape(mask.shape), mask)


def test_label_studio_keeps_runs_longer_than_its_counter() -> None:
    mask = np.zeros((200, 300), bool)  # 240,000 values in one run; one run length holds 65,536
    mask[-1, -1] = True
    np.testing.assert_array_equal(unpack_brush(pack_brush(mask)).reshape(200, 300, 4)[..., 0] == 255, mask)


def test_label_studio_boxes(make_project, true_masks: Masks, tmp_path: Path) -> None:
    write(make_project(), "label-studio", tmp_path / "ls", kind="boxes", result="annotations")
    [task] = json.loads((tmp_path / "ls" / "tasks.json").read_text("utf-8"))
    assert task["data"]["video"].endswith("bunny%20cut.mp4")
    results = task["annotations"][0]["result"]
    for number, result in enumerate(results, start=1):
        value = result["value"]
        assert value["framesCount"] == 8 and value["duration"] == pytest.approx(0.32)
        for key in value["sequence"]:
            x1, y1, x2, y2 = box_of(true_masks[number](key["frame"] - 1))
            shown = np.array([key["x"], key["y"], key["x"] + key["width"], key["y"] + key["height"]])
            np.testing.assert_allclose(shown * [1.28, 0.72, 1.28, 0.72], [x1, y1, x2, y2])
            assert key["time"] == pytest.approx((key["frame"] - 1) / 25)
    rock = results[1]["value"]["sequence"]
    assert [key["frame"] for key in rock] == [1, 2, 3, 6, 7, 8]
    assert [key["enabled"] for key in rock] == [True, True, False, True, True, True]


def test_cvat_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    write(make_project(), "cvat", tmp_path / "cvat")
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/mode") == "annotation"
    images = root.findall("image")
    assert [image.get("name") for image in images] == [f"frame_{frame:06d}.jpg" for frame in range(8)]
    for frame, image in enumerate(images):
        assert (tmp_path / "cvat" / "images" / str(image.get("name"))).exists()
        found = {}
        for element in image.findall("mask"):
            left, top, width, height = (int(element.get(k, 0)) for k in ("left", "top", "width", "height"))
            runs = [int(run) for run in str(element.get("rle")).split(",")]
            crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
            mask = np.zeros((72, 128), bool)
            mask[top : top + height, left : left + width] = crop
            found[element.get("label")] = mask
        for number, label in ((1, "bunny"), (2, "rock")):
            truth = true_masks[number](frame)
            np.testing.assert_array_equal(found.get(label, np.zeros((72, 128), bool)), truth)


@pytest.mark.parametrize("kind", ["boxes", "polygons"])
def test_cvat_tracks(make_project, true_masks: Masks, tmp_path: Path, kind: str) -> None:
    write(make_project(), "cvat", tmp_path / "cvat", kind=kind, images="none", tolerance=0)
    root = ElementTree.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    assert root.findtext("meta/task/mode") == "interpolation" and root.findtext("meta/task/size") == "8"
    bunny, rock = root.findall("track")
    assert (bunny.get("label"), rock.get("label")) == ("bunny", "rock")
    assert [shape.get("outside") for shape in rock] == list("000" + "1" + "000")
    assert [shape.get("frame") for shape in rock] == list("0123567")
    for number, track in ((1, bunny), (2, rock)):
        for shape in track:
            truth = true_masks[number](int(shape.get("frame", 0)))
            if shape.get("outside") == "1":
                assert not truth.any()
            elif kind == "boxes":
                corners = tuple(float(shape.get(key, 0)) for key in ("xtl", "ytl", "xbr", "ybr"))
                assert corners == box_of(truth)
            else:
                ring = np.array([pair.split(",") for pair in str(shape.get("points")).split(";")], float)
                big = np.zeros((72 * 8, 128 * 8), np.uint8)
                cv2.fillPoly(big, [np.round(ring * 8).astype(np.int32)], 1)
                assert (big[4::8, 4::8].astype(bool) ^ truth).sum() <= 12


def test_csv_has_a_row_per_object_and_frame(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    project.update_object(2, name="=1+1")
    [path] = write(project, "csv", tmp_path / "table")
    assert path.name == "table.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    for row in rows:
        frame, number = int(row["frame"]), int(row["object_id"])
        truth = true_masks[number](frame)
        assert float(row["time"]) == pytest.approx(frame / 25)
        assert int(row["area"]) == truth.sum()
        assert float(row["area_share"]) == pytest.approx(truth.mean(), abs=1e-6)
        assert float(row["object_score"]) == (5.5 if truth.any() else -3.25)
        assert row["motion_score"] == ("" if frame < 2 else "0.5000")
        assert row["lost"] == str(int(not truth.any())) and row["is_prompt"] == str(int(frame == 0))
        assert row["found_again"] == str(int(frame > 0 and truth.any() and not true_masks[number](frame - 1).any()))
        assert row["object"] == ("bunny" if number == 1 else "'=1+1")
        if truth.any():
            assert tuple(int(row[key]) for key in ("x1", "y1", "x2", "y2")) == box_of(truth)
            moments = cv2.moments(truth.astype(np.uint8), binaryImage=True)
            assert float(row["centroid_x"]) == pytest.approx(moments["m10"] / moments["m00"] + 0.5, abs=2e-3)
            assert float(row["centroid_y"]) == pytest.approx(moments["m01"] / moments["m00"] + 0.5, abs=2e-3)
        else:
            assert row["x1"] == row["width"] == row["centroid_x"] == ""


def test_npz_is_one_array_of_all_masks(make_project, true_masks: Masks, tmp_path: Path) -> None:
    project = make_project()
    [path] = write(project, "npz", tmp_path / "masks.npz", every=2)
    with np.load(path, allow_pickle=False) as data:
        assert data["masks"].shape == (4, 2, 72, 128) and data["masks"].dtype == np.bool_
        assert data["frames"].tolist() == [0, 2, 4, 6]
        np.testing.assert_allclose(data["times"], [0, 0.08, 0.16, 0.24])
        assert data["object_ids"].tolist() == [1, 2] and data["object_names"].tolist() == ["bunny", "rock"]
        for row, frame in enumerate((0, 2, 4, 6)):
            for place, number in enumerate((1, 2)):
                np.testing.assert_array_equal(data["masks"][row, place], true_masks[number](frame))
        assert data["lost"].tolist() == [[False, False], [False, False], [False, True], [False, False]]
        assert np.isnan(data["motion_scores"][0]).all() and data["motion_scores"][1, 0] == 0.5
        assert data["predicted_ious"][0].tolist() == [0.75, 0.625]
    [soft] = write(project, "npz", tmp_path / "soft.npz", soft=True, settings={"feather": 10})
    with np.load(soft) as data:
        assert data["masks"].dtype == np.float16
        np.testing.assert_array_equal(data["masks"][0, 0] >= 0.5, true_masks[1](0))


@pytest.mark.parametrize("name", ["coco", "yolo-seg", "yolo-boxes", "mot", "mots", "cvat", "label-studio"])
def test_a_data_set_that_would_be_empty_is_an_error(make_project, tmp_path: Path, name: str) -> None:
    project = make_project()
    with pytest.raises(ExportError, match="Nothing to export"):
        write(project, name, tmp_path / "none", objects=["rock"], start=3, end=4)
    # Also when only the frames that are taken show nothing, though others would.
    with pytest.raises(ExportError, match="Nothing to export"):
        write(project, name, tmp_path / "none", objects=["rock"], start=3, end=5, every=5)
    assert not (tmp_path / "none").exists()


def test_frames_of_a_data_set_are_the_video_s(make_project, clip: Path, tmp_path: Path) -> None:
    write(make_project(), "coco", tmp_path / "c", images="png", start=4)
    with open_media(clip) as reader:
        for frame in range(4, 8):
            with Image.open(tmp_path / "c" / "images" / f"bunny cut_{frame:05d}.png") as image:
                np.testing.assert_array_equal(np.asarray(image), reader.read(frame).image_hwc)


def test_masklets_json_holds_masks_scores_prompts_and_settings(make_project, tmp_path: Path, true_masks) -> None:
    project = make_project()
    [path] = write(project, "masklets-json", tmp_path / "all.json", settings={"grow": 2})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["format"] == "masklet.masklets" and content["complete"]
    assert content["source"]["fingerprint"] == project.source.fingerprint and content["source"]["frame_count"] == 8
    bunny, rock = content["objects"]
    assert (bunny["name"], bunny["prompts"]) == ("bunny", [{"frame": 0, "points": [[30, 50]], "labels": [1]}])
    assert rock["prompts"] == [{"frame": 0, "box_xyxy": [80, 50, 110, 72]}] and "folder" not in rock
    for known in (bunny, rock):
        gone = stretches([frame for frame in range(8) if not true_masks[known["id"]](frame).any()])
        assert [tuple(stretch) for stretch in known["lost"]] == gone
        assert known["found_again"] == [last + 1 for first, last in gone if first > 0 and last < 7]
    assert [entry["time"] for entry in content["frames"]] == [frame / 25 for frame in range(8)]
    for entry in content["frames"]:
        for found in entry["objects"]:
            plain = true_masks[found["id"]](entry["frame"])
            mask = rle.decode(found["rle"])
            assert not plain.any() or (mask[plain].all() and mask.sum() > plain.sum())
            assert found["area"] == mask.sum() and found["lost"] == (not plain.any())
            assert found["object_score"] == (5.5 if plain.any() else -3.25)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith('  {"frame":') for line in lines) == 8
    [path] = write(project, "masklets-json", tmp_path / "some.json", objects=["rock"], every=3, start=1)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["frame"] for entry in content["frames"]] == [1, 4, 7] and len(content["objects"]) == 1
