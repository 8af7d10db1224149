"""Hiera: the image encoder's trunk, a hierarchical vision transformer (arXiv 2306.00989; SAM 2 appendix C.1).

Tokens travel as ``[windows, window, window, c]`` from block to block and change their order only where the window does.
Pooling a stage's windows leaves windows of half the side, which is what the next stage begins with, so the two fine
stages, where most tokens are, need no reordering at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.attention import attend
from masklet.models.layers import MLP
from masklet.models.products import Linear
from masklet.models.specs import HieraSpec
from masklet.models.trunks.levels import Level, TokenLayout


def _pool(x_bhwc: Tensor) -> Tensor:
    """Maximum over 2 x 2 tokens."""
    rows = torch.maximum(x_bhwc[:, 0::2], x_bhwc[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


class HieraAttention(nn.Module):
    """Self-attention inside a window (or the whole picture); queries may be pooled 2 x 2."""

    def __init__(self, in_width: int, out_width: int, heads: int, pool: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pool = pool
        self.qkv = Linear(in_width, 3 * out_width)
        self.proj = Linear(out_width, out_width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        b, h, w, _ = x_bhwc.shape
        q, k, v = self.qkv(x_bhwc).reshape(b, h * w, 3, self.heads, -1).unbind(2)
        if self.pool:
            q = _pool(q.reshape(b, h, w, -1))
            h, w = q.shape[1:3]
            q = q.reshape(b, h * w, self.heads, -1)
        out = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
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
        self.mlp = MLP(out_width, 4 * out_width, out_width, 2, activation="gelu")
        if in_width != out_width:
            self.proj = Linear(in_width, out_width)

    def forward(self, x: Tensor, layout: TokenLayout) -> tuple[Tensor, TokenLayout]:
        """Map tokens in ``layout`` to new ones and the layout that they come out in."""
        # Global attention doesn't mind the order of the tokens; pooling the whole picture does.
        keeps_order = not self.window and not self.pool
        windows = layout if keeps_order else layout.with_window(self.window)
        if windows.pads:
            # Cells beyond the grid take part in attention as zeros, so they can't live on between blocks.
            x, layout = layout.join(x), layout.with_window(0)
        elif windows != layout:
            x, layout = windows.cut(layout.join(x)), windows
        normed = self.norm1(x)
        if windows.pads:
            out = self.attn(windows.cut(normed))
        elif self.window:
            out = self.attn(normed)
        else:
            out = self.attn(normed.reshape(-1, layout.height, layout.width, normed.shape[-1]))
        if self.pool:
            x, layout, windows = _pool(self.proj(normed)), layout.pooled(), windows.pooled()
        x = x + (windows.join(out) if windows.pads else out.reshape(x.shape))
        return x + self.mlp(self.norm2(x)), layout


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
        self._positions: tuple[object, Tensor] | None = None

    def positions(self, height: int, width: int) -> Tensor:
        """Position table ``[1, height, width, c]``: the stretched background plus the tiled window.

        The last one made is kept: it depends on the weights and the size alone.
        """
        weights = (self.pos_embed, self.pos_embed_window)
        state = None
        watched = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if watched and not any(weight.is_inference() for weight in weights):
            state = (height, width, *((weight.data_ptr(), weight._version, weight.dtype) for weight in weights))
            if self._positions is not None and self._positions[0] == state:
                return self._positions[1]
        table = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        window = self.pos_embed_window
        rows, columns = -(-height // window.shape[2]), -(-width // window.shape[3])
        table = table + window.tile((1, 1, rows, columns))[:, :, :height, :width]
        table = table.permute(0, 2, 3, 1).contiguous()
        if state is not None:
            self._positions = (state, table)
        return table

    def forward(self, image_bchw: Tensor) -> list[Level]:
        """Return the last tokens of each stage and their layout, finest first."""
        x = self.patch_embed(image_bchw)
        x = x + self.positions(*x.shape[1:3])
        layout = TokenLayout(*x.shape[1:3])
        levels: list[Level] = []
        for i, block in enumerate(self.blocks):
            x, layout = block(x, layout)
            if i in self.stage_ends:
                levels.append((x, layout))
        return levels
