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
from masklet.models.pixels import frame_to_input
from masklet.models.specs import HieraSpec, ModelSpec

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


@torch.inference_mode()
def frame(model: SAM2, image_hwc: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a click's candidates, and the memory of the first."""
    features = model.encode_image(frame_to_input(image_hwc, SMALL.image_size, SMALL.frame_resize))
    embedding = model.without_memory(features.embedding_bchw)
    points, labels = torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1, dtype=torch.int64)
    logits = model.decode_masks(features, embedding, points, labels, multimask=True).logits_bnhw
    visible = torch.ones(1, 1, dtype=torch.bool)
    memory = model.encode_memory(
        features.embedding_bchw, logits[:, :1], visible, image_size=SMALL.image_size, binarize=False
    )
    return logits, memory


@pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler here")
def test_masks_agree(clip_256_frames: list[np.ndarray]) -> None:
    plain, compiled = network(), compile_parts(network())
    for picture in clip_256_frames[:3]:
        (expected, memory), (found, memory_found) = frame(plain, picture), frame(compiled, picture)
        torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)
        torch.testing.assert_close(memory_found, memory, atol=1e-4 * float(memory.abs().max()), rtol=1e-4)
        outline = expected.median()  # made-up weights draw no object: any level is as good an outline
        assert 0.4 < float((expected > outline).float().mean()) < 0.6
        clear = (expected - outline).abs() > 1e-4 * float(expected.abs().max())  # the median itself is on the outline
        assert float(clear.float().mean()) > 0.99
        assert bool(((found > outline) == (expected > outline))[clear].all())
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
