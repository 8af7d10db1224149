"""IoU of the first mask: where a correction is clicked, what a box filled would give, the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from masklet.cli import app
from masklet.errors import InputError
from masklet.evaluation import open_layout
from masklet.evaluation.first_mask import first_masks, next_click
from masklet.weights.loading import load_model


def test_a_correction_is_clicked_where_the_mask_is_most_wrong() -> None:
    truth, found = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:31, 10:31] = True
    assert next_click(truth, found) == ((20.0, 20.0), 1)
    found[truth] = True
    found[5:36, 40:50] = True  # what is too much is deepest in its middle column
    (x, y), label = next_click(truth, found)
    assert label == 0 and 44 <= x <= 45 and 9 <= y <= 31
    assert next_click(truth, truth) == ((20.0, 20.0), 1)  # nothing to correct: the object once more


@pytest.fixture
def davis(tmp_path: Path, clip_256_frames: list[np.ndarray]) -> Path:
    """Four frames of the clip in DAVIS's layout; the second one shows no object."""
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "davis" / folder / "480p" / "bunny").mkdir(parents=True)
    for t in range(4):
        mask = np.zeros((256, 256), np.uint8)
        if t != 1:
            mask[78:208, 28:120] = 255
        Image.fromarray(clip_256_frames[t]).save(tmp_path / f"davis/JPEGImages/480p/bunny/{t:05d}.jpg", quality=95)
        Image.fromarray(mask).save(tmp_path / f"davis/Annotations/480p/bunny/{t:05d}.png")
    return tmp_path / "davis"


def test_a_box_and_clicks_are_scored_on_frames_that_show_the_object(davis: Path) -> None:
    model = load_model("nano", dtype="float32")
    dataset = open_layout("davis2016", davis)
    [first, last] = first_masks(dataset, model, frames=(0, 1, 2, 40))
    assert (first.sequence, first.frame, last.frame) == ("bunny", "00000", "00002")
    assert first.iou["filled box"] == 1  # the annotation is a rectangle
    assert first.iou["ellipse"] == pytest.approx(np.pi / 4, abs=0.01)
    assert list(first.iou) == ["filled box", "ellipse", "box", "click", "3 clicks", "5 clicks"]
    assert all(0 < value <= 1 for value in first.iou.values())
    with pytest.raises(InputError, match="frames 1, 40"):
        first_masks(dataset, model, frames=(1, 40))


def test_the_command_prints_means_and_writes_every_mask(davis: Path, tmp_path: Path) -> None:
    options = ["evaluate", "--data", str(davis), "--layout", "davis2016", "--first-mask", "--dtype", "float32"]
    result = CliRunner().invoke(app, [*options, "-o", str(tmp_path / "out")], env={"COLUMNS": "150"})
    assert result.exit_code == 0, result.output
    assert "filled box" in result.output and "100.0" in result.output
    with (tmp_path / "out" / "first_masks.csv").open() as file:
        [row] = csv.DictReader(file)
    assert (row["sequence"], row["frame"], row["filled box"]) == ("bunny", "00000", "100")
