"""Annotated videos of every layout, read back against the masks that they were written from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from masklet.errors import InputError, ProjectError
from masklet.export import write
from masklet.masks import polygons, rle
from masklet.project import Project
from masklet.results import ObjectMask, Scores
from masklet.training.footage import Footage, FootageSettings
from masklet.training.footage.layouts import FOOTAGE_LAYOUTS, recognise
from masklet.training.footage.sav import step_between
from masklet.training.footage.videos import FootageVideo

Masks = dict[int, Callable[[int], np.ndarray]]
SMALL = FootageSettings(frames=3, height=64, width=64, least_area=0.001)


def truth(true_masks: Masks, frame: int) -> dict[int, np.ndarray]:
    return {number: mask for number, of in true_masks.items() if (mask := of(frame)).any()}


def assert_masks(found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for number, mask in expected.items():
        np.testing.assert_array_equal(found[number], mask)


def assert_pictures(video: FootageVideo, images: np.ndarray, indices: Any, within: float) -> None:
    found = video.read(list(indices))
    assert sorted(found) == sorted(set(indices))
    for index, image in found.items():
        assert np.abs(image.astype(int) - images[index]).mean() < within


def write_pictures(folder: Path, images: np.ndarray, suffix: str = ".jpg") -> list[str]:
    folder.mkdir(parents=True)
    names = [f"{index:05d}{suffix}" for index in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / name, quality=95)
    return names


def write_labels(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8), "P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    picture.save(path)


# ---------------------------------------------------------------------------------------------- own exports


@pytest.mark.parametrize(
    ("name", "options", "layout"),
    [
        ("davis", {"images": "png"}, "davis"),
        ("youtube-vos", {}, "youtube-vos"),
        ("coco", {}, "coco-tracks"),
        ("coco", {"segmentation": "polygons", "tolerance": 0}, "coco-tracks"),
    ],
)
def test_exports_come_back(
    make_project, true_masks: Masks, demo_images: np.ndarray, tmp_path: Path, name: str, options: dict, layout: str
) -> None:
    write(make_project(), name, tmp_path / "set", **options)
    assert recognise(tmp_path / "set") == layout
    footage = Footage(tmp_path / "set", SMALL)
    footage.check()
    [video] = footage.videos
    assert len(video) == 8 and list(video.annotated) == list(range(8))
    assert_pictures(video, demo_images, range(8), within=4)
    for frame in range(8):
        expected = truth(true_masks, frame)
        if layout != "coco-tracks" and 2 in expected:
            expected[2] &= ~expected[1]  # one number per pixel: the surer object has it
        found = video.masks(frame)
        if options.get("tolerance") == 0:
            for number, mask in expected.items():
                assert (found[number] ^ mask).sum() <= 0.02 * mask.sum()
        else:
            assert_masks(found, expected)
    if layout == "coco-tracks":
        assert [video.object_name(number) for number in (1, 2)] == ["bunny", "rock"]


def test_exports_of_every_third_frame(make_project, true_masks: Masks, tmp_path: Path) -> None:
    write(make_project(), "coco", tmp_path / "set", every=3)
    [video] = Footage(tmp_path / "set" / "annotations.json", SMALL).videos
    assert len(video) == 3
    assert_masks(video.masks(2), truth(true_masks, 6))


def test_an_export_without_pictures_says_so(make_project, tmp_path: Path) -> None:
    write(make_project(), "coco", tmp_path / "set", images="none")
    with pytest.raises(InputError, match=r"pictures of .*annotations.json were not found.*export with pictures"):
        Footage(tmp_path / "set")
    write(make_project(name="b.masklet"), "davis", tmp_path / "davis", images="none")
    with pytest.raises(InputError, match="no picture for frame"):
        Footage(tmp_path / "davis")


# ---------------------------------------------------------------------------------------------- projects


def test_projects_give_what_can_be_trusted(make_project, true_masks: Masks, demo_images: np.ndarray, tmp_path) -> None:
    project = make_project()
    doubtful = ObjectMask(2, 2, rle.encode(true_masks[2](2)), scores=Scores(object_score=2.0, predicted_iou=0.4))
    surer = ObjectMask(2, 5, rle.encode(true_masks[2](5)), scores=Scores(object_score=2.0, predicted_iou=0.95))
    project.put_masks([doubtful, surer])
    painted = {6: true_masks[1](6), 7: np.zeros((72, 128), bool)}
    project.put_masks([ObjectMask(2, frame, rle.encode(mask), painted=True) for frame, mask in painted.items()])
    project.add_object(3, "hidden")
    project.put_masks([ObjectMask(3, 1, rle.encode(true_masks[1](1)), scores=Scores(predicted_iou=0.99))])
    project.update_object(3, visible=False)
    project.close()
    [video] = Footage(tmp_path, SMALL).videos
    assert len(video) == 8 and list(video.annotated) == list(range(8))
    assert video.object_name(1) == "bunny"
    # object 2 has predicted IoU 0.625; lost on 3 and 4; 0 is its prompt
    unknown = {frame: set(video.unknown(frame)) for frame in range(8)}
    assert unknown == {0: set(), 1: {2}, 2: {2}, 3: {2}, 4: {2}, 5: set(), 6: set(), 7: set()}
    assert_masks(video.masks(1), {1: true_masks[1](1)})
    assert_masks(video.masks(5), truth(true_masks, 5))
    assert_masks(video.masks(6), {1: true_masks[1](6), 2: true_masks[1](6)})
    assert_masks(video.masks(7), {1: true_masks[1](7)})  # painted empty: known to be absent
    assert_pictures(video, demo_images, [6, 1, 4], within=6)
    [strict] = Footage(tmp_path / "clip.masklet", FootageSettings(tracked=False)).videos
    assert list(strict.annotated) == [0, 6, 7]
    [lax] = Footage(tmp_path, FootageSettings(least_predicted_iou=0.3)).videos
    assert set(lax.unknown(2)) == set() and set(lax.unknown(3)) == {2}


def test_a_mask_prompt_that_was_not_tracked_yet_is_a_label(clip: Path, true_masks: Masks, tmp_path: Path) -> None:
    with Project.create(tmp_path / "painted.masklet", clip) as project:
        project.add_object(4, "bunny")
        project.add_prompt(3, 4, mask=true_masks[1](3))
        project.add_prompt(5, 4, points=[(60, 40)])
    [video] = Footage(tmp_path / "painted.masklet", SMALL).videos
    assert list(video.annotated) == [3]
    assert_masks(video.masks(3), {4: true_masks[1](3)})


def test_frames_far_apart(make_video, read_number: Callable[[np.ndarray], int], tmp_path: Path) -> None:
    """One group of pictures goes on for 40 frames; indices have no common step."""
    with Project.create(tmp_path / "long.masklet", make_video.long_gop()) as project:
        project.add_object(1, "square")
        for frame in (0, 41, 89):
            project.put_masks([ObjectMask(1, frame, rle.encode(np.ones((64, 96), bool)), painted=True)])
    footage = Footage(tmp_path / "long.masklet", SMALL.changed(between=0))
    [video] = footage.videos
    for wanted in ([89, 0, 41], [3, 3], [7, 5, 50, 52, 58], list(range(60, 90))):
        assert {index: read_number(image) for index, image in video.read(wanted).items()} == {i: i for i in wanted}
    assert sorted(footage.clip(0).indices) == [0, 41, 89]


def test_projects_without_masks_or_source(clip: Path, make_project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Project.create(tmp_path / "empty" / "none.masklet", clip) as project:
        project.add_object(1, "bunny")
    with pytest.raises(InputError, match=r"None of the 1 projects .* Track or paint"):
        Footage(tmp_path / "empty")
    (tmp_path / "away").mkdir()
    moved = tmp_path / "gone.mp4"
    moved.write_bytes(clip.read_bytes())
    make_project(source=moved, name="away/p.masklet").close()
    moved.unlink()
    with pytest.raises(ProjectError, match=r"source of p\.masklet was not found"):
        Footage(tmp_path / "away", SMALL).check()


# ---------------------------------------------------------------------------------------------- JSON


@pytest.fixture
def youtube_vis(tmp_path: Path, true_masks: Masks, demo_images: np.ndarray) -> Path:
    """Two videos as YouTube-VIS has them; masks as compressed and as plain run lengths, polygons and null."""
    root = tmp_path / "vis"
    videos, annotations = [], []
    for number, name in enumerate(["aa11", "bb22"], start=1):
        names = write_pictures(root / "train" / "JPEGImages" / name, demo_images)
        file_names = [f"{name}/{frame}" for frame in names]
        videos.append({"id": number, "width": 128, "height": 72, "length": 8, "file_names": file_names})
        for track, of in true_masks.items():
            segmentations: list[Any] = []
            for frame in range(8):
                mask = of(frame)
                if not mask.any():
                    segmentations.append(None)
                elif frame % 3 == 0:
                    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
                    segmentations.append({"size": packed["size"], "counts": packed["counts"].decode()})
                elif frame % 3 == 1:
                    runs = rle.counts(rle.encode(mask)).tolist()
                    segmentations.append({"size": [72, 128], "counts": runs})
                else:
                    segmentations.append(polygons.to_coco(polygons.to_polygons(mask)))
            annotation = {"id": 10 * number + track, "video_id": number, "category_id": track, "iscrowd": 0}
            annotations.append({**annotation, "segmentations": segmentations, "bboxes": [], "areas": []})
        crowd = {"id": 99, "video_id": number, "category_id": 1, "iscrowd": 1}
        annotations.append({**crowd, "segmentations": [None] * 7 + [{"size": [72, 128], "counts": [0, 72 * 128]}]})
    categories = [{"id": 1, "name": "rabbit"}, {"id": 2, "name": "rock"}]
    document = {"videos": videos, "annotations": annotations, "categories": categories}
    (root / "train" / "instances.json").write_text(json.dumps(document))
    return root


def test_youtube_vis(youtube_vis: Path, true_masks: Masks, demo_images: np.ndarray) -> None:
    assert recognise(youtube_vis) == "coco-video"
    footage = Footage(youtube_vis, SMALL)
    footage.check()
    assert [video.name for video in footage.videos] == ["aa11", "bb22"]
    video = footage.video("bb22")
    assert video.object_name(1) == "rabbit"
    assert_pictures(video, demo_images, range(8), within=4)
    for frame in range(8):
        expected = truth(true_masks, frame)
        if frame % 3 == 2:
            for number, mask in expected.items():
                assert (video.masks(frame)[number] ^ mask).sum() <= 0.02 * mask.sum()
        else:
            assert_masks(video.masks(frame), expected)


def test_other_json_files_in_the_folder_are_passed_over(youtube_vis: Path, make_project) -> None:
    """As YouTube-VIS has them: a validation set without annotations, and notes of somebody's own."""
    folder = youtube_vis / "train"
    document = json.loads((folder / "instances.json").read_text())
    (folder / "a_notes.json").write_text('{"note": "mine"}')
    (folder / "empty.json").write_text(json.dumps({**document, "annotations": []}))
    assert recognise(youtube_vis) == "coco-video"
    assert [video.name for video in Footage(youtube_vis, SMALL).videos] == ["aa11", "bb22"]
    with pytest.raises(InputError, match="holds no annotated video in the coco-video layout"):
        Footage(folder / "empty.json")
    (folder / "instances.json").unlink()
    (folder / "empty.json").unlink()
    (folder / "b_notes.json").write_text("[1]")
    with pytest.raises(InputError, match="holds no annotated videos that masklet knows"):
        Footage(youtube_vis)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0]["segmentations"].pop(), r"annotation 11 has 7 segmentations.*8 frames"),
        (lambda d: d["videos"][0].pop("width"), r"not COCO video JSON.*'width'"),
        (lambda d: d["videos"][0].update(file_names=["zz/0.jpg"] * 8), None),
        (lambda d: [d.update(videos=[v]) for v in [{**d["videos"][0], "file_names": ["zz/0.jpg"] * 8}]], "no zz/0.jpg"),
    ],
)
def test_damaged_youtube_vis(youtube_vis: Path, change: Callable[[dict], Any], message: str | None) -> None:
    path = youtube_vis / "train" / "instances.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    if message is None:  # one video of two lost its pictures: that shows as frames that can't be read
        assert len(Footage(youtube_vis, SMALL).videos) == 2
        return
    with pytest.raises(InputError, match=message):
        Footage(youtube_vis, SMALL)


def test_damaged_run_lengths_name_their_place(youtube_vis: Path) -> None:
    path = youtube_vis / "train" / "instances.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentations"][1]["counts"][0] += 5
    path.write_text(json.dumps(document))
    video = Footage(youtube_vis, SMALL).video("aa11")
    with pytest.raises(InputError, match=r"instances.json: object 1 on frame 1 of aa11: .*cover 9221 pixels"):
        video.masks(1)


@pytest.fixture
def sav_json(tmp_path: Path, true_masks: Masks, session_video_maker, demo_images: np.ndarray) -> Path:
    """A video of 29 numbered frames, annotated on every fourth as SA-V does, by hand and automatically."""
    source = session_video_maker.folder / "sav_000001.mp4"
    if not source.exists():
        session_video_maker.make(source.name, count=29, size=(128, 72), rate=24, options={"crf": "8"})
    folder = tmp_path / "sav_train" / "sav_000"
    folder.mkdir(parents=True)
    (folder / source.name).write_bytes(source.read_bytes())
    base = {"video_id": "sav_000001", "video_frame_count": 29.0, "video_height": 72.0, "video_width": 128.0}
    inner = np.zeros((72, 128), bool)
    inner[30:60, 40:60] = True

    def packed(mask: np.ndarray) -> dict[str, Any]:
        found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": found["size"], "counts": found["counts"].decode()}

    manual = [[packed(of(frame)) for of in true_masks.values()] for frame in range(8)]
    auto = [[packed(inner)] for _ in range(8)]
    (folder / "sav_000001_manual.json").write_text(json.dumps({**base, "masklet": manual, "masklet_id": [0, 1]}))
    (folder / "sav_000001_auto.json").write_text(json.dumps({**base, "masklet": auto, "masklet_id": [0]}))
    return tmp_path / "sav_train"


def test_sav_json(sav_json: Path, true_masks: Masks, read_number: Callable[[np.ndarray], int]) -> None:
    assert recognise(sav_json) == "sav-json"
    [video] = Footage(sav_json, FootageSettings(masklets="manual")).videos
    assert len(video) == 29 and list(video.annotated) == [0, 4, 8, 12, 16, 20, 24, 28]
    for place, frame in enumerate(video.annotated):
        expected = truth(true_masks, place)
        assert_masks(video.masks(frame), {number - 1: mask for number, mask in expected.items()})
    found = video.read([28, 4, 16])
    assert {index: read_number(image) for index, image in found.items()} == {28: 28, 4: 4, 16: 16}
    [both] = Footage(sav_json / "sav_000" / "sav_000001_auto.json").videos
    names = {both.object_name(number) for number in both.masks(8)}
    assert names == {"manual masklet 0", "manual masklet 1", "automatic masklet 0"}


def test_sav_objects_that_overlap_are_not_in_one_clip(sav_json: Path) -> None:
    footage = Footage(sav_json, FootageSettings(frames=3, height=64, width=64, objects=3))
    seen = set()
    for number in range(12):
        clip = footage.clip(number)
        names = frozenset(clip.objects.values())
        assert not {"manual masklet 0", "automatic masklet 0"} <= names
        seen |= names
    assert seen == {"manual masklet 0", "manual masklet 1", "automatic masklet 0"}


def test_sav_without_its_video(sav_json: Path) -> None:
    (sav_json / "sav_000" / "sav_000001.mp4").unlink()
    with pytest.raises(InputError, match=r"1 of 1 annotated videos are missing.*Put the mp4 files beside"):
        Footage(sav_json)


@pytest.mark.parametrize(
    ("annotated", "frames", "step"), [(121, 483, 4), (8, 29, 4), (29, 29, 1), (10, 19, 2), (2, 5, 4)]
)
def test_the_step_of_sav_annotations(annotated: int, frames: int, step: int) -> None:
    assert step_between(annotated, frames) == step


# ---------------------------------------------------------------------------------------------- label maps


def test_youtube_vos_with_all_frames(true_masks: Masks, demo_images: np.ndarray, tmp_path: Path) -> None:
    """Every third frame annotated, all pictures beside it, in a folder per split."""
    root = tmp_path / "yt"
    write_pictures(root / "train_all_frames" / "JPEGImages" / "v1", demo_images)
    for frame in (0, 3, 6):
        write_labels(root / "train" / "Annotations" / "v1" / f"{frame:05d}.png", true_masks[1](frame) * 5)
    meta = {"videos": {"v1": {"objects": {"5": {"category": "rabbit", "frames": ["00000", "00003", "00006"]}}}}}
    (root / "train" / "meta.json").write_text(json.dumps(meta))
    assert recognise(root) == "youtube-vos"
    [video] = Footage(root, SMALL).videos
    assert len(video) == 8 and list(video.annotated) == [0, 3, 6]
    assert_masks(video.masks(3), {5: true_masks[1](3)})


def test_black_and_white_masks_are_one_object(true_masks: Masks, demo_images: np.ndarray, tmp_path: Path) -> None:
    write_pictures(tmp_path / "JPEGImages" / "v", demo_images)
    (tmp_path / "Annotations" / "v").mkdir(parents=True)
    for frame in range(8):
        mask = true_masks[1](frame).astype(np.uint8) * 255 * (frame > 0)  # not there yet on the first frame
        Image.fromarray(mask).save(tmp_path / f"Annotations/v/{frame:05d}.png")
    assert recognise(tmp_path) == "davis2016"
    [video] = Footage(tmp_path, SMALL).videos
    assert_masks(video.masks(2), {1: true_masks[1](2)})


@pytest.mark.parametrize("names", [("JPEGImages_24fps", "Annotations_6fps"), ("JPEGImages", "Annotations")])
def test_a_folder_per_object(names: tuple[str, str], true_masks: Masks, demo_images: np.ndarray, tmp_path) -> None:
    write_pictures(tmp_path / names[0] / "sav_1", demo_images)
    for number, of in true_masks.items():
        folder = tmp_path / names[1] / "sav_1" / f"{number:03d}"
        folder.mkdir(parents=True)
        for frame in range(0, 8, 4 if number == 1 else 2):
            Image.fromarray(of(frame).astype(np.uint8) * 255).save(folder / f"{frame:05d}.png")
    assert recognise(tmp_path) == "sav"
    [video] = Footage(tmp_path, SMALL).videos
    assert list(video.annotated) == [0, 2, 4, 6]
    assert_masks(video.masks(0), truth(true_masks, 0))  # overlapping pixels belong to both
    assert_masks(video.masks(2), {2: true_masks[2](2)})
    assert set(video.unknown(2)) == {1} and set(video.unknown(4)) == set()


def test_lvos_and_mose(true_masks: Masks, demo_images: np.ndarray, tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "JPEGImages" / "v", demo_images)
    for frame in range(8):
        write_labels(tmp_path / "train" / "Annotations" / "v" / f"{frame:05d}.png", true_masks[1](frame) * 255)
    [mose] = Footage(tmp_path, SMALL, layout="mose").videos
    assert_masks(mose.masks(4), {255: true_masks[1](4)})
    meta = {"videos": {"v": {"objects": {"255": {"frame_range": {"start": "0", "end": "8"}}}}}}
    (tmp_path / "train" / "train_meta.json").write_text(json.dumps(meta))
    assert recognise(tmp_path) == "lvos"
    [lvos] = Footage(tmp_path, SMALL).videos
    assert_masks(lvos.masks(4), {255: true_masks[1](4)})


def test_splits(make_project, clip: Path, tmp_path: Path) -> None:
    source = tmp_path / "bunny.mp4"
    source.write_bytes(clip.read_bytes())
    write(make_project(source=source), "davis", tmp_path / "set")
    assert [video.name for video in Footage(tmp_path / "set", split="val").videos] == ["bunny"]
    with pytest.raises(InputError, match="no list of the split 'train'"):
        Footage(tmp_path / "set", split="train")


# ---------------------------------------------------------------------------------------------- mistakes


def test_what_is_not_footage(tmp_path: Path, demo_images: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        Footage(tmp_path / "nowhere")
    write_pictures(tmp_path / "holiday", demo_images[:2])
    with pytest.raises(InputError, match=r"holds no annotated videos that masklet knows.*JPEGImages"):
        Footage(tmp_path / "holiday")
    with pytest.raises(InputError, match="neither a folder of annotated videos nor"):
        Footage(tmp_path / "holiday" / "00000.jpg")
    with pytest.raises(InputError, match=rf"unknown layout 'nope'.*{', '.join(FOOTAGE_LAYOUTS)}"):
        Footage(tmp_path / "holiday", layout="nope")
    with pytest.raises(InputError, match="name at least one"):
        Footage([])
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="neither COCO video JSON"):
        Footage(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"a": ')
    with pytest.raises(InputError, match="can't be read as JSON"):
        Footage(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"images": [], "annotations": [{"image_id": 1, "segmentation": []}]}')
    with pytest.raises(InputError, match="has no tracks"):
        Footage(tmp_path / "c.json")


def test_videos_kept_for_validation(youtube_vis: Path, make_project, tmp_path: Path) -> None:
    make_project().close()
    footage = Footage([youtube_vis, tmp_path / "clip.masklet"], SMALL, seed=3)
    learn, held = footage.divided(0.3)
    assert len(learn.videos) == 2 and len(held.videos) == 1
    assert {video.name for video in (*learn.videos, *held.videos)} == {"aa11", "bb22", "clip"}
    again = Footage([tmp_path / "clip.masklet", youtube_vis], SMALL, seed=4).divided(0.3)[1]
    assert [video.name for video in again.videos] == [held.videos[0].name]
    assert {learn.clip(number).video for number in range(12)} == {video.name for video in learn.videos}
    assert held.clip(0).video == held.videos[0].name
    with pytest.raises(InputError, match="no video"):
        learn.video(held.videos[0].name)
    with pytest.raises(InputError, match="takes at least two"):
        held.divided()
    with pytest.raises(InputError, match="between 0 and 1"):
        footage.divided(1)


def test_names_are_unique(make_project, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write(make_project(name=f"{folder}.masklet"), "davis", tmp_path / "sets" / folder)
    footage = Footage([tmp_path / "sets" / "one", tmp_path / "sets" / "two", tmp_path / "sets" / "two"], SMALL)
    assert [video.name for video in footage.videos] == ["one/bunny cut", "two/bunny cut", "two/bunny cut (2)"]
    assert footage.video("two/bunny cut") is footage.videos[1]
    with pytest.raises(InputError, match=r"no video 'bunny' in this footage; there are one/bunny cut"):
        footage.video("bunny")
