"""Runs: what learns, stopping and going on, what is written, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import ROOT
from tests.unit.training_speck import SPECK, painted, painted_clips, settings_of

from masklet.errors import CheckpointError, InputError
from masklet.models.specs import SPECS
from masklet.tracking.tracker import VideoTracker
from masklet.training.batches import ClipSource
from masklet.training.optimisation import part_of
from masklet.training.run_folder import RunFolder
from masklet.training.settings import Prompting, Stage
from masklet.training.start import Clips, train_run
from masklet.training.trainer import Trainer, TrainReport
from masklet.weights.checkpoints import read_checkpoint
from masklet.weights.loading import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _speck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECS, "speck", SPECK)


class _Kept:
    """Painted clips, each made once for all runs; after the first 24 they come again."""

    def __init__(self, frames: int) -> None:
        self.source, self.made = painted(Stage(share=1, frames=frames, clips=1)), dict[int, object]()

    def clip(self, number: int) -> object:
        number %= 24
        if number not in self.made:
            self.made[number] = self.source.clip(number)
        return self.made[number]


_clips = cache(_Kept)


def _train(
    folder: Path, stop_at: int = 10**9, clips: list[object] | None = None, **changes: object
) -> list[TrainReport]:
    run = RunFolder(folder)
    try:
        trainer = Trainer(settings_of(**changes), run, lambda stage: _clips(stage.frames), clips or (), workers=0)
        reports: list[TrainReport] = []
        trainer.run(reports.append, lambda: trainer.step >= stop_at)
        return reports
    finally:
        run.close()


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "state.pt", weights_only=True)["model"]


def test_a_run_from_nothing_learns(tmp_path: Path) -> None:
    reports = _train(
        tmp_path,
        steps=50,
        stages=(Stage(share=1, frames=1, clips=4),),
        prompts=Prompting(mask=0, box=0, corrections=0),
        aid=0.9,
    )
    first, last = reports[0].terms, reports[-1].terms
    assert reports[-1].step == 50
    # before it has learned anything it can't tell object from background (log 2)
    assert first["balanced"] > 0.65 and last["balanced"] < 0.92 * first["balanced"]
    assert last["loss"] < 0.75 * first["loss"] and last["object_score"] < first["object_score"]


@pytest.mark.parametrize(
    "frozen", [("trunk",), ("image-encoder", "memory-attention", "memory-encoder"), ("mask-decoder",)]
)
def test_what_is_frozen_stays_and_the_rest_moves(tmp_path: Path, frozen: tuple[str, ...]) -> None:
    _train(tmp_path, stop_at=0, steps=3)
    start = tmp_path / "model.safetensors"
    before = read_checkpoint(start).state
    stages = (Stage(share=1, frames=3, clips=2),)
    prompts = Prompting(mask=0.3, box=0.3, corrections=2, later=1)
    reports = _train(
        tmp_path / "tuned", start=str(start), steps=3, freeze=frozen, aid=0, stages=stages, prompts=prompts
    )
    assert np.isfinite(reports[-1].terms["loss"]) and reports[-1].terms["gradient"] > 0
    after = _weights(tmp_path / "tuned")
    named = {"trunk", "neck", *frozen} if "image-encoder" in frozen else set(frozen)
    moved: dict[str, list[bool]] = {}
    for key, value in after.items():
        moved.setdefault(part_of(key) or "unused", []).append(not torch.equal(value, before[key]))
    for part, changes in moved.items():
        if part in named or part == "unused":
            assert not any(changes), part
        else:  # a token that no prompt used has no gradient
            assert np.mean(changes) > 0.7, part
    averaged = read_checkpoint(tmp_path / "tuned" / "model.safetensors").state
    for key, value in averaged.items():
        assert torch.equal(value, before[key]) or part_of(key) not in named


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    code = f"from tests.unit.training_speck import train_speck; train_speck({str(tmp_path / 'killed')!r}, 8)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert 4 <= torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] < 8
    _train(tmp_path / "killed", steps=8)
    _train(tmp_path / "unbroken", steps=8)
    killed, unbroken = _weights(tmp_path / "killed"), _weights(tmp_path / "unbroken")
    assert killed.keys() == unbroken.keys()
    for key, value in killed.items():
        assert torch.equal(value, unbroken[key]), key
    for name in ("model.safetensors", "settings.json"):
        assert (tmp_path / "killed" / name).stat().st_size == (tmp_path / "unbroken" / name).stat().st_size


def test_a_stopped_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    first = _train(tmp_path, stop_at=3)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 3
    assert first[-1].step == 1  # reports come every few steps
    assert _train(tmp_path)[-1].step == 6


def test_validation_tracks_and_keeps_the_best(tmp_path: Path) -> None:
    clips = painted_clips(1, frames=3)
    reports = _train(tmp_path, steps=4, validate_every=2, clips=clips)
    found = [report.validation for report in reports if report.validation is not None]
    assert len(found) == 2
    for validation in found:
        assert set(validation.j) == set(validation.f) == {"mask", "box", "click"}
        assert all(0 <= value <= 1 for value in (*validation.j.values(), *validation.f.values()))
    best = torch.load(tmp_path / "state.pt", weights_only=True)["best"]
    assert best == pytest.approx(max(validation.mean for validation in found))
    assert (tmp_path / "best.safetensors").exists()
    tuned = _train(
        tmp_path / "tuned", start=str(tmp_path / "best.safetensors"), steps=1, validate_every=9, clips=clips, aid=0
    )
    assert tuned[0].step == 0 and not tuned[0].terms  # how good the beginning is
    assert tuned[0].validation is not None and tuned[0].validation.mean == pytest.approx(best, abs=1e-6)


def test_weights_are_of_use(tmp_path: Path) -> None:
    _train(tmp_path, steps=2)
    model = load_model(checkpoint=tmp_path / "model.safetensors", dtype="float32")
    assert model.spec is SPECK and not any(p.requires_grad for p in model.parameters())
    clip = painted_clips(1)[0]
    tracker = VideoTracker(model)
    found = tracker.push(clip.frames_thwc[0], {1: {"mask": clip.labels_thw[0] == 1}})
    assert found[1].mask.shape == (64, 64)


def test_the_record_can_be_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter  # noqa: F401 - the format that is read below

    _train(tmp_path, steps=2, validate_every=2, clips=painted_clips(1))
    scalars: dict[str, list[tuple[int, float]]] = {}
    pictures = {}
    for path in (tmp_path / "events").glob("events*"):
        data, place = path.read_bytes(), 0
        while place < len(data):  # length, checksum, event, checksum
            length = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += length + 16
            for value in event.summary.value:
                if value.HasField("image"):
                    pictures[value.tag] = value.image.encoded_image_string
                else:
                    scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert {
        "train/loss",
        "train/focal",
        "train/dice",
        "train/iou",
        "train/object_score",
        "speed/steps_per_second",
    } <= set(scalars)
    assert {"validation/j_and_f", "validation_j/click", "validation_f/mask"} <= set(scalars)
    assert [step for step, _ in scalars["train/loss"]] == [1, 2]
    import cv2

    strip = cv2.imdecode(np.frombuffer(pictures["tracked_from_a_click"], np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape == (128, 3 * 128, 3) and strip.std() > 5


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(InputError, match="another process"):
        RunFolder(tmp_path)
    folder.close()
    RunFolder(tmp_path).close()


def test_damaged_state_and_other_networks_are_said_plainly(tmp_path: Path) -> None:
    _train(tmp_path, stop_at=1)
    with pytest.raises(CheckpointError, match="run of its own") as said:
        _train(tmp_path, optimiser="adamw")
    assert len(str(said.value)) < 500
    with pytest.raises(CheckpointError, match="run of its own"):
        _train(tmp_path, model="nano")
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"state\.pt can't be read"):
        _train(tmp_path)


class _Broken:
    """A source whose third clip can't be made."""

    def __init__(self, source: ClipSource) -> None:
        self.source = source

    def clip(self, number: int) -> object:
        if number >= 2:
            raise InputError("clip 2 has no object")
        return self.source.clip(number)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_loader_processes_are_one_line_and_the_run_is_saved(tmp_path: Path, workers: int) -> None:
    run = RunFolder(tmp_path)
    trainer = Trainer(
        settings_of(stages=(Stage(share=1, frames=1, clips=1),), echo=1),
        run,
        lambda stage: _Broken(painted(stage)),  # type: ignore[arg-type,return-value]
        workers=workers,
    )
    with pytest.raises(InputError) as said:
        trainer.run(lambda report: None)
    assert str(said.value) == "clip 2 has no object"
    run.close()
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": -1}, "learning_rate"),
        ({"stepss": 3}, "there is no setting stepss"),
        ({"prompts": {"mask": 0.8, "box": 0.8}}, "together at most 1"),
        ({"stages": [{"share": 1, "frames": 0, "clips": 1}]}, r"stages\.0\.frames"),
        ({"freeze": ["head"]}, "can't be frozen"),
        ({"model": "huge"}, "no model called"),
        ({"resolution": 100}, "multiple of 32"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    clips = Clips(lambda stage, size, seed: painted(stage, seed, size), lambda count, size: ())
    with pytest.raises(InputError, match=message):
        train_run(tmp_path / "run", clips, changes=changes, defaults=settings_of, report=lambda report: None, workers=0)
    assert not (tmp_path / "run" / "settings.json").exists()
