"""Lets a frame's features read the memories of other frames (SAM 2 section 4, memory attention)."""

from __future__ import annotations

from torch import Tensor, nn

from masklet.models.attention import attend
from masklet.models.positions import rotary_table, rotate
from masklet.models.products import Linear, linear
from masklet.models.specs import ModelSpec


class RotaryAttention(nn.Module):
    """One-head attention with 2-D rotary positions on the tokens that lie on the image grid."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.q_proj = Linear(width, width)
        self.k_proj = Linear(memory_width, width)
        self.v_proj = Linear(memory_width, width)
        self.out_proj = Linear(width, width)

    def forward(self, q_bnc: Tensor, k_bnc: Tensor, v_bnc: Tensor, table: Tensor, unplaced: int = 0) -> Tensor:
        """Attend; the last ``unplaced`` keys (object pointers) have no place in the picture and aren't turned."""
        q = rotate(self.q_proj(q_bnc), table)
        k = rotate(self.k_proj(k_bnc), table, unplaced)
        # The value projection is linear and attention weights add up to one, so it may follow the weighted sum:
        # memories are four times narrower than values.
        read = attend(q[:, None], k[:, None], v_bnc[:, None])[:, 0]
        return self.out_proj(self.v_proj(read))


class MemoryAttentionLayer(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width = spec.width
        self.self_attn = RotaryAttention(width, width)
        self.cross_attn_image = RotaryAttention(width, spec.memory_width)
        self.linear1 = Linear(width, spec.memory_feed_forward)
        self.linear2 = Linear(spec.memory_feed_forward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, keys: Tensor, table: Tensor, unplaced: int) -> Tensor:
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, normed, table)
        x = x + self.cross_attn_image(self.norm2(x), keys, memory, table, unplaced)
        return x + self.linear2(linear(self.norm3(x), self.linear1.weight, self.linear1.bias, "relu"))


class MemoryAttention(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(spec) for _ in range(spec.memory_layers))
        self.norm = nn.LayerNorm(spec.width)

    def forward(
        self,
        features_bchw: Tensor,
        position_bchw: Tensor,
        memory_bnc: Tensor,
        keys_bnc: Tensor,
        unplaced: int,
    ) -> Tensor:
        """Return ``features_bchw`` after reading the memory tokens.

        Args:
            position_bchw: sine positions of the features (they enter at a tenth of their size).
            memory_bnc: memory frames' tokens, whole grids one after the other, then object-pointer tokens.
            keys_bnc: ``memory_bnc`` with its positions in space and time.
            unplaced: how many tokens at the end are object pointers.
        """
        h, w = features_bchw.shape[-2:]
        x = (features_bchw + 0.1 * position_bchw).flatten(2).transpose(1, 2)
        table = rotary_table(x.shape[-1], h, w, x.device)
        for layer in self.layers:
            x = layer(x, memory_bnc, keys_bnc, table, unplaced)
        return self.norm(x).transpose(1, 2).unflatten(2, (h, w))
