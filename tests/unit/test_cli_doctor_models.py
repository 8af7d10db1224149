"""`masklet doctor` and `masklet models`, run as a user runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from masklet import __version__
from masklet.cli import app
from masklet.models.specs import SPECS
from masklet.weights.registry import RELEASED, packaged_weights


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKLET_OFFLINE", "1")
    return tmp_path / "home" / "checkpoints"


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_doctor_tells_what_is_true_here(home: Path) -> None:
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert report["problems"] == []
    assert result.exit_code == 0
    assert report["System"]["masklet"] == __version__
    assert report["PyTorch"]["version"] == torch.__version__
    assert report["Processor"]["logical cores"] == os.cpu_count()
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        assert report["Processor"]["AVX-512"] is True
        assert report["Processor"]["AVX2"] is True
    assert report["Devices"]["used by default"].split()[0] in ("cpu", "cuda", "mps")
    assert report["Video"]["writes libx264"].startswith("yes")
    assert "h264" in report["Video"]["reads"]
    assert report["Models"]["folder"] == str(home)
    assert report["Models"]["set by"] == "$MASKLET_HOME"
    assert report["Models"]["nano"] == "in the package"
    assert {report["Models"][name] for name in RELEASED} == {"missing"}
    assert not home.exists()  # looking changes nothing


def test_doctor_for_people() -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "Everything that masklet needs is here." in result.stdout
    for title in ("System", "Processor", "PyTorch", "Devices", "Video", "Packages", "Models"):
        assert title in result.stdout.splitlines()


def test_doctor_finds_a_cache_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MASKLET_HOME", str(tmp_path / "file"))
    result = run("doctor")
    assert result.exit_code == 1
    assert "MASKLET_HOME" in result.stderr


def test_the_list_of_models(home: Path) -> None:
    result = run("models")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()[:1]}
    assert set(SPECS) <= set(rows)
    assert rows["nano"].split() == ["nano", "nano", "6.18", "M", "12.4", "MB", "in", "the", "package"]
    assert rows["sam2.1-large"].split() == ["sam2.1-large", "large", "224.45", "M", "898.1", "MB", "no"]
    assert rows["sam2-base-plus"].split()[-2:] == ["unknown", "no"]
    assert str(home) in result.stdout


def test_the_list_as_json_knows_parts_and_wrong_files(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "sam2.1_hiera_tiny.pt.part").write_bytes(b"12345")
    (home / "sam2.1_hiera_small.pt").write_bytes(b"12345")
    (home / "sam2_hiera_base_plus.pt").write_bytes(b"12345")  # its length isn't published
    listed = json.loads(run("models", "--json").stdout)
    assert listed["folder"] == str(home)
    models = {row["name"]: row for row in listed["models"]}
    assert (models["sam2.1-tiny"]["state"], models["sam2.1-tiny"]["fetched_bytes"]) == ("partial", 5)
    assert models["sam2.1-small"]["state"] == "wrong size"
    assert models["sam2-base-plus"]["state"] == "unchecked"
    assert models["nano"]["path"] == str(packaged_weights("nano"))
    assert models["sam2-tiny"]["sha256"] == RELEASED["sam2-tiny"].sha256


def test_where(home: Path) -> None:
    assert run("models", "where").stdout == f"{home}\n"
    assert run("models", "where", "base_plus").stdout == f"{home / 'sam2.1_hiera_base_plus.pt'}\n"
    assert run("models", "where", "nano").stdout == f"{packaged_weights('nano')}\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["pull", "huge"], "no model called 'huge'"),
        (["pull", "nano"], "part of the package"),
        (["pull", "tiny"], "MASKLET_OFFLINE"),
        (["remove", "nano"], "part of the package"),
        (["check", "nowhere.pt"], "no weights file"),
        (["convert", "nowhere.pt", "out.pt"], "must be named .safetensors"),
        (["convert", "nowhere.pt", "out.safetensors"], "no weights file"),
    ],
)
def test_mistakes_are_one_line_and_code_2(words: list[str], complaint: str) -> None:
    result = run("models", *words)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_check_and_convert(tmp_path: Path) -> None:
    source, target = tmp_path / "mine.pt", tmp_path / "mine.safetensors"
    state = load_file(packaged_weights("nano"))
    torch.save({"model": state}, source)
    assert "nano, 6.18 M values in float16" in run("models", "check", str(source)).stdout
    assert run("models", "convert", str(source), str(target), "--half").exit_code == 0
    written = load_file(target)
    assert all(torch.equal(written[key], value) for key, value in state.items())
    assert target.stat().st_mode == source.stat().st_mode  # as readable as any other file
    again = run("models", "convert", str(source), str(target))
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert run("models", "convert", str(source), str(target), "--force").exit_code == 0
    assert load_file(target)["no_obj_ptr"].dtype == torch.float32
