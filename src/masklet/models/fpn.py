"""The neck: a feature pyramid of equal width over the trunk's four levels (SAM 2 appendix C.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.copying import CopyKeys
from masklet.models.layers import ConvNextBlock
from masklet.models.products import linear
from masklet.models.specs import ModelSpec
from masklet.models.trunks import make_trunk
from masklet.models.trunks.levels import Level


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution that also takes tokens with their channels last."""

    bias: nn.Parameter

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__(in_width, out_width, kernel_size=1)

    def tokens(self, x: Tensor, after: Pointwise | None = None) -> Tensor:
        """Map ``[..., in_width]`` to ``[..., out_width]``, and through ``after`` as well: both are one matrix."""
        weight: Tensor = self.weight.flatten(1)
        bias: Tensor = self.bias
        if after is not None:
            second = after.weight.flatten(1)
            weight, bias = weight.to(second.dtype), bias.to(second.dtype)
            weight, bias = (second @ weight).to(x.dtype), (second @ bias + after.bias).to(x.dtype)
        return linear(x, weight, bias)


class _Lateral(nn.Module):
    """A 1 x 1 convolution under the official key name."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv = Pointwise(in_width, out_width)

    def forward(self, level: Level, after: Pointwise | None = None) -> Tensor:
        x, layout = level
        return layout.join(self.conv.tokens(x, after)).permute(0, 3, 1, 2)


class Mixer(nn.Module):
    """Lets neighbouring cells of the neck's levels agree, and tells each level what the coarser one found."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        fine, middle = spec.high_res
        self.coarse = nn.Sequential(*(ConvNextBlock(spec.width) for _ in range(2)))
        self.to_middle, self.to_fine = Pointwise(spec.width, middle), Pointwise(middle, fine)
        self.middle, self.fine = ConvNextBlock(middle), ConvNextBlock(fine)

    def forward(self, fine: Tensor, middle: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding = self.coarse(embedding)
        middle = self.middle(middle + _enlarged(self.to_middle(embedding)))
        return self.fine(fine + _enlarged(self.to_fine(middle))), middle, embedding


def _enlarged(x_bchw: Tensor) -> Tensor:
    return F.interpolate(x_bchw, scale_factor=2.0, mode="bilinear", align_corners=False)


class Neck(nn.Module):
    """Brings every level to one width; without a mixer, only the stride-16 level hears of the one above it."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Lateral(width, spec.width) for width in reversed(spec.trunk.widths))
        self.mixer = Mixer(spec) if spec.mixing else None

    def forward(
        self, trunk_levels: list[Level], after_fine: Pointwise, after_middle: Pointwise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map the trunk's levels to ``bchw`` features of strides 4, 8 and 16; the coarsest level is folded in.

        ``after_fine`` and ``after_middle`` are the mask decoder's own 1 x 1 convolutions: only it reads these levels.
        """
        fine, middle, coarse, coarsest = trunk_levels
        embedding = self.convs[1](coarse) + F.interpolate(self.convs[0](coarsest), scale_factor=2.0, mode="nearest")
        levels = self.convs[3](fine, after_fine), self.convs[2](middle, after_middle), embedding
        return levels if self.mixer is None else self.mixer(*levels)


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.trunk = make_trunk(spec.trunk)
        self.neck = Neck(spec)
        self.copy_keys = CopyKeys(spec) if spec.copying else None

    def forward(
        self, image_bchw: Tensor, after_fine: Pointwise, after_middle: Pointwise
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """The neck's features of strides 4, 8 and 16, and the keys by which masks are copied."""
        # A frozen trunk runs as in use: nothing is kept for gradients.
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.trunk.parameters())
        with torch.set_grad_enabled(learns):
            levels = self.trunk(image_bchw)
        keys = None if self.copy_keys is None else self.copy_keys(levels)
        return *self.neck(levels, after_fine, after_middle), keys
