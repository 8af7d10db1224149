"""Hiera: the image encoder's trunk, a hierarchical vision transformer (arXiv 2306.00989; SAM 2 appendix C.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.layers import MLP
from masklet.models.specs import HieraSpec


def _pool(x_bhwc: Tensor) -> Tensor:
    """Maximum over 2 x 2 tokens."""
    return F.max_pool2d(x_bhwc.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def partition(x_bhwc: Tensor, window: int) -> Tensor:
    """Cut ``[b, h, w, c]`` into ``[b * windows, window, window, c]``, padded with zeros below and to the right."""
    b, h, w, c = x_bhwc.shape
    pad_h, pad_w = -h % window, -w % window
    if pad_h or pad_w:
        x_bhwc = F.pad(x_bhwc, (0, 0, 0, pad_w, 0, pad_h))
    rows, columns = (h + pad_h) // window, (w + pad_w) // window
    x = x_bhwc.reshape(b, rows, window, columns, window, c).transpose(2, 3)
    return x.reshape(-1, window, window, c)


def unpartition(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`partition` for a picture of ``height`` x ``width`` tokens."""
    window, c = windows.shape[1], windows.shape[-1]
    rows, columns = -(-height // window), -(-width // window)
    x = windows.reshape(-1, rows, columns, window, window, c).transpose(2, 3)
    return x.reshape(-1, rows * window, columns * window, c)[:, :height, :width]


class HieraAttention(nn.Module):
    """Self-attention inside a window (or the whole picture); queries may be pooled 2 x 2."""

    def __init__(self, in_width: int, out_width: int, heads: int, pool: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pool = pool
        self.qkv = nn.Linear(in_width, 3 * out_width)
        self.proj = nn.Linear(out_width, out_width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        b, h, w, _ = x_bhwc.shape
        q, k, v = self.qkv(x_bhwc).reshape(b, h * w, 3, self.heads, -1).unbind(2)
        if self.pool:
            q = _pool(q.reshape(b, h, w, -1))
            h, w = q.shape[1:3]
            q = q.reshape(b, h * w, self.heads, -1)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(b, h, w, -1))


class HieraBlock(nn.Module):
    """Attention and feed-forward; at the start of a stage it doubles the width and halves the grid.

    ``window`` is the side of the attention windows in the incoming tokens, or 0 for global attention.
    """

    def __init__(self, in_width: int, out_width: int, heads: int, pool: bool, window: int) -> None:
        super().__init__()
        self.window = window
        self.pool = pool
        self.norm1 = nn.LayerNorm(in_width, eps=1e-6)
        self.attn = HieraAttention(in_width, out_width, heads, pool)
        self.norm2 = nn.LayerNorm(out_width, eps=1e-6)
        self.mlp = MLP(out_width, 4 * out_width, out_width, 2, activation=F.gelu)
        if in_width != out_width:
            self.proj = nn.Linear(in_width, out_width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        normed = self.norm1(x_bhwc)
        shortcut = _pool(self.proj(normed)) if self.pool else x_bhwc
        height, width = shortcut.shape[1:3]
        if self.window:
            out = unpartition(self.attn(partition(normed, self.window)), height, width)
        else:
            out = self.attn(normed)
        x_bhwc = shortcut + out
        return x_bhwc + self.mlp(self.norm2(x_bhwc))


class PatchEmbedding(nn.Module):
    """7 x 7 convolution of stride 4: one token for every 4 x 4 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=4, padding=3)

    def forward(self, image_bchw: Tensor) -> Tensor:
        return self.proj(image_bchw).permute(0, 2, 3, 1)


class Hiera(nn.Module):
    """The trunk: four stages of tokens at strides 4, 8, 16 and 32."""

    def __init__(self, spec: HieraSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patch_embed = PatchEmbedding(spec.embed_dim)
        side = spec.background_size
        self.pos_embed = nn.Parameter(torch.zeros(1, spec.embed_dim, side, side))
        window = spec.window_sizes[0]
        self.pos_embed_window = nn.Parameter(torch.zeros(1, spec.embed_dim, window, window))
        self.blocks = nn.ModuleList()
        self.stage_ends: list[int] = []
        for stage, depth in enumerate(spec.stages):
            for i in range(depth):
                starts = stage > 0 and i == 0
                # A stage's first block still sees the windows of the stage before it; its pooling shrinks them.
                window = spec.window_sizes[stage - 1 if starts else stage]
                if len(self.blocks) in spec.global_blocks:
                    window = 0
                width = spec.widths[stage]
                self.blocks.append(
                    HieraBlock(
                        in_width=width // 2 if starts else width,
                        out_width=width,
                        heads=spec.heads * 2**stage,
                        pool=starts,
                        window=window,
                    )
                )
            self.stage_ends.append(len(self.blocks) - 1)

    def positions(self, height: int, width: int) -> Tensor:
        """Position table ``[1, height, width, c]``: the stretched background plus the tiled window."""
        table = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        window = self.pos_embed_window
        rows, columns = -(-height // window.shape[2]), -(-width // window.shape[3])
        table = table + window.tile((1, 1, rows, columns))[:, :, :height, :width]
        return table.permute(0, 2, 3, 1)

    def forward(self, image_bchw: Tensor) -> list[Tensor]:
        """Return the last tokens of each stage as ``bchw``, finest first."""
        x_bhwc = self.patch_embed(image_bchw)
        x_bhwc = x_bhwc + self.positions(*x_bhwc.shape[1:3])
        levels = []
        for i, block in enumerate(self.blocks):
            x_bhwc = block(x_bhwc)
            if i in self.stage_ends:
                levels.append(x_bhwc.permute(0, 3, 1, 2))
        return levels
