"""`masklet segment`: the files it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from typer.testing import CliRunner, Result

from masklet import AutomaticMaskGenerator, ImagePredictor, cli, open_media
from masklet.errors import InputError, MediaError
from masklet.masks.render import overlay
from masklet.runs.segment import SegmentRequest, find_pictures, segment
from masklet.weights.loading import load_model

# Where things are on the clip's first frame, in the half-size picture of these tests.
BOX, BODY, GRASS, ROCKS = "76,109,286,279", "172,210", "320,215", "395,135,610,218"


@pytest.fixture(scope="module")
def photo(bunny_clip: Path) -> np.ndarray:
    with open_media(bunny_clip) as clip:
        return cv2.resize(clip.read(0).image_hwc, (640, 360), interpolation=cv2.INTER_AREA)


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with `photo.png` in it."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.app, ["segment", "--dtype", "float32", *words], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# --- objects ---------------------------------------------------------------------------------------------------------


def test_one_object(folder: Path, photo: np.ndarray) -> None:
    result = run("photo.png", "--box", BOX, "--negative", "60,240", "-o", "out")
    out = folder / "out"
    assert names(out) == ["photo_cutout.png", "photo_mask.json", "photo_mask.png", "photo_overlay.png"]
    mask = read(out / "photo_mask.png")
    assert mask.shape == (360, 640)
    assert set(np.unique(mask)) == {0, 255}
    inside = mask == 255
    x, y = map(int, BODY.split(","))
    assert inside[y, x]
    expected = ImagePredictor(load_model("nano", dtype="float32")).set_image(photo)
    answer = expected.predict(points=[(60, 240)], labels=[0], box=[float(side) for side in BOX.split(",")])
    assert np.array_equal(inside, answer.mask)
    cutout = read(out / "photo_cutout.png")
    assert np.array_equal(cutout[..., 3], mask)
    assert np.array_equal(cutout[inside][:, :3], photo[inside])
    assert not cutout[~inside].any()
    assert np.array_equal(read(out / "photo_overlay.png"), overlay(photo, {1: inside}))

    content = json.loads((out / "photo_mask.json").read_text())
    assert (content["image"], content["width"], content["height"]) == ("photo.png", 640, 360)
    assert (content["model"], content["resolution"]) == ("nano", 320)
    [entry] = content["objects"]
    assert (entry["id"], entry["name"], entry["candidate"]) == (1, "object 1", 0)
    assert entry["prompt"] == {"points": [[60, 240]], "labels": [0], "box_xyxy": [76, 109, 286, 279]}
    assert entry["predicted_iou"] == pytest.approx(answer.predicted_iou, abs=1e-4)
    assert entry["object_score"] == pytest.approx(answer.object_score, abs=1e-4)
    assert entry["area"] == inside.sum()
    assert answer.box_xyxy is not None
    assert entry["box_xyxy"] == answer.box_xyxy.tolist()
    assert np.array_equal(coco.decode({"size": [360, 640], "counts": entry["rle"]["counts"].encode()}), inside)
    assert f"photo.png: object 1 (predicted IoU {answer.predicted_iou:.2f})" in result.stdout
    assert "--model tiny" in result.stdout


def test_several_objects_beside_the_picture(folder: Path) -> None:
    run("photo.png", "--point", f"bunny:{BODY}", "--negative", f"bunny:{GRASS}", "--box", f"old rock:{ROCKS}")
    assert names(folder) == sorted(
        ["photo.png", "photo_mask.json", "photo_overlay.png"]
        + [f"photo_{name}_{what}.png" for name in ("bunny", "old_rock") for what in ("mask", "cutout")]
    )
    objects = json.loads((folder / "photo_mask.json").read_text())["objects"]
    assert [(entry["id"], entry["name"]) for entry in objects] == [(1, "bunny"), (2, "old rock")]
    assert objects[0]["prompt"]["labels"] == [1, 0]
    rock = read(folder / "photo_old_rock_mask.png") > 0
    x1, y1, x2, y2 = map(int, ROCKS.split(","))
    assert rock[y1:y2, x1:x2].sum() > 0.8 * rock.sum() > 0


def test_numbers_and_names_together(folder: Path) -> None:
    run("photo.png", "--point", f"bunny:{BODY}", "--box", f"1:{ROCKS}", "-o", "out")
    objects = json.loads((folder / "out" / "photo_mask.json").read_text())["objects"]
    assert [(entry["id"], entry["name"]) for entry in objects] == [(2, "bunny"), (1, "object 1")]


def test_candidates_of_a_click(folder: Path) -> None:
    run("photo.png", "--point", BODY, "--candidates", "-o", "out")
    assert [name for name in names(folder / "out") if "candidate" in name] == [
        f"photo_candidate{i}.png" for i in (1, 2, 3)
    ]
    [entry] = json.loads((folder / "out" / "photo_mask.json").read_text())["objects"]
    ious = [candidate["predicted_iou"] for candidate in entry["candidates"]]
    assert entry["candidate"] == int(np.argmax(ious))
    best = read(folder / "out" / f"photo_candidate{entry['candidate'] + 1}.png")
    assert np.array_equal(best, read(folder / "out" / "photo_mask.png"))
    for i, candidate in enumerate(entry["candidates"]):
        assert candidate["area"] == (read(folder / "out" / f"photo_candidate{i + 1}.png") > 0).sum()


def test_a_rough_mask_and_a_click(folder: Path) -> None:
    rough = np.zeros((360, 640), np.uint8)
    rough[109:279, 76:286] = 255
    Image.fromarray(rough).save(folder / "rough.png")
    run("photo.png", "--mask", "rough.png", "-o", "a")
    run("photo.png", "--mask", "rough.png", "--negative", GRASS, "-o", "b")
    x, y = map(int, BODY.split(","))
    assert read(folder / "a" / "photo_mask.png")[y, x] == 255
    [entry] = json.loads((folder / "b" / "photo_mask.json").read_text())["objects"]
    assert set(entry["prompt"]) == {"points", "labels", "rle"}


def test_several_pictures(folder: Path, photo: np.ndarray) -> None:
    (folder / "shots").mkdir()
    for name in ("a10.jpg", "a2.jpg", "a2.png", ".hidden.png"):
        Image.fromarray(photo).save(folder / "shots" / name)
    (folder / "shots" / "notes.txt").write_text("not a picture")
    run("shots", "--box", BOX, "-o", "out")
    stems = {name.rsplit("_", 1)[0] for name in names(folder / "out")}
    assert stems == {"a10", "a2_jpg", "a2_png"}
    assert [path.name for path in find_pictures(["shots"])] == ["a2.jpg", "a2.png", "a10.jpg"]
    assert [path.name for path in find_pictures(["shots/*.jpg", "shots/a2.jpg"])] == ["a2.jpg", "a10.jpg"]


def test_the_picture_turned_upright(folder: Path, photo: np.ndarray) -> None:
    lying = Image.fromarray(np.rot90(photo))
    exif = lying.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    lying.save(folder / "lying.png", exif=exif)
    run("lying.png", "photo.png", "--box", BOX, "-o", "out")
    assert np.array_equal(read(folder / "out" / "lying_mask.png"), read(folder / "out" / "photo_mask.png"))


# --- everything ------------------------------------------------------------------------------------------------------


def test_everything(folder: Path, photo: np.ndarray) -> None:
    settings = ["--points-per-side", "6", "--min-iou", "0.25", "--min-stability", "0.2", "--min-area", "50"]
    result = run("photo.png", "--everything", *settings, "-o", "out")
    assert names(folder / "out") == ["photo_everything.json", "photo_everything.png"]
    content = json.loads((folder / "out" / "photo_everything.json").read_text())
    search = AutomaticMaskGenerator(
        load_model("nano", dtype="float32"),
        points_per_side=6,
        pred_iou_thresh=0.25,
        stability_score_thresh=0.2,
        min_mask_region_area=50,
    )
    found = sorted(search.generate(photo), key=lambda mask: -mask.area)
    assert [entry["id"] for entry in content["annotations"]] == list(range(1, len(found) + 1))
    assert [entry["segmentation"] for entry in content["annotations"]] == [dict(mask.rle) for mask in found]
    assert f"photo.png: {len(found)} masks" in result.stdout
    expected = overlay(photo, {i + 1: mask.mask for i, mask in enumerate(found)})
    assert np.array_equal(read(folder / "out" / "photo_everything.png"), expected)


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photo.png"], "say what to cut out"),
        (["photo.png", "--everything", "--point", BODY], "--everything needs no points"),
        (["photo.png", "--point", BODY, "--min-iou", "0.5"], "--everything isn't given"),
        (["photo.png", "--everything", "--min-iou", "1.5"], "pred_iou_thresh"),
        (["photo.png", "--point", "12"], "'12' is not a point"),
        (["photo.png", "--box", "1,2,3"], "is not a box"),
        (["photo.png", "--point", "bunny@12:3,4"], "no frames"),
        (["photo.png", "--negative", BODY], "only points that are not on it"),
        (["photo.png", "--box", BOX, "--box", BOX], "two boxes"),
        (["photo.png", "--mask", "missing.png"], "missing.png"),
        (["photo.png", "--point", "0:3,4"], "numbered from 1"),
        (["missing.png", "--point", BODY], "There is no file missing.png"),
        (["*.tiff", "--point", BODY], "No file matches *.tiff"),
        (["empty", "--point", BODY], "holds no pictures"),
        (["photo.png", "--point", BODY, "--model", "huge"], "huge"),
        (["photo.png", "--point", BODY, "--resolution", "100"], "multiple of 32"),
        (["photo.png", "--point", BODY, "--device", "abacus"], "abacus"),
        (["photo.png", "--point", "641,10"], "outside the frame, which is 640x360"),
        (["photo.png", "--box", "50,50,40,90"], "no area"),
        (["photo.png", "--point", "nan,10"], "is not a point"),
        (["text.png", "--point", BODY], "text.png"),
    ],
    ids=lambda value: "" if isinstance(value, list) else value,
)
def test_refused(folder: Path, words: list[str], message: str) -> None:
    (folder / "empty").mkdir()
    (folder / "text.png").write_text("This is no picture.")
    before = names(folder)
    result = run(*words, code=2)
    assert message in result.output.split("error: ", 1)[1]
    assert "Traceback" not in result.output
    assert names(folder) == before


def test_a_video_is_for_track(folder: Path, bunny_clip: Path) -> None:
    assert "`masklet track`" in run(str(bunny_clip), "--point", BODY, code=2).output


def test_nothing_is_replaced_unasked(folder: Path) -> None:
    (folder / "photo_overlay.png").write_text("mine")
    result = run("photo.png", "--box", BOX, code=2)
    assert "photo_overlay.png exists already" in result.output
    assert "--overwrite" in result.output
    assert names(folder) == ["photo.png", "photo_overlay.png"]
    assert (folder / "photo_overlay.png").read_text() == "mine"
    run("photo.png", "--box", BOX, "--overwrite")
    assert read(folder / "photo_overlay.png").shape == (360, 640, 3)
    assert "photo_mask.json" in names(folder)


def test_one_bad_picture_does_not_stop_the_others(folder: Path, photo: np.ndarray) -> None:
    (folder / "broken.png").write_bytes((folder / "photo.png").read_bytes()[:4000])
    Image.fromarray(photo[:100, :100]).save(folder / "small.png")
    result = run("broken.png", "small.png", "photo.png", "--box", BOX, "--point", BODY, "-o", "out", code=2)
    assert "broken.png" in result.output.split("error: ")[1]
    assert "small.png, object 1: " in result.output.split("error: ")[2]
    assert names(folder / "out") == ["photo_cutout.png", "photo_mask.json", "photo_mask.png", "photo_overlay.png"]


def test_a_mask_of_another_size(folder: Path) -> None:
    Image.fromarray(np.full((36, 64), 255, np.uint8)).save(folder / "rough.png")
    result = run("photo.png", "--mask", "rough.png", "-o", "out", code=2)
    assert "360 rows and 640 columns" in result.output
    assert not (folder / "out").exists()


def test_pictures_of_one_name_from_two_folders(folder: Path, photo: np.ndarray) -> None:
    for place in ("a", "b"):
        (folder / place).mkdir()
        Image.fromarray(photo).save(folder / place / "photo.png")
    with pytest.raises(InputError, match="different folders"):
        segment(SegmentRequest(["a/photo.png", "b/photo.png"], everything=True, output=folder / "out"))
    run("a/photo.png", "b/photo.png", "--box", BOX)
    assert "a/photo_mask.png" in names(folder)
    assert "b/photo_mask.png" in names(folder)


def test_a_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "out").write_text("a file where the folder should be")
    result = run("photo.png", "--box", BOX, "-o", "out", code=2)
    assert "out" in result.output.split("error: ")[1]

    def full(*_: Any, **__: Any) -> Any:
        raise MediaError("disk full")

    monkeypatch.setattr("masklet.runs.segment.write_image", full)
    result = run("photo.png", "--box", BOX, "-o", "other", code=2)
    assert "disk full" in result.output
    assert not list((folder).glob("other/*"))
