"""The tracker on small data sets: prompts, late objects, kept results, the command line. nano on made clips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from masklet.cli import app as main_app
from masklet.errors import InputError, SourceError
from masklet.evaluation import open_layout, score_results
from masklet.evaluation.run import EvaluationRun, evaluate_run, track_masks
from masklet.masks.distance import deepest_point
from masklet.training.synthesis import Clip, ClipGenerator, ClipSettings
from masklet.weights.loading import load_model

FRAMES = 5


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Two clips with two objects each that are visible from the beginning."""
    generator = ClipGenerator(settings=ClipSettings(frames=FRAMES, height=96, width=128, objects=(2, 3)), seed=4)
    good = (c for c in generator if len(c.objects) >= 2 and all((c.labels_thw[0] == i).sum() > 150 for i in (1, 2)))
    return [next(good), next(good)]


def write(clips: list[Clip], root: Path, late: bool = False) -> Path:
    """A data set in MOSE's layout; with `late` the second object is annotated from frame 2 on."""
    for number, clip in enumerate(clips):
        for folder in ("JPEGImages", "Annotations"):
            (root / folder / f"v{number}").mkdir(parents=True)
        for t in range(FRAMES):
            image = Image.fromarray(clip.frames_thwc[t])
            image.save(root / f"JPEGImages/v{number}/{t:05d}.jpg", quality=95)
            labels = np.where(clip.labels_thw[t] <= 2, clip.labels_thw[t], 0).astype(np.uint8)
            if late and t < 2:
                labels[labels == 2] = 0
            Image.fromarray(labels).save(root / f"Annotations/v{number}/{t:05d}.png")
    return root


def test_tracking_is_scored_like_its_own_files(tmp_path, nano, clips):
    dataset = open_layout("davis2017", write(clips, tmp_path / "d"))
    finished: list[str] = []
    run = EvaluationRun("n", nano, policy="samurai", keep=tmp_path / "kept")
    evaluation = evaluate_run(dataset, run, finished=finished.append)
    assert finished == ["v0", "v1"]
    assert evaluation.summary.objects == 4 and 0.2 < evaluation.summary.j.mean <= 1
    assert evaluation.frames_per_second is not None and evaluation.frames_per_second > 0
    again = score_results(dataset, tmp_path / "kept")
    for mine, theirs in zip(evaluation.objects, again.objects, strict=True):
        assert np.array_equal(mine.region, theirs.region)
        assert np.array_equal(mine.boundary, theirs.boundary)
    with Image.open(tmp_path / "kept/v0/00001.png") as picture:
        assert picture.mode == "P" and picture.size == (128, 96)

    # resumed: what is kept isn't tracked again
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "kept/v0/00001.png")
    resumed = evaluate_run(dataset, EvaluationRun("n", nano, keep=tmp_path / "kept", resume=True))
    assert resumed.objects[0].region[0] < evaluation.objects[0].region[0]
    assert resumed.frames_per_second is None


def test_results_never_take_the_place_of_annotations(tmp_path, nano, clips):
    dataset = open_layout("davis2017", write(clips[:1], tmp_path / "d"))
    annotations = tmp_path / "d" / "Annotations"
    before = {path: path.read_bytes() for path in annotations.rglob("*.png")}
    with pytest.raises(SourceError, match="it would come among the pictures"):
        evaluate_run(dataset, EvaluationRun("n", nano, keep=annotations))
    assert {path: path.read_bytes() for path in annotations.rglob("*") if path.is_file()} == before


def test_a_late_object_is_tracked_from_where_it_is_shown(tmp_path, nano, clips):
    dataset = open_layout("mose", write(clips[:1], tmp_path / "d", late=True))
    sequence = dataset.sequences[0]
    shown = dict(track_masks(sequence, EvaluationRun("n", nano)))
    assert list(shown) == [0, 1, 2, 3, 4]
    assert [sorted(masks) for masks in shown.values()] == [[1], [1], [1, 2], [1, 2], [1, 2]]
    for masks in shown.values():
        total = np.sum([mask.astype(int) for mask in masks.values()], axis=0)
        assert total.max() <= 1  # a label map has one object to a pixel
    truth = sequence.truth(2, 2)
    assert (shown[2][2] & truth).sum() > 0.6 * truth.sum()


@pytest.mark.parametrize("prompt", ["box", "click"])
def test_other_prompts(tmp_path, nano, clips, prompt):
    dataset = open_layout("davis2017", write(clips[:1], tmp_path / "d"))
    evaluation = evaluate_run(dataset, EvaluationRun("n", nano, prompt=prompt))
    assert len(evaluation.objects) == 2
    with pytest.raises(InputError, match="unknown prompt"):
        evaluate_run(dataset, EvaluationRun("n", nano, prompt="scribble"))


def test_boxes_are_tracked_written_and_scored(tmp_path, nano, clips):
    folder = tmp_path / "d/thing/thing-1"
    (folder / "img").mkdir(parents=True)
    rows = []
    for t in range(FRAMES):
        Image.fromarray(clips[0].frames_thwc[t]).save(folder / f"img/{t + 1:08d}.jpg", quality=95)
        y, x = np.nonzero(clips[0].labels_thw[t] == 1)
        rows.append((x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1) if len(x) else (0, 0, 0, 0))
    (folder / "groundtruth.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    dataset = open_layout("lasot", tmp_path / "d")
    evaluation = evaluate_run(dataset, EvaluationRun("n", nano, prompt="box", keep=tmp_path / "kept"))
    again = score_results(dataset, tmp_path / "kept")
    assert again.summary.success_auc == pytest.approx(evaluation.summary.success_auc, abs=1e-3)
    assert len((tmp_path / "kept/thing-1.txt").read_text().splitlines()) == FRAMES
    with pytest.raises(InputError, match="boxes and no masks"):
        evaluate_run(dataset, EvaluationRun("n", nano, prompt="mask"))


def test_the_command_compares_policies_and_draws(tmp_path, clips, nano):
    pytest.importorskip("matplotlib")
    import typer

    from masklet.cli.evaluate import evaluate

    app = typer.Typer()
    app.command()(evaluate)
    data = write(clips[:1], tmp_path / "d")
    common = ["--data", str(data), "--layout", "davis2017"]
    track = [*common, "--policy", "recency,samurai", "--dtype", "float32", "--device", "cpu", "--max-frames", "4"]
    done = CliRunner().invoke(app, [*track, "-o", str(tmp_path / "o"), "--plots"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    assert "nano recency mask" in done.output and "nano samurai mask" in done.output
    lines = (tmp_path / "o/summary.csv").read_text().splitlines()
    assert lines[0].startswith("run,J&F,J,J rec,J dec,F") and len(lines) == 3
    assert cv2.imread(str(tmp_path / "o/plots/v0.png")).shape[2] == 3
    assert len(list((tmp_path / "o/results/nano_samurai_mask/v0").glob("*.png"))) == 4
    [header, difference] = (tmp_path / "o/differences.csv").read_text().splitlines()
    assert header.startswith("run,against,difference") and difference.startswith("nano samurai mask,nano recency mask,")

    scored = CliRunner().invoke(
        app,
        [
            *common,
            "--max-frames",
            "4",
            "--results",
            str(tmp_path / "o/results/nano_samurai_mask"),
            "-o",
            str(tmp_path / "p"),
        ],
    )
    assert scored.exit_code == 0, scored.output
    second = (tmp_path / "p/summary.csv").read_text().splitlines()[1]
    assert second.split(",")[1:8] == lines[2].split(",")[1:8]
    for wrong in (["--layout", "cinema"], ["--sequences", "nothing"], ["--plots"]):
        failed = CliRunner().invoke(app, [*common, *wrong])
        assert isinstance(failed.exception, InputError)


def test_shapes_are_an_axis_of_the_table(tmp_path, clips):
    data, output = write(clips[:1], tmp_path / "d"), tmp_path / "o"
    words = ["evaluate", "--data", str(data), "--layout", "davis2017", "--dtype", "float32", "--device", "cpu"]
    words += ["--max-frames", "3", "--prompt", "box,mask", "--shape", "square,fit", "-o", str(output)]
    done = CliRunner().invoke(main_app, words, env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    runs = [f"nano {shape} samurai {prompt}" for prompt in ("box", "mask") for shape in ("square", "fit")]
    assert [line.split(",")[0] for line in (output / "summary.csv").read_text().splitlines()[1:]] == runs
    pairs = [line.split(",")[:2] for line in (output / "differences.csv").read_text().splitlines()[1:]]
    assert pairs == [[runs[1], runs[0]], [runs[3], runs[2]]]


def test_the_deepest_point_is_inside_and_far_from_the_outline():
    mask = np.zeros((40, 60), bool)
    mask[5:25, 0:30] = True  # touches the frame's edge, which is an outline too
    (x, y), _ = deepest_point(mask)
    assert mask[int(y), int(x)]
    assert 9 <= x <= 20 and 13 <= y <= 16
    ring = np.zeros((50, 50), np.uint8)
    cv2.circle(ring, (25, 25), 20, 1, 6)
    (x, y), _ = deepest_point(ring.astype(bool))
    assert ring[int(y), int(x)]


def test_annotations_without_an_object_are_said_to_be(tmp_path, nano, clips):
    root = write(clips[:1], tmp_path / "d")
    for path in (root / "Annotations").rglob("*.png"):
        # A mask of 0 and 255, as DAVIS 2016 has it: in DAVIS 2017, 255 means "don't count".
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels > 0, 255, 0).astype(np.uint8)).save(path)
    with pytest.raises(InputError, match=r"show no object.*davis2016"):
        evaluate_run(open_layout("davis2017", root), EvaluationRun("n", nano, keep=tmp_path / "kept"))
