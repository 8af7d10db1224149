"""Scaled dot-product attention, computed in the way that the device at hand is quickest at.

On CPUs, PyTorch's fused kernel runs far below the speed of the matrix products it is made of, most of all in bfloat16. Two
products with a softmax between them, over blocks of queries whose scores stay in the cache, give the same numbers sooner.
Measurements are in ``docs/performance.md``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Queries to a block of scores.
_BLOCK = 256
#: From this many scores a head on, they are computed block by block.
_MANY_SCORES = 1 << 20


def attend(q_bhnc: Tensor, k_bhmc: Tensor, v_bhmd: Tensor) -> Tensor:
    """``softmax(q kᵀ / √c) v``: ``[b, h, n, d]``. Values may have another width than queries and keys."""
    on_cpu = q_bhnc.device.type == "cpu"
    n, m = q_bhnc.shape[-2], k_bhmc.shape[-2]
    same_width = q_bhnc.shape[-1] == v_bhmd.shape[-1]
    if not on_cpu or (same_width and q_bhnc.dtype == torch.float32):
        return F.scaled_dot_product_attention(q_bhnc, k_bhmc, v_bhmd)
    q_bhnc = q_bhnc * q_bhnc.shape[-1] ** -0.5
    if n * m < _MANY_SCORES or torch.is_grad_enabled():
        return torch.softmax(q_bhnc @ k_bhmc.transpose(-1, -2), -1) @ v_bhmd
    return _attend_in_blocks(q_bhnc, k_bhmc, v_bhmd)


def _attend_in_blocks(q_bhnc: Tensor, k_bhmc: Tensor, v_bhmd: Tensor) -> Tensor:
    b, h, n, _ = q_bhnc.shape
    m, d = v_bhmd.shape[-2:]
    out = q_bhnc.new_empty(b, h, n, d)
    # Written anew for every block: allocating them each time would cost more than the softmax.
    scores, weights = q_bhnc.new_empty(2, min(n, _BLOCK), m)
    for i in range(b):
        for j in range(h):
            k_t, v = k_bhmc[i, j].t(), v_bhmd[i, j]
            for start in range(0, n, _BLOCK):
                q = q_bhnc[i, j, start : start + _BLOCK]
                rows = slice(0, len(q))
                torch.mm(q, k_t, out=scores[rows])
                torch.softmax(scores[rows], -1, out=weights[rows])
                torch.mm(weights[rows], v, out=out[i, j, start : start + _BLOCK])
    return out
