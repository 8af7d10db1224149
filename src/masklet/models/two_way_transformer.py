"""The mask decoder's transformer: prompt tokens and image tokens attend to each other in turn (SAM appendix A)."""

from __future__ import annotations

from torch import Tensor, nn

from masklet.models.attention import attend
from masklet.models.layers import MLP
from masklet.models.products import Linear


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than that of its inputs."""

    def __init__(self, width: int, heads: int, inner_width: int | None = None) -> None:
        super().__init__()
        inner_width = inner_width or width
        self.heads = heads
        self.q_proj = Linear(width, inner_width)
        self.k_proj = Linear(width, inner_width)
        self.v_proj = Linear(width, inner_width)
        self.out_proj = Linear(inner_width, width)

    def forward(self, q_bnc: Tensor, k_bnc: Tensor, v_bnc: Tensor) -> Tensor:
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in (self.q_proj(q_bnc), self.k_proj(k_bnc), self.v_proj(v_bnc))
        )
        out = attend(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves, then to the image; the image then attends to the tokens."""

    def __init__(self, width: int, heads: int, feed_forward: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, feed_forward, width, 2)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)

    def forward(self, tokens: Tensor, image: Tensor, token_pos: Tensor, image_pos: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            # The tokens are still their own positions here, so nothing is added to them and there is no shortcut.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        image_k = image + image_pos
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pos, image_k, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image_k, tokens + token_pos, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    def __init__(self, width: int, feed_forward: int, depth: int = 2, heads: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(width, heads, feed_forward, first=i == 0) for i in range(depth))
        self.final_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image_bnc: Tensor, image_pos_bnc: Tensor, tokens_bnc: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and the image after both have read each other."""
        tokens, image = tokens_bnc, image_bnc
        for layer in self.layers:
            tokens, image = layer(tokens, image, tokens_bnc, image_pos_bnc)
        attended = self.final_attn_token_to_image(tokens + tokens_bnc, image + image_pos_bnc, image)
        return self.norm_final_attn(tokens + attended), image
