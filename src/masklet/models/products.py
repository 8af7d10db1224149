"""Linear layers and matrix products by whatever library of PyTorch's is quickest on this CPU.

PyTorch sends float32 products to MKL, which makes full use of Intel's vector units only, and lays a bfloat16 weight
out anew for every call. oneDNN, which PyTorch carries as well, is quicker at the first on other CPUs and can keep the
second. Everywhere else, and wherever gradients are wanted, these are the plain functions. The numbers are in
``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

#: Below this many rows, float32 has no better way than PyTorch's own.
_MANY_ROWS = 256

_ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu}

# Weight: (its version, the same numbers in oneDNN's own layouts by what each is for). An entry goes with its weight.
_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
#: Layouts of a weight that are kept: frames of a video have one shape, two sorts of threads look at them, and objects
#: come and go.
_LAYOUTS = 8


@lru_cache(maxsize=1)
def _onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@lru_cache(maxsize=1)
def _intel() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return not cpuinfo.exists() or "GenuineIntel" in cpuinfo.read_text(errors="replace")


@lru_cache(maxsize=1)
def _bfloat16_hardware() -> bool:
    return _onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _quick(x: Tensor) -> bool:
    """Whether oneDNN is the better choice for products with this matrix."""
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling() or not _onednn():
        return False
    if x.dtype == torch.bfloat16:
        return _bfloat16_hardware()
    return x.dtype == torch.float32 and not _intel()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """``activation(x weightᵀ + bias)``; the activation is ``none``, ``relu`` or ``gelu``."""
    few = x.dtype == torch.float32 and x.numel() < _MANY_ROWS * x.shape[-1]
    if few or x.dtype != weight.dtype or not _quick(x):
        return _ACTIVATIONS[activation](F.linear(x, weight, bias))
    if isinstance(weight, nn.Parameter) and x.dtype == torch.bfloat16:
        rows = x.numel() // x.shape[-1]
        weight = _pack(weight, x.dtype, lambda w: torch.ops.mkldnn._reorder_linear_weight(w, rows))
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "none")


class RightHandSide:
    """The matrix ``b`` of several products ``a bᵀ``, laid out once for all of them.

    Args:
        b: ``[m, c]``.
        rows: of the left-hand sides.
    """

    def __init__(self, b: Tensor, rows: int) -> None:
        self._packed = _quick(b)
        self._b = torch.ops.mkldnn._reorder_linear_weight(b.contiguous(), rows) if self._packed else b.t()

    def times(self, a: Tensor) -> Tensor:
        """``a bᵀ``: ``[n, m]``."""
        return torch.ops.mkldnn._linear_pointwise(a, self._b, None, "none", [], "none") if self._packed else a @ self._b


def convolve(x_bchw: Tensor, layer: nn.Conv2d, activation: str = "none", plus: Tensor | None = None) -> Tensor:
    """``activation(layer(x)) + plus``, channels last, in one go by oneDNN; the activation is ``none`` or ``relu6``.

    ``plus`` goes with ``none`` only. Under autocast it computes in that format, as ``layer`` alone would.
    """
    weight, bias, kind = layer.weight, layer.bias, x_bchw.device.type
    where = (layer.padding, layer.stride, layer.dilation, layer.groups)
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    x_bchw = x_bchw.to(dtype)
    if not _quick(x_bchw):
        y = F.conv2d(x_bchw, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        y = F.relu6(y) if activation == "relu6" else y
        return y if plus is None else y + plus
    bias = bias if bias is None else bias.to(dtype)
    # Another number of threads or another size wants another layout, and would lay the weight out anew in every call,
    # very slowly. How many pictures there are counts too, so that results don't depend on what was computed before.
    reorder, use = torch.ops.mkldnn._reorder_convolution_weight, (torch.get_num_threads(), *x_bchw.shape)
    weight = _pack(weight, dtype, lambda w: reorder(w, *where, x_bchw.shape), use)
    if plus is not None:
        added = torch.ops.mkldnn._convolution_pointwise.binary
        return added(x_bchw, plus, weight, bias, *where, "add", None, None, [], None)
    how = ("hardtanh", [0.0, 6.0]) if activation == "relu6" else ("none", [])
    return torch.ops.mkldnn._convolution_pointwise(x_bchw, weight, bias, *where, *how, "")


def _pack(weight: Tensor, dtype: torch.dtype, lay_out: Callable[[Tensor], Tensor], use: tuple[int, ...] = ()) -> Tensor:
    if weight.is_inference():
        return weight.to(dtype)
    version = (weight._version, weight.data_ptr(), dtype)
    kept = _packed.get(weight)
    layouts: dict[tuple[int, ...], Tensor] = kept[1] if kept is not None and kept[0] == version else {}
    found = layouts.get(use)
    if found is None:
        found = lay_out(weight.detach().to(dtype))
        # A new dictionary: another thread may be reading the old one.
        _packed[weight] = (version, dict([*layouts.items(), (use, found)][-_LAYOUTS:]))
    return found


class Linear(nn.Linear):
    """A linear layer that goes through :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
