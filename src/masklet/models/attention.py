"""Scaled dot-product attention, computed in the way that the device at hand is quickest at.

On CPUs, PyTorch's fused kernel runs far below the speed of the matrix products it is made of, most of all in bfloat16.
Two products with a softmax between them, over parts whose scores stay in the cache, give the same numbers sooner.
Measurements are in ``docs/performance.md``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.models.products import times_transposed

#: From this many scores a head on, they are computed part by part, so that a part stays in the cache.
_MANY_SCORES = 1 << 20
#: bfloat16: all keys for this many queries at a time.
_QUERIES = 256
#: float32, whose scores are twice as large: parts of queries and keys.
_PART = (1024, 2048)


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
    one_head = _rows_at_once if q_bhnc.dtype == torch.bfloat16 else _parts
    out = q_bhnc.new_empty(*q_bhnc.shape[:-1], v_bhmd.shape[-1])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            one_head(q_bhnc[i, j], k_bhmc[i, j], v_bhmd[i, j], out[i, j])
    return out


def _rows_at_once(q_nc: Tensor, k_mc: Tensor, v_md: Tensor, out_nd: Tensor) -> None:
    # Written anew for every part: allocating them each time would cost more than the softmax.
    scores, weights = q_nc.new_empty(2, min(len(q_nc), _QUERIES), len(k_mc))
    for start in range(0, len(q_nc), _QUERIES):
        out = out_nd[start : start + _QUERIES]
        rows = slice(0, len(out))
        torch.mm(q_nc[start : start + _QUERIES], k_mc.t(), out=scores[rows])
        torch.softmax(scores[rows], -1, out=weights[rows])
        torch.mm(weights[rows], v_md, out=out)


def _parts(q_nc: Tensor, k_mc: Tensor, v_md: Tensor, out_nd: Tensor) -> None:
    """Softmax over parts of the keys, rescaled whenever a larger score turns up (arXiv 1805.02867)."""
    queries, keys = _PART
    # A column of ones adds up the weights in the same product.
    v_md = F.pad(v_md, (0, 1), value=1.0)
    for row in range(0, len(q_nc), queries):
        q = q_nc[row : row + queries].contiguous()
        read = q.new_zeros(len(q), v_md.shape[-1])
        top = q.new_full((len(q), 1), float("-inf"))
        for start in range(0, len(k_mc), keys):
            scores = times_transposed(q, k_mc[start : start + keys])
            higher = torch.maximum(top, scores.amax(1, keepdim=True))
            weights = scores.sub_(higher).exp_()
            read.mul_((top - higher).exp_()).addmm_(weights, v_md[start : start + keys])
            top = higher
        torch.div(read[:, :-1], read[:, -1:], out=out_nd[row : row + queries])
