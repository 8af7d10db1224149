"""Every layout, built small on disk and scored from files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.evaluation import open_layout, score_results
from masklet.evaluation.layouts.base import BoxDataset, MaskDataset
from masklet.evaluation.report import summary_rows, write_reports
from masklet.evaluation.result_files import MaskResults, read_boxes, read_numbers

SIZE = (40, 60)


def label_map(path: Path, objects: dict[int, tuple[int, int, int, int]], mode: str = "P") -> None:
    labels = np.zeros(SIZE, np.uint8)
    for number, (x1, y1, x2, y2) in objects.items():
        labels[y1:y2, x1:x2] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if mode == "P":
        image = image.convert("P")
        image.putpalette(bytes(range(256)) * 3)
    elif mode != "L":
        image = image.convert(mode)
    image.save(path)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 60)).save(path)


def davis(root: Path, frames: int = 6) -> Path:
    """Two sequences; in the second an object that the first frame doesn't have, and a frame with void."""
    for name in ("walk", "swim"):
        for i in range(frames):
            picture(root / f"JPEGImages/480p/{name}/{i:05d}.jpg")
            objects = {1: (2 + i, 2, 22 + i, 30), 2: (30, 5, 50, 35)}
            if name == "swim" and i >= 2:
                objects[3] = (0, 36, 9, 40)
            if i == 3:
                objects[255] = (55, 0, 60, 40)
            label_map(root / f"Annotations/480p/{name}/{i:05d}.png", objects)
    (root / "ImageSets/2017").mkdir(parents=True)
    (root / "ImageSets/2017/val.txt").write_text("walk\n")
    (root / "ImageSets/2016").mkdir(parents=True)
    (root / "ImageSets/2016/val.txt").write_text(
        "".join(f"/JPEGImages/480p/swim/{i:05d}.jpg /Annotations/480p/swim/{i:05d}.png\n" for i in range(frames))
    )
    return root


def test_davis_2017_scores_the_objects_of_the_first_frame_without_its_ends(tmp_path):
    dataset = open_layout("davis2017", davis(tmp_path / "d"))
    assert isinstance(dataset, MaskDataset)
    swim = next(sequence for sequence in dataset.sequences if sequence.name == "swim")
    assert [target.object_id for target in swim.targets] == [1, 2]
    assert swim.targets[0].scored == (1, 2, 3, 4)
    assert [sequence.name for sequence in open_layout("davis2017", tmp_path / "d", "val").sequences] == ["walk"]
    assert [sequence.name for sequence in open_layout("davis2016", tmp_path / "d", "val").sequences] == ["swim"]
    with pytest.raises(InputError, match="no list of the split 'dev'"):
        open_layout("davis2017", tmp_path / "d", "dev")

    for i in range(6):  # object 1 perfect; object 2 half of itself on one of four scored frames
        half = {1: (2 + i, 2, 22 + i, 30), 2: (30, 5, 40 if i == 2 else 50, 35)}
        for name in ("walk", "swim"):
            label_map(tmp_path / f"r/{name}/{i:05d}.png", half, "L")
    evaluation = score_results(dataset, tmp_path / "r")
    first, second = evaluation.objects[0], evaluation.objects[1]
    assert first.frames == ("00001", "00002", "00003", "00004")
    assert first.j.mean == first.f.mean == 1
    assert second.region.tolist() == [1, 0.5, 1, 1]
    assert evaluation.summary.j.mean == pytest.approx((1 + 0.875) / 2)
    assert evaluation.summary.j_and_f == pytest.approx((evaluation.summary.j.mean + evaluation.summary.f.mean) / 2)
    assert summary_rows([evaluation])[0]["J"] == pytest.approx(93.75)


def test_results_that_are_missing_or_too_small_are_refused(tmp_path):
    dataset = open_layout("davis2017", davis(tmp_path / "d"))
    with pytest.raises(InputError, match="no folder of results"):
        score_results(dataset, tmp_path / "nowhere")
    (tmp_path / "r/walk").mkdir(parents=True)
    with pytest.raises(InputError, match="no results for sequence swim"):
        score_results(dataset, tmp_path / "r")
    with pytest.raises(InputError, match=r"00001\.png is missing"):
        score_results(dataset, tmp_path / "r", partial=True)
    for i in range(6):
        Image.new("L", (30, 20)).save(tmp_path / f"r/walk/{i:05d}.png")
    with pytest.raises(InputError, match="result is 30x20 pixels, the annotation 60x40"):
        score_results(dataset, tmp_path / "r", partial=True)


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "LA", "1"])
def test_davis_2016_takes_any_kind_of_mask_picture_as_one_object(tmp_path, mode):
    for i in range(4):
        picture(tmp_path / f"d/JPEGImages/480p/bear/{i:05d}.jpg")
        label_map(tmp_path / f"d/Annotations/480p/bear/{i:05d}.png", {255: (5, 5, 30, 30)}, mode)
        label_map(tmp_path / f"r/bear/{i:05d}.png", {1: (5, 5, 30, 30)}, "P")
    evaluation = score_results(open_layout("davis2016", tmp_path / "d"), tmp_path / "r")
    assert evaluation.summary.j.mean == evaluation.summary.f.mean == 1


def test_mose_scores_late_objects_from_where_they_appear(tmp_path):
    for i in range(6):
        picture(tmp_path / f"d/valid/JPEGImages/v/{i:05d}.jpg")
        objects = {1: (2, 2, 20, 20)} | ({7: (30, 5, 50, 35)} if i >= 3 else {})
        label_map(tmp_path / f"d/valid/Annotations/v/{i:05d}.png", objects)
        label_map(tmp_path / f"r/v/{i:05d}.png", objects)
    dataset = open_layout("mose", tmp_path / "d", "valid")
    late = dataset.sequences[0].targets[1]
    assert (late.object_id, late.prompt_frame) == (7, 3)
    evaluation = score_results(dataset, tmp_path / "r")
    assert [scores.frames for scores in evaluation.objects] == [
        ("00001", "00002", "00003", "00004"),
        ("00003", "00004"),
    ]
    short = dataset.sequences[0].limited(3)
    assert [target.object_id for target in short.targets] == [1]
    assert short.targets[0].scored == (1,)


def test_lvos_scores_each_object_on_its_range(tmp_path):
    for number in range(1, 42, 5):
        picture(tmp_path / f"d/JPEGImages/v/{number:08d}.jpg")
        label_map(tmp_path / f"d/Annotations/v/{number:08d}.png", {1: (2, 2, 20, 20), 2: (30, 5, 50, 35)})
        wrong = {1: (2, 2, 20, 20)} | ({2: (30, 5, 50, 35)} if number >= 16 else {})
        label_map(tmp_path / f"r/v/{number:08d}.png", wrong)
    meta = {
        "v": {
            "objects": {
                "1": {"frame_range": {"start": "1", "end": "42", "frame_nums": "9"}},
                "2": {"frame_range": {"start": "11", "end": "31", "frame_nums": "4"}},
            }
        }
    }
    (tmp_path / "d/valid_meta.json").write_text(json.dumps({"videos": meta}))
    (tmp_path / "d/unseen_videos.txt").write_text("v\n")
    evaluation = score_results(open_layout("lvos", tmp_path / "d", "valid"), tmp_path / "r")
    assert evaluation.objects[1].frames == ("00000011", "00000016", "00000021", "00000026")
    assert evaluation.objects[1].j.mean == pytest.approx(0.75)
    assert len(evaluation.objects[0].frames) == 9
    assert list(evaluation.summary.groups) == ["unseen"]
    (tmp_path / "d/valid_meta.json").write_text('{"videos": {"v": {"objects": {"1": {}}}}}')
    with pytest.raises(InputError, match="not an LVOS meta file"):
        open_layout("lvos", tmp_path / "d", "valid")


def test_youtube_vos_leaves_out_the_first_frame_of_each_object_and_splits_classes(tmp_path):
    for number in range(0, 26, 5):
        picture(tmp_path / f"d/valid/JPEGImages/v/{number:05d}.jpg")
        label_map(tmp_path / f"d/valid/Annotations/v/{number:05d}.png", {1: (2, 2, 20, 20), 3: (30, 5, 50, 35)})
        label_map(tmp_path / f"r/v/{number:05d}.png", {1: (2, 2, 20, 20)})
    for number in range(26):
        picture(tmp_path / f"d/valid_all_frames/JPEGImages/v/{number:05d}.jpg")
    objects = {
        "1": {"category": "dog", "frames": [f"{n:05d}" for n in range(0, 26, 5)]},
        "3": {"category": "yak", "frames": [f"{n:05d}" for n in range(10, 26, 5)]},
    }
    (tmp_path / "d/valid/meta.json").write_text(json.dumps({"videos": {"v": {"objects": objects}}}))
    (tmp_path / "d/train").mkdir()
    train = {"videos": {"t": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}}
    (tmp_path / "d/train/meta.json").write_text(json.dumps(train))
    dataset = open_layout("youtube-vos", tmp_path / "d", "valid")
    sequence = dataset.sequences[0]
    assert len(sequence.image_paths()) == 26
    assert sequence.targets[1].prompt_frame == 10
    evaluation = score_results(dataset, tmp_path / "r")
    assert evaluation.objects[1].frames == ("00015", "00020", "00025")
    assert evaluation.summary.groups == {"seen": (1.0, 1.0), "unseen": (0.0, 0.0)}
    assert evaluation.summary.overall == 0.5
    with pytest.raises(InputError, match=r"meta\.json"):
        open_layout("youtube-vos", tmp_path / "d")


def test_sav_keeps_objects_apart_and_scores_annotated_frames_only(tmp_path):
    for number in range(17):
        picture(tmp_path / f"d/sav_val/JPEGImages_24fps/v/{number:05d}.jpg")
    for number in range(0, 17, 4):
        for name, box in (("000", (2, 2, 30, 30)), ("001", (10, 10, 50, 35))):  # they overlap
            objects = {} if name == "001" and number == 0 else {255: box}
            label_map(tmp_path / f"d/sav_val/Annotations_6fps/v/{name}/{number:05d}.png", objects, "L")
            label_map(tmp_path / f"r/v/{name}/{number:05d}.png", objects, "L")
    (tmp_path / "d/sav_val/sav_val.txt").write_text("v\n")
    dataset = open_layout("sav", tmp_path / "d", "val")
    first, second = dataset.sequences[0].targets
    assert (first.prompt_frame, second.prompt_frame) == (0, 4)
    assert first.scored == (4, 8, 12)
    evaluation = score_results(dataset, tmp_path / "r")
    assert evaluation.summary.objects == 2
    assert evaluation.summary.j_and_f == 1


# ---------------------------------------------------------------------------------------------- boxes

BOXES = np.array([[10, 10, 20, 20], [12, 10, 20, 20], [14, 10, 20, 20], [16, 10, 20, 20]], float)


def rows(boxes: np.ndarray, separator: str = ",") -> str:
    return "".join(separator.join(f"{v:g}" for v in row) + "\n" for row in boxes)


def test_lasot_counts_hidden_frames_as_missed(tmp_path):
    folder = tmp_path / "d/bird/bird-3"
    for i in range(4):
        picture(folder / f"img/{i + 1:08d}.jpg")
    folder.joinpath("groundtruth.txt").write_text(rows(BOXES))
    folder.joinpath("full_occlusion.txt").write_text("0,0,1,0")
    folder.joinpath("out_of_view.txt").write_text("0,0,0,0")
    (tmp_path / "r").mkdir()
    (tmp_path / "r/bird-3.txt").write_text(rows(BOXES, "\t"))
    dataset = open_layout("lasot", tmp_path / "d")
    assert isinstance(dataset, BoxDataset)
    assert dataset.sequences[0].visible.tolist() == [True, True, False, True]
    assert len(dataset.sequences[0].image_paths()) == 4
    summary = score_results(dataset, tmp_path / "r").summary
    assert summary.precision == summary.normalised_precision == pytest.approx(0.75)
    assert summary.success_auc == pytest.approx(0.75 * 20 / 21)
    assert summary.average_overlap == 1


def test_uav123_parts_start_where_the_benchmark_cuts_them(tmp_path):
    for number in range(1, 1582):
        path = tmp_path / f"d/data_seq/UAV123/bird1/{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    anno = tmp_path / "d/anno/UAV123"
    anno.mkdir(parents=True)
    for name in ("bird1_1", "bird1_2", "bird1_3"):
        (anno / f"{name}.txt").write_text(rows(BOXES[:3]) + "NaN,NaN,NaN,NaN\n")
    dataset = open_layout("uav123", tmp_path / "d")
    assert [sequence.images[0].stem for sequence in dataset.sequences] == ["000001", "000775", "001573"]
    (tmp_path / "r").mkdir()
    for name in ("bird1_1", "bird1_2", "bird1_3"):
        (tmp_path / f"r/uav_{name}.txt").write_text(rows(BOXES))
    summary = score_results(dataset, tmp_path / "r").summary
    assert summary.precision == 1  # an absent target counts as found there …
    assert summary.success_auc == pytest.approx(0.75 * 20 / 21)  # … but not here


def test_otb_two_targets_in_one_folder_and_late_beginnings(tmp_path):
    for name, first in (("Jogging", 1), ("David", 300)):
        for number in range(first, first + 4):
            path = tmp_path / f"d/{name}/img/{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "d/Jogging/groundtruth_rect.1.txt").write_text(rows(BOXES, "\t"))
    (tmp_path / "d/Jogging/groundtruth_rect.2.txt").write_text(rows(BOXES, " "))
    (tmp_path / "d/David/groundtruth_rect.txt").write_text(rows(BOXES))
    dataset = open_layout("otb", tmp_path / "d")
    assert [sequence.name for sequence in dataset.sequences] == ["David", "Jogging_1", "Jogging_2"]
    assert dataset.sequences[0].images[0].stem == "0300"
    (tmp_path / "r").mkdir()
    for name in ("David", "Jogging.1", "Jogging-2"):
        (tmp_path / f"r/{name}.txt").write_text(rows(BOXES))
    assert score_results(dataset, tmp_path / "r").summary.precision == 1


def test_nfs_as_packed_by_its_authors_and_by_toolkits(tmp_path):
    folder = tmp_path / "a/ball/30"
    for number in range(1, 5):
        path = folder / f"ball/{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lines = [f'1 {i} 10 {i + 20} 30 {i} 0 0 0 "ball"' for i in range(32)]
    (folder / "ball.txt").write_text("\n".join(lines) + "\n")
    sequence = open_layout("nfs", tmp_path / "a").sequences[0]
    assert sequence.boxes.tolist() == [[0, 10, 20, 20], [8, 10, 20, 20], [16, 10, 20, 20], [24, 10, 20, 20]]
    (tmp_path / "b/anno").mkdir(parents=True)
    (tmp_path / "b/anno/nfs_ball.txt").write_text(rows(BOXES, "\t"))
    repacked = open_layout("nfs", tmp_path / "b").sequences[0]
    assert repacked.name == "ball" and repacked.boxes.tolist() == BOXES.tolist()
    with pytest.raises(InputError, match="30 and 240"):
        open_layout("nfs", tmp_path / "a", "60")


def test_got10k_means_over_frames_and_repetitions(tmp_path):
    folder = tmp_path / "d/val/GOT-10k_Val_000001"
    for i in range(4):
        picture(folder / f"{i + 1:08d}.jpg")
    folder.joinpath("groundtruth.txt").write_text(rows(BOXES))
    folder.joinpath("cover.label").write_text("8\n8\n0\n8\n")
    folder.joinpath("meta_info.ini").write_text(
        "[METAINFO]\nurl: https://example.org/100%\nobject_class: bear\nresolution: (60, 40)\n"
    )
    (tmp_path / "d/val/list.txt").write_text("GOT-10k_Val_000001\n")
    dataset = open_layout("got10k", tmp_path / "d")
    assert dataset.sequences[0].frame_size == (60, 40)
    assert dataset.sequences[0].group == "bear"
    name = "GOT-10k_Val_000001"
    (tmp_path / f"r/{name}").mkdir(parents=True)
    half = BOXES.copy()
    half[3] = [16, 10, 10, 20]
    (tmp_path / f"r/{name}/{name}_001.txt").write_text(rows(BOXES))
    (tmp_path / f"r/{name}/{name}_002.txt").write_text(rows(half))
    evaluation = score_results(dataset, tmp_path / "r")
    assert evaluation.summary.average_overlap == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert evaluation.summary.success_rate_50 == 0.75  # one half is not above one half
    paths = write_reports(tmp_path / "out", [evaluation])
    assert (tmp_path / "out/summary.csv").read_text().splitlines()[1].startswith("r,87.5,75,75,2")
    assert {path.name for path in paths} == {"summary.csv", "details.csv", "frames.csv", "curves.csv"}


def test_number_files(tmp_path):
    path = tmp_path / "n.txt"
    path.write_text("1,2,3,4\n\n5 6\t7;8\r\n")
    assert read_boxes(path).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    path.write_text("0,0,4,0,4,2,0,2\n")
    assert read_boxes(path).tolist() == [[0, 0, 4, 2]]
    path.write_text("1,2,3,4\n1,2,3\n")
    with pytest.raises(InputError, match="line 2: 3 numbers where 4"):
        read_numbers(path)
    path.write_text("1,2,x,4\n")
    with pytest.raises(InputError, match="line 1"):
        read_numbers(path)
    path.write_text("1,2,3\n")
    with pytest.raises(InputError, match="4 numbers a row"):
        read_boxes(path)


def test_a_label_map_of_colours_is_refused(tmp_path):
    (tmp_path / "r/v").mkdir(parents=True)
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "r/v/00000.png")
    with pytest.raises(InputError, match="holds colours"):
        MaskResults(tmp_path / "r", "v").mask("00000", 1)


def test_unknown_layouts_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="known are davis2016"):
        open_layout("davis", tmp_path)
    with pytest.raises(InputError, match="holds no sequence"):
        open_layout("davis2017", tmp_path)
    with pytest.raises(InputError, match="no folder at"):
        open_layout("lasot", tmp_path / "nowhere")
