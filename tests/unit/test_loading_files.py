"""Weights files of all kinds, good and bad: read, recognised, loaded strictly, or refused in plain words."""

from __future__ import annotations

import io
import json
import os
import pickle
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from masklet.errors import CheckpointError
from masklet.weights.checkpoints import build, convert, read_checkpoint
from masklet.weights.registry import packaged_weights

PARITY = Path(__file__).parents[1] / "parity"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tiny() -> State:
    """SAM 2.1 tiny with the numbers of the parity recipe."""
    shapes = json.loads((PARITY / "state_dict_keys.json").read_text())["sam2.1_tiny"]
    fill = runpy.run_path(str(PARITY / "weights.py"))["fill"]
    return {key: torch.from_numpy(value) for key, value in fill(shapes).items()}


@pytest.fixture(scope="module")
def nano() -> State:
    return load_file(packaged_weights("nano"))


def assert_holds(model: torch.nn.Module, state: State) -> None:
    mine = model.state_dict()
    assert mine.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(mine[key], value.to(mine[key].dtype)), key


def test_a_file_like_the_released_ones(tiny: State, tmp_path: Path) -> None:
    path = tmp_path / "any name.pt"
    torch.save({"model": tiny}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.spec.name == "sam2.1-tiny"
    model = build(checkpoint)
    path.write_bytes(b"gone")  # the network doesn't lean on the file any more
    assert_holds(model, tiny)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_old_torch_files_bare_states_prefixes_and_training_states(nano: State, tmp_path: Path) -> None:
    prefixed = {f"module.{key}": value for key, value in nano.items()}
    variants: dict[str, Any] = {
        "bare.pth": nano,
        "parallel.pt": {
            "model": prefixed,
            "epoch": 3,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        },
        "lightning.ckpt": {"state_dict": nano, "loss": 0.5},
    }
    for name, content in variants.items():
        torch.save(content, tmp_path / name)
        assert_holds(build(read_checkpoint(tmp_path / name)), nano)
    torch.save(nano, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert_holds(build(read_checkpoint(tmp_path / "old.pt")), nano)
    (tmp_path / "misnamed.pt").write_bytes(packaged_weights("nano").read_bytes())
    assert_holds(build(read_checkpoint(str(tmp_path / "misnamed.pt"))), nano)


def test_bfloat16_keeps_the_click_positions_exact(nano: State) -> None:
    model = build(read_checkpoint(packaged_weights("nano")), dtype=torch.bfloat16)
    formats = {key: value.dtype for key, value in model.state_dict().items()}
    exact = {key for key, dtype in formats.items() if dtype == torch.float32}
    assert "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" in exact
    # Prompts and the decoder stay exact; what takes the time doesn't.
    assert {key.partition(".")[0] for key in exact} == {"sam_prompt_encoder", "prompt_maps", "sam_mask_decoder"}
    assert set(formats.values()) == {torch.float32, torch.bfloat16}
    assert_holds(model, nano)


def test_loading_leaves_the_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    build(read_checkpoint(packaged_weights("nano")))
    assert torch.equal(before, torch.random.get_rng_state())


def test_convert(nano: State, tmp_path: Path) -> None:
    source = tmp_path / "in.pt"
    torch.save({"model": {key: value.float() for key, value in nano.items()}}, source)
    half, full = tmp_path / "half.safetensors", tmp_path / "full.safetensors"
    convert(source, half, half=True)
    convert(source, full)
    assert half.stat().st_size < 0.51 * full.stat().st_size
    assert {value.dtype for value in load_file(half).values()} == {torch.float16}
    assert_holds(build(read_checkpoint(half)), nano)
    assert_holds(build(read_checkpoint(full)), nano)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "full.safetensors",
        "half.safetensors",
        "in.pt",
    ]


def test_convert_refuses_what_float16_cannot_hold_and_keeps_the_old_file(nano: State, tmp_path: Path) -> None:
    big = {key: value.float() for key, value in nano.items()}
    big["no_mem_embed"] = torch.full_like(big["no_mem_embed"], 1e6)
    torch.save(big, tmp_path / "in.pt")
    (tmp_path / "out.safetensors").write_bytes(b"old")
    with pytest.raises(CheckpointError, match="no_mem_embed is too large"):
        convert(tmp_path / "in.pt", tmp_path / "out.safetensors", half=True)
    assert (tmp_path / "out.safetensors").read_bytes() == b"old"
    with pytest.raises(CheckpointError, match=r"too large for torch\.float16"):
        build(read_checkpoint(tmp_path / "in.pt"), dtype=torch.float16)
    with pytest.raises(CheckpointError, match="can't be made"):
        convert(tmp_path / "in.pt", tmp_path / "in.pt" / "out.safetensors")


def test_values_that_are_no_numbers(nano: State, tmp_path: Path) -> None:
    save_file(
        {**nano, "no_obj_ptr": torch.full_like(nano["no_obj_ptr"], float("nan"))},
        tmp_path / "nan.safetensors",
    )
    with pytest.raises(CheckpointError, match=r"damaged: no_obj_ptr"):
        build(read_checkpoint(tmp_path / "nan.safetensors"))


# -- refused -------------------------------------------------------------------------------------------------


class Evil:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path, victim = tmp_path / "evil.pt", tmp_path / "was run"
    torch.save({"model": Evil(victim)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"wants to run (posix|nt)\.mkdir"):
        read_checkpoint(path)
    assert not victim.exists()
    path.write_bytes(pickle.dumps(Evil(victim)))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"just a text, long enough", "begins with b'just a text,"),
        (b"\x80", "can't be read|damaged"),
        (b"PK\x03\x04" + b"\0" * 500, "cut off"),
        (b"\xff" * 7 + b"\x7f{" + b"x" * 100, "cut off or damaged"),
    ],
)
def test_what_is_no_weights_file(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights file at"):
        read_checkpoint(tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2, 3], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"epoch": 3, "weight": torch.zeros(3)}, "'epoch' isn't a tensor"),
        ({1: torch.zeros(3)}, "'1' isn't a tensor"),
        ({"model": {}}, "no tensors"),
        ({"image_encoder.trunk.pos_embed": torch.zeros(3, dtype=torch.int8)}, "Quantised"),
        ({"layer1.0.conv1.weight": torch.zeros(3)}, "looks like a ResNet"),
        (torch.nn.Linear(2, 2), "wants to run torch.nn.modules.linear.Linear"),
    ],
)
def test_torch_files_of_something_else(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(path)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_cut_off_checkpoint_tells_how_long_it_should_be(nano: State, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    if suffix == "pt":
        torch.save(nano, path)
    else:
        save_file(nano, path)
    os.truncate(path, 5_000_000)
    with pytest.raises(CheckpointError, match=r"cut off.*has 156,008,466 bytes, this one has 5,000,000"):
        read_checkpoint(path)


def _torch_bytes(zipped: bool) -> bytes:
    file = io.BytesIO()
    state = {"model": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}}
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


ORIGINALS = {
    "zip": _torch_bytes(True),
    "old": _torch_bytes(False),
    "safetensors": save({"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}),
}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), kind=st.sampled_from(sorted(ORIGINALS)))
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_never_raise_anything_else(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    content = bytearray(ORIGINALS[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "damaged.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_a_file_that_says_it_is_one_of_several_is_damaged(tmp_path: Path) -> None:
    content = bytearray(ORIGINALS["zip"])
    content[content.index(b"PK\6\7") + 4] = 9  # the number of the disk in the locator of the table of contents
    path = tmp_path / "damaged.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
