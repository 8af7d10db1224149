"""The quick path through the network equals the plain one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from benchmarks.straightforward import Straightforward

from masklet.models import products
from masklet.models.attention import attend
from masklet.models.sam2 import SAM2, Memories
from masklet.models.specs import get_spec
from masklet.models.trunks.levels import TokenLayout


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).norm() / b.float().norm())


@cache
def networks(name: str, dtype: torch.dtype) -> tuple[SAM2, Straightforward]:
    torch.manual_seed(0)
    model = SAM2(get_spec(name)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.5 / max(1, parameter[0].numel())) ** 0.5)
    plain = Straightforward.of(model)
    return model.to(dtype), plain


def memories(model: SAM2, height: int, width: int, objects: int = 1) -> Memories:
    spec = model.spec
    generator = torch.Generator().manual_seed(1)
    frames = [
        torch.randn(objects, spec.memory_channels, height, width, generator=generator) for _ in range(spec.num_memories)
    ]
    slots = torch.arange(spec.num_memories)[None].repeat(objects, 1)
    pointers = torch.randn(objects, 3, spec.width, generator=generator)
    return Memories(frames, slots, pointers, torch.rand(objects, 3, generator=generator))


# 1024 pixels are left to the benchmarks; 448 and 224 make windows that reach over the edge in the last two stages.
@pytest.mark.parametrize(
    ("name", "height", "width"),
    [("nano", 256, 256), ("nano", 224, 224), ("nano", 160, 256), ("tiny", 448, 448), ("tiny", 256, 448)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_equal_features(name: str, height: int, width: int, dtype: torch.dtype, tolerance: float) -> None:
    model, plain = networks(name, dtype)
    pixels = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        ours, theirs = model.encode_image(pixels), plain.float().encode_image(pixels)
        assert distance(ours.embedding_bchw, theirs.embedding_bchw) < tolerance
        for a, b in zip(ours.high_res_bchw, theirs.high_res_bchw, strict=True):
            assert a.shape == b.shape
            assert distance(a, b) < tolerance
        memory = memories(model, height // 16, width // 16)
        rounded = replace(theirs, embedding_bchw=theirs.embedding_bchw.to(dtype))
        assert (
            distance(
                model.attend_to_memory(rounded, memory)[:, : model.spec.width],
                plain.attend_to_memory(theirs, memory)[:, : model.spec.width],
            )
            < tolerance
        )


def test_two_pictures_at_once_equal_each_alone() -> None:
    model, _ = networks("tiny", torch.float32)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        both = model.encode_image(pixels)
        for i in range(2):
            alone = model.encode_image(pixels[i : i + 1])
            assert distance(both[i].embedding_bchw, alone.embedding_bchw) < 1e-5
            assert distance(both[i].high_res_bchw[0], alone.high_res_bchw[0]) < 1e-5


@pytest.mark.parametrize(("queries", "keys"), [(7, 5), (300, 4096), (1000, 1100)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_attention_is_softmax_of_products(queries: int, keys: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(2, 3, n, c, generator=generator) for n, c in ((queries, 32), (keys, 32), (keys, 8)))
    expected = torch.softmax(q.double() @ k.double().mT / 32**0.5, -1) @ v.double()
    with torch.inference_mode():
        assert distance(attend(q.to(dtype), k.to(dtype), v.to(dtype)), expected.float()) < tolerance


@pytest.mark.parametrize("window", [0, 3, 4, 7, 16])
def test_cutting_and_joining_windows_loses_nothing(window: int) -> None:
    x = torch.randn(2, 12, 10, 5)
    layout = TokenLayout(12, 10, window)
    assert torch.equal(layout.join(layout.cut(x)), x)


def test_positions_follow_the_weights() -> None:
    model, _ = networks("nano1", torch.float32)
    trunk = model.image_encoder.trunk
    with torch.no_grad():
        before = trunk.positions(64, 64).clone()
        assert trunk.positions(64, 64) is trunk.positions(64, 64)
        trunk.pos_embed.data = trunk.pos_embed.data + 1
        assert torch.allclose(trunk.positions(64, 64), before + 1, atol=1e-5)
        trunk.pos_embed.add_(1)
        assert torch.allclose(trunk.positions(64, 64), before + 2, atol=1e-5)


def test_a_convolution_is_laid_out_for_every_number_of_threads_and_every_size() -> None:
    """One for another use is laid out anew in every call, which takes longer than the convolution."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, groups=64).eval().requires_grad_(False)
    x, wide = (torch.randn(1, 64, *size).contiguous(memory_format=torch.channels_last) for size in ((16, 16), (8, 16)))
    before = torch.get_num_threads()
    try:
        with torch.inference_mode():
            if not products._quick(x):
                pytest.skip("this CPU has no quicker way for convolutions")
            found = []
            for threads in (2, 1, 2):
                torch.set_num_threads(threads)
                found.append(products.convolve(x, layer))
            torch.testing.assert_close(products.convolve(wide, layer), layer(wide))
            kept = set(products._packed[layer.weight][1])
            for side in range(1, 20):  # pictures of many sizes don't fill the memory
                products.convolve(x[..., :side], layer)
    finally:
        torch.set_num_threads(before)
    assert kept == {(1, 1, 64, 16, 16), (2, 1, 64, 16, 16), (2, 1, 64, 8, 16)}
    assert len(products._packed[layer.weight][1]) == products._LAYOUTS
    for y in found:
        torch.testing.assert_close(y, layer(x))
