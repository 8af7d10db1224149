"""Folds a frame's mask into its features: the memory that later frames read (SAM 2 section 4, memory encoder)."""

from __future__ import annotations

from torch import Tensor, nn

from masklet.models.layers import ConvNextBlock, LayerNorm2d


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
