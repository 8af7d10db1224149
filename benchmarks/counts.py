"""What a piece of work consists of: operations, copies and arithmetic, counted instead of timed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

#: Operators that only move numbers.
_COPIES = {"aten::copy_", "aten::_to_copy", "aten::clone", "aten::cat", "aten::stack", "aten::repeat", "aten::index"}


@dataclass
class Counts:
    """Work of one run.

    Attributes:
        operations: calls of operators that compute or move something (views don't), by name.
        copied_bytes: bytes written by operators that only move numbers.
        flops: of matrix products, attention and convolutions, a multiply-add being two.
        scores: attention weights, each of which costs an exponential.
    """

    operations: Counter[str] = field(default_factory=Counter)
    copied_bytes: int = 0
    flops: int = 0
    scores: int = 0

    @property
    def copies(self) -> int:
        return sum(count for name, count in self.operations.items() if name in _COPIES)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:
                done = func.decompose(*args, **kwargs)
            if done is not NotImplemented:
                return done
        out = func(*args, **kwargs)
        name = func.name().split(".")[0]
        if not func.is_view and not name.startswith(("aten::empty", "aten::new_empty", "prim::")):
            self.counts.operations[name] += 1
            if name in _COPIES:
                self.counts.copied_bytes += out.numel() * out.element_size()
            if "softmax" in name:
                self.counts.scores += out.numel()
            if "scaled_dot_product" in name:
                q, k = args[:2]
                self.counts.scores += q.numel() // q.shape[-1] * k.shape[-2]
        return out


def _linear_flops(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    rows = 1
    for side in x[:-1]:
        rows *= side
    return 2 * rows * x[-1] * weight[0]


def _convolution_flops(x: Any, second: Any, third: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    weight = third if third is not None and len(third) == 4 else second  # what is added, if anything is, comes second
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def _attention_flops(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    batches = q[0] * q[1]
    return 2 * batches * q[2] * k[2] * (q[3] + v[3])


def count(run: Callable[[], object]) -> Counts:
    """Run once and say what it did. Run it before, so that tables and packed weights are there."""
    formulas: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        formulas[torch.ops.mkldnn._linear_pointwise] = _linear_flops
        formulas[torch.ops.mkldnn._convolution_pointwise] = _convolution_flops
    with (
        torch.inference_mode(),
        FlopCounterMode(display=False, custom_mapping=formulas) as flops,
        _Counter() as counter,
    ):
        run()
    counter.counts.flops = flops.get_total_flops()
    return counter.counts
