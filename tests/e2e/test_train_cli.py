"""`masklet train` and `masklet finetune` as somebody uses them: nano's own network on small pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.unit.training_speck import painted_clips, write_footage
from typer.testing import CliRunner

import masklet.cli
from masklet.training.optimisation import PARTS, part_of
from masklet.training.start import tuning_settings
from masklet.weights.checkpoints import read_checkpoint
from masklet.weights.registry import packaged_weights

SMALL = ["--workers", "0", "--threads", "1"]


def _masklet(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(masklet.cli.app, [str(word) for word in words])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_footage(tmp_path_factory.mktemp("footage"))


def _settings(folder: Path, **more: object) -> Path:
    path = folder / "my.json"
    stages = [{"share": 1, "frames": 2, "clips": 1}]
    path.write_text(json.dumps({"resolution": 64, "stages": stages, "precision": "float32", **more}))
    return path


def test_finetune_learns_all_but_the_trunk_and_goes_on(tmp_path: Path, footage: Path) -> None:
    words = ["finetune", tmp_path / "run", "--data", footage, "--device", "cpu", "--resolution", 64, "--frames", 2]
    code, said = _masklet(*words, "--steps", 2, "--validation", 1, *SMALL)
    assert code == 0, said
    assert ("validation before the first step: mask J" in said and "s/step" in said) or "steps/s" in said
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["stages"][0]["frames"] == 2 and settings["resolution"] == 64
    before = read_checkpoint(packaged_weights("nano")).state
    after = read_checkpoint(tmp_path / "run" / "model.safetensors").state
    changed = {part_of(key) for key, value in after.items() if not torch.equal(value, before[key].float())}
    assert changed == set(PARTS) - {"trunk"}
    code, said = _masklet(*words, "--steps", 3, "--validation", 0, *SMALL)
    assert code == 0, said
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3
    again, said = _masklet(*words, "--model", "tiny", *SMALL)
    assert again == 2 and "can't go on" in said


def test_of_a_released_network_the_decoder_alone_learns_on_a_cpu() -> None:
    settings = tuning_settings(model="sam2.1-tiny", start=Path("tiny.pt"), device="cpu")
    assert set(PARTS) - set(settings.freeze) == {"mask-decoder"}
    assert settings.learning_rate < tuning_settings(model="nano", start=Path("nano"), device="cpu").learning_rate


def test_finetune_from_a_file_with_parts_of_ones_own_choice(tmp_path: Path, footage: Path) -> None:
    words = ["--checkpoint", packaged_weights("nano"), "--freeze", "trunk,prompt-encoder", "--freeze", "neck"]
    settings = _settings(tmp_path, steps=1)
    code, said = _masklet(
        "finetune", tmp_path / "run", "-d", footage, *words, "--settings", settings, "--validation", 0, *SMALL
    )
    assert code == 0, said
    before = read_checkpoint(packaged_weights("nano")).state
    after = read_checkpoint(tmp_path / "run" / "model.safetensors").state
    changed = {part_of(key) for key, value in after.items() if not torch.equal(value, before[key].float())}
    assert changed == {"mask-decoder", "memory-attention", "memory-encoder"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "nowhere"], "there is no nowhere"),
        (["--data", "FOOTAGE", "--freeze", "head"], "'head' can't be frozen; choose from"),
        (["--data", "FOOTAGE", "--model", "huge"], "no model called 'huge'"),
        (["--data", "FOOTAGE", "--model", "tiny", "--checkpoint", "x.pt"], "give one of them"),
        (["--data", "FOOTAGE", "--checkpoint", "nothing.pt"], "no weights file"),
        (["--data", "FOOTAGE", "--layout", "moses"], "unknown layout 'moses'"),
        (["--data", "FOOTAGE", "--resolution", "100"], "multiple of 32"),
        (["--data", "FOOTAGE", "--settings", "nothing.json"], "can't be read as settings"),
    ],
)
def test_wrong_words_are_answered_in_a_line(tmp_path: Path, footage: Path, words: list[str], message: str) -> None:
    given = [str(footage) if word == "FOOTAGE" else word for word in words]
    code, said = _masklet("finetune", tmp_path / "run", *given, *SMALL)
    assert code == 2 and message in " ".join(said.split())
    assert "Traceback" not in said and not (tmp_path / "run" / "settings.json").exists()


def test_one_video_is_learned_from_without_validation(tmp_path: Path) -> None:
    data = write_footage(tmp_path / "data", videos=1)
    settings = _settings(tmp_path, steps=1)
    code, said = _masklet("finetune", tmp_path / "run", "-d", data, "--settings", settings, *SMALL)
    assert code == 0 and "one video only" in said and "validation before" not in said
    other = write_footage(tmp_path / "other", videos=1)
    words = ["--settings", settings, "--validate-on", other, "--validation", 1]
    code, said = _masklet("finetune", tmp_path / "run2", "-d", data, *words, *SMALL)
    assert code == 0 and "validation before" in said


def test_damaged_settings_of_a_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{not json")
    code, said = _masklet("train", "--run", tmp_path, *SMALL)
    assert code == 2 and "settings.json can't be read" in said


@pytest.mark.skipif(os.name == "nt", reason="there is no Ctrl-C to send")
def test_ctrl_c_saves_and_the_weights_track(tmp_path: Path) -> None:
    settings = _settings(tmp_path, steps=5000, aid=0.5)
    command = [sys.executable, "-m", "masklet", "train", "--run", str(tmp_path / "run"), "--settings", str(settings)]
    process = subprocess.Popen(
        [*command, "--workers", "1", "--threads", "1", "--validation", "0"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that Ctrl-C goes to all of its processes, as in a terminal
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("1/5000"):
            os.killpg(process.pid, signal.SIGINT)
            break
    said += process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, said
    assert "Saved in" in said and "Traceback" not in said
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] >= 1
    clip = painted_clips(1)[0]
    from masklet.tracking.tracker import VideoTracker
    from masklet.weights.loading import load_model

    tracker = VideoTracker(load_model(checkpoint=tmp_path / "run" / "model.safetensors"), resolution=64)
    assert tracker.push(clip.frames_thwc[0], {1: {"box": (10, 10, 50, 50)}})[1].mask.shape == (64, 64)
