"""`--compile`: the same masks, and a clear word where something is missing."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet import load_model
from masklet.compiling import COMPILED, compile_parts, require_compiler
from masklet.errors import DeviceError
from masklet.models import SAM2
from masklet.models.specs import HieraSpec, ModelSpec
from masklet.tracking import VideoTracker

CPU = torch.device("cpu")
# Every kind of block once: compiling takes as long for large blocks as for small ones, but every block's own time.
SMALL = ModelSpec(
    "small-test",
    HieraSpec(16, 1, (1, 1, 1, 1), (2,), (8, 4, 4, 2)),
    image_size=64,
    width=32,
    memory_width=16,
    memory_layers=1,
    memory_feed_forward=32,
    num_memories=2,
    max_pointers=2,
    decoder_feed_forward=32,
    frame_resize="area",
)


def has_compiler() -> bool:
    try:
        require_compiler(CPU)
    except DeviceError:
        return False
    return True


def network() -> SAM2:
    torch.manual_seed(0)
    model = SAM2(SMALL).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.7 / max(1, parameter[0].numel())) ** 0.5)
    return model


def logits(model: SAM2, frames: list[np.ndarray]) -> np.ndarray:
    tracker = VideoTracker(model)
    first = tracker.push(frames[0], prompts={1: {"points": [(60, 90)]}})
    return np.stack([first[1].logits, *(tracker.push(frame)[1].logits for frame in frames[1:])])


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler here")
def test_masks_agree(clip_256_frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    frames = clip_256_frames[:4]
    plain, compiled = network(), compile_parts(network())
    expected, found = logits(plain, frames), logits(compiled, frames)
    assert (expected > 0).any() and not (expected > 0).all()
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    assert np.mean((found > 0) == (expected > 0)) > 0.999
    for name in COMPILED:
        assert compiled.get_submodule(name)._compiled_call_impl is not None
        assert plain.get_submodule(name)._compiled_call_impl is None


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler here")
def test_a_compiled_network_is_not_the_shared_plain_one() -> None:
    plain, compiled = load_model("nano", device="cpu"), load_model("nano", device="cpu", compile=True)
    assert compiled is not plain
    assert compiled is load_model("nano", device="cpu", compile=True)
    assert plain.image_encoder._compiled_call_impl is None


def test_no_compiler_is_said_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="needs a C\\+\\+ compiler: neither g\\+\\+ nor clang"):
        load_model("nano", device="cpu", compile=True)


def test_a_named_compiler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceError, match=r"\$CXX is no-such-compiler"):
        require_compiler(CPU)


def test_missing_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(DeviceError, match="Python's headers"):
        require_compiler(CPU)
