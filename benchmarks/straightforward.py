"""The same network computed the plain way, as today's packages do: the yardstick for masklet's own path.

Windows are cut and joined in every block, the position table is stretched for every frame, values are projected
before the weighted sum, attention is PyTorch's fused kernel, linear layers are PyTorch's own, and every pyramid level
gets its full width first. The weights and the results are the same.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.layers import MLP
from masklet.models.memory_attention import MemoryAttention, RotaryAttention
from masklet.models.positions import rotary_table
from masklet.models.products import Linear
from masklet.models.sam2 import SAM2, ImageFeatures
from masklet.models.shape import InputShape
from masklet.models.trunks import Trunk
from masklet.models.trunks.efficientnet import Convolution, EfficientNet
from masklet.models.trunks.hiera import Hiera, HieraBlock
from masklet.models.trunks.levels import TokenLayout


class Straightforward(SAM2):
    """A network of the same spec whose heavy parts run the plain way."""

    @classmethod
    def of(cls, model: SAM2) -> Straightforward:
        """Share the weights of ``model``."""
        with torch.device("meta"):
            plain = cls(model.spec)
        plain.load_state_dict(model.state_dict(), strict=True, assign=True)
        for module in plain.modules():
            if isinstance(module, Linear):
                module.forward = partial(nn.Linear.forward, module)  # type: ignore[method-assign]
            elif isinstance(module, MLP):
                module.forward = partial(_plain_mlp, module)  # type: ignore[method-assign]
        plain.memory_attention.forward = _PlainMemoryAttention(plain.memory_attention)  # type: ignore[method-assign]
        return plain.eval().requires_grad_(False)

    def encode_image(self, image_bchw: Tensor, shape: InputShape | None = None) -> ImageFeatures:
        neck, decoder = self.image_encoder.neck, self.sam_mask_decoder
        levels = _plain_trunk(self.image_encoder.trunk, image_bchw.to(self.dtype))
        laterals = [neck.convs[3 - i].conv(level) for i, level in enumerate(levels)]
        embedding = laterals[2] + F.interpolate(laterals[3], scale_factor=2.0, mode="nearest")
        fine, middle = decoder.conv_s0(laterals[0]), decoder.conv_s1(laterals[1])
        if neck.mixer is not None:
            fine, middle, embedding = neck.mixer(fine, middle, embedding)
        keys = self.image_encoder.copy_keys
        tokens = [(level.permute(0, 2, 3, 1), TokenLayout(*level.shape[2:])) for level in levels]
        shape = shape or InputShape.of(*image_bchw.shape[-2:])
        return ImageFeatures(embedding, (fine, middle), shape, None if keys is None else keys(tokens))


def _plain_mlp(mlp: MLP, x: Tensor) -> Tensor:
    activation = F.gelu if mlp.activation == "gelu" else F.relu
    for layer in mlp.layers[:-1]:
        x = activation(layer(x))
    x = mlp.layers[-1](x)
    return torch.sigmoid(x) if mlp.sigmoid else x


def _plain_trunk(trunk: Trunk, image_bchw: Tensor) -> list[Tensor]:
    return _plain_hiera(trunk, image_bchw) if isinstance(trunk, Hiera) else _plain_efficientnet(trunk, image_bchw)


def _plain_efficientnet(trunk: EfficientNet, image_bchw: Tensor) -> list[Tensor]:
    x = _plain_convolution(trunk.stem, image_bchw)
    levels = []
    for i, block in enumerate(trunk.blocks):
        inner = x if isinstance(block.expand, nn.Identity) else _plain_convolution(block.expand, x)
        out = _plain_convolution(block.project, _plain_convolution(block.depthwise, inner))
        x = x + out if block.adds else out
        if i in trunk.level_ends:
            levels.append(x)
    return levels


def _plain_convolution(layer: Convolution, x: Tensor) -> Tensor:
    y = nn.Conv2d.forward(layer, x if layer.edges is None else F.pad(x, layer.edges))
    return F.relu6(y) if layer.bounded else y


def _plain_hiera(trunk: Hiera, image_bchw: Tensor) -> list[Tensor]:
    x = trunk.patch_embed(image_bchw)
    h, w = x.shape[1:3]
    table = F.interpolate(trunk.pos_embed, size=(h, w), mode="bicubic")
    window = trunk.pos_embed_window
    table = table + window.tile((1, 1, -(-h // window.shape[2]), -(-w // window.shape[3])))[:, :, :h, :w]
    x = x + table.permute(0, 2, 3, 1)
    levels = []
    for i, block in enumerate(trunk.blocks):
        x = _plain_block(block, x)
        if i in trunk.stage_ends:
            levels.append(x.permute(0, 3, 1, 2))
    return levels


def _max_pool(x_bhwc: Tensor) -> Tensor:
    return F.max_pool2d(x_bhwc.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _plain_block(block: HieraBlock, x: Tensor) -> Tensor:
    normed = block.norm1(x)
    shortcut = _max_pool(block.proj(normed)) if block.pool else x
    side = block.window
    if side:
        b, h, w, c = normed.shape
        normed = F.pad(normed, (0, 0, 0, -w % side, 0, -h % side))
        rows, columns = normed.shape[1] // side, normed.shape[2] // side
        normed = normed.reshape(b, rows, side, columns, side, c).transpose(2, 3).reshape(-1, side, side, c)
    out = _plain_attention(block, normed)
    if side:
        inner = out.shape[1]
        out = out.reshape(b, rows, columns, inner, inner, -1).transpose(2, 3)
        out = out.reshape(b, rows * inner, columns * inner, -1)[:, : shortcut.shape[1], : shortcut.shape[2]]
    x = shortcut + out
    return x + block.mlp(block.norm2(x))


def _plain_attention(block: HieraBlock, x: Tensor) -> Tensor:
    attention = block.attn
    b, h, w, _ = x.shape
    q, k, v = attention.qkv(x).reshape(b, h * w, 3, attention.heads, -1).unbind(2)
    if attention.pool:
        q = _max_pool(q.reshape(b, h, w, -1))
        h, w = q.shape[1:3]
        q = q.reshape(b, h * w, attention.heads, -1)
    out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
    return attention.proj(out.transpose(1, 2).reshape(b, h, w, -1))


class _PlainMemoryAttention:
    def __init__(self, attention: MemoryAttention) -> None:
        self.attention = attention

    def __call__(
        self, features_bchw: Tensor, position_bchw: Tensor, memory: Tensor, keys: Tensor, unplaced: int
    ) -> Tensor:
        h, w = features_bchw.shape[-2:]
        x = (features_bchw + 0.1 * position_bchw).flatten(2).transpose(1, 2)
        table = rotary_table(x.shape[-1], h, w, x.device)
        for layer in self.attention.layers:
            normed = layer.norm1(x)
            x = x + _plain_rotary(layer.self_attn, normed, normed, normed, table, 0)
            x = x + _plain_rotary(layer.cross_attn_image, layer.norm2(x), keys, memory, table, unplaced)
            x = x + layer.linear2(F.relu(layer.linear1(layer.norm3(x))))
        return self.attention.norm(x).transpose(1, 2).unflatten(2, (h, w))


def _plain_rotary(a: RotaryAttention, q: Tensor, k: Tensor, v: Tensor, table: Tensor, unplaced: int) -> Tensor:
    q, k, v = _turn(a.q_proj(q), table), a.k_proj(k), a.v_proj(v)
    placed = k.shape[1] - unplaced
    k = torch.cat((_turn(k[:, :placed], table), k[:, placed:]), dim=1)
    return a.out_proj(F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0])


def _turn(x_bnc: Tensor, table: Tensor) -> Tensor:
    turns = torch.view_as_complex(table).repeat(x_bnc.shape[1] // len(table), 1)
    pairs = torch.view_as_complex(x_bnc.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2).to(x_bnc.dtype)
