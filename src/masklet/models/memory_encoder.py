"""Folds a frame's mask into its features: the memory that later frames read (SAM 2 section 4, memory encoder)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from masklet.models.layers import LayerNorm2d
from masklet.models.products import Linear, linear


class MaskDownsampler(nn.Module):
    """Four stride-2 convolutions: from a full-size mask to the grid of the image embedding."""

    def __init__(self, out_width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for _ in range(4):
            layers += [
                nn.Conv2d(width, width * 4, kernel_size=3, stride=2, padding=1),
                LayerNorm2d(width * 4),
                nn.GELU(),
            ]
            width *= 4
        self.encoder = nn.Sequential(*layers, nn.Conv2d(width, out_width, kernel_size=1))

    def forward(self, mask_b1hw: Tensor) -> Tensor:
        return self.encoder(mask_b1hw)


class ConvNextBlock(nn.Module):
    """Depth-wise 7 x 7 convolution and a feed-forward, scaled channel by channel (ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = Linear(width, 4 * width)
        self.pwconv2 = Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x_bchw: Tensor) -> Tensor:
        x = self.norm(self.dwconv(x_bchw)).permute(0, 2, 3, 1)
        x = self.gamma * self.pwconv2(linear(x, self.pwconv1.weight, self.pwconv1.bias, "gelu"))
        return x_bchw + x.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNextBlock(width) for _ in range(depth))

    def forward(self, x_bchw: Tensor) -> Tensor:
        for layer in self.layers:
            x_bchw = layer(x_bchw)
        return x_bchw


class MemoryEncoder(nn.Module):
    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, kernel_size=1)
        self.fuser = Fuser(width)
        self.out_proj = nn.Conv2d(width, out_width, kernel_size=1)

    def forward(self, embedding_bchw: Tensor, mask_b1hw: Tensor) -> Tensor:
        """Encode ``[b, c, h, w]`` memories from image embeddings (no memory in them) and scaled full-size masks."""
        x = self.pix_feat_proj(embedding_bchw) + self.mask_downsampler(mask_b1hw)
        return self.out_proj(self.fuser(x))
