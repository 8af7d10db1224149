"""Scaled dot-product attention, computed in the way that the device at hand is quickest at.

On CPUs, PyTorch's fused kernel runs far below the speed of the matrix products it is made of, most of all in bfloat16.
Two products with a softmax between them, over parts whose scores stay in the cache, give the same numbers sooner.
Measurements are in ``docs/performance.md``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.models.products import RightHandSide

#: From this many scores a head on, they are computed part by part, so that a part stays in the cache.
_MANY_SCORES = 1 << 20
#: A part: all keys for this many queries (by the bytes of a number).
_QUERIES = {2: 256, 4: 128}


def attend(q_bhnc: Tensor, k_bhmc: Tensor, v_bhmd: Tensor) -> Tensor:
    """``softmax(q kᵀ / √c) v``: ``[b, h, n, d]``. Values may have another width than queries and keys."""
    on_cpu = q_bhnc.device.type == "cpu"
    same_width = q_bhnc.shape[-1] == v_bhmd.shape[-1]
    # The backward pass of the fused kernel is several times slower than that of the plain products.
    training = torch.is_grad_enabled()
    if not on_cpu or (same_width and q_bhnc.dtype == torch.float32 and not training):
        return F.scaled_dot_product_attention(q_bhnc, k_bhmc, v_bhmd)
    q_bhnc = q_bhnc * q_bhnc.shape[-1] ** -0.5
    if q_bhnc.shape[-2] * k_bhmc.shape[-2] < _MANY_SCORES or training:
        return torch.softmax(q_bhnc @ k_bhmc.transpose(-1, -2), -1) @ v_bhmd
    out = q_bhnc.new_empty(*q_bhnc.shape[:-1], v_bhmd.shape[-1])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            _one_head(q_bhnc[i, j], k_bhmc[i, j], v_bhmd[i, j], out[i, j])
    return out


def _one_head(q_nc: Tensor, k_mc: Tensor, v_md: Tensor, out_nd: Tensor) -> None:
    queries = _QUERIES.get(q_nc.element_size(), 256)
    keys, values = RightHandSide(k_mc, queries), RightHandSide(v_md.t(), queries)
    for start in range(0, len(q_nc), queries):
        scores = keys.times(q_nc[start : start + queries])
        torch.softmax(scores, -1, out=scores)
        out_nd[start : start + queries] = values.times(scores)
