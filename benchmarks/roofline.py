"""How fast a frame could be on this machine at best: its arithmetic at the best rates that are measured here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.counts import count
from benchmarks.network import Frame, random_model
from benchmarks.straightforward import Straightforward
from benchmarks.timing import take_turns
from masklet.models.products import RightHandSide
from masklet.runtime import cpu_has_fast_bfloat16

# (rows, width, columns): a large cube, one part of cross-attention, a feed-forward.
_SHAPES = ((2048, 2048, 2048), (512, 256, 28672), (4096, 256, 2048), (4096, 1536, 384))


def _best(run: Callable[[], object], seconds: float = 0.5) -> float:
    """Seconds of the quickest of many runs."""
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peak_products(dtype: torch.dtype) -> float:
    """Floating point operations a second of the quickest matrix product, by any library of PyTorch's."""
    rates = []
    for rows, width, columns in _SHAPES:
        a, b = torch.randn(rows, width).to(dtype), torch.randn(columns, width).to(dtype)
        packed = RightHandSide(b, rows)
        quickest = min(_best(lambda a=a, b=b: a @ b.t()), _best(lambda a=a, packed=packed: packed.times(a)))
        rates.append(2 * rows * width * columns / quickest)
    return max(rates)


def peak_softmax(dtype: torch.dtype) -> float:
    """Attention weights a second, of scores that lie in the cache."""
    scores = torch.randn(64, 4096).to(dtype)
    return scores.numel() / _best(lambda: torch.softmax(scores, -1, out=scores))


@torch.inference_mode()
def measure_roofline(name: str, size: int, rounds: int) -> dict[str, Any]:
    """Bounds from counted arithmetic and measured peaks, beside the time that a frame takes, all in one run.

    The bound is kind: products at the rate of the best shape, weights at that of cached ones, nothing else counted.
    """
    plain = Straightforward.of(random_model(name, torch.float32))
    frames = {"straightforward": Frame(plain, size), "float32": Frame(random_model(name, torch.float32), size)}
    dtypes = {"float32": torch.float32}
    if cpu_has_fast_bfloat16():
        dtypes["bfloat16"] = torch.bfloat16
        frames["bfloat16"] = Frame(random_model(name, torch.bfloat16), size)
    result: dict[str, Any] = {"model": name, "size": size, "gflop": {}, "gflop/s": {}, "weights/s": {}, "bounds": {}}
    rates = {key: (peak_products(dtype), peak_softmax(dtype)) for key, dtype in dtypes.items()}
    timings = take_turns({key: frame.whole for key, frame in frames.items()}, rounds)
    seconds = {key: timing.median for key, timing in timings.items()}
    result["straightforward"], result["seconds"] = seconds["straightforward"], seconds
    for key in dtypes:
        counts, (flops, weights) = count(frames[key].whole), rates[key]
        products, softmax = counts.flops / flops, counts.scores / weights
        result["gflop"][key], result["gflop/s"][key], result["weights/s"][key] = (
            counts.flops / 1e9,
            flops / 1e9,
            weights,
        )
        result["bounds"][key] = {
            "products": products,
            "softmax": softmax,
            "most": seconds["straightforward"] / (products + softmax),
            "reached": seconds["straightforward"] / seconds[key],
            "share": (products + softmax) / seconds[key],
        }
    return result
