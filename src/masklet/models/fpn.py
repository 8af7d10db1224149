"""The neck: a feature pyramid of equal width over the trunk's four levels (SAM 2 appendix C.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class Neck(nn.Module):
    """Brings every level to one width; only the stride-16 level receives the stride-32 level from above."""

    def __init__(self, widths: tuple[int, ...], out_width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Lateral(width, out_width) for width in reversed(widths))

    def forward(
        self, levels: list[Level], after_fine: Pointwise, after_middle: Pointwise
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map the trunk's levels to ``bchw`` features of strides 4, 8 and 16; the coarsest level is folded in.

        ``after_fine`` and ``after_middle`` are the mask decoder's own 1 x 1 convolutions: only it reads these levels.
        """
        fine, middle, coarse, coarsest = levels
        embedding = self.convs[1](coarse) + F.interpolate(self.convs[0](coarsest), scale_factor=2.0, mode="nearest")
        return self.convs[3](fine, after_fine), self.convs[2](middle, after_middle), embedding


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.trunk = make_trunk(spec.trunk)
        self.neck = Neck(spec.trunk.widths, spec.width)

    def forward(
        self, image_bchw: Tensor, after_fine: Pointwise, after_middle: Pointwise
    ) -> tuple[Tensor, Tensor, Tensor]:
        # A frozen trunk runs as in use: nothing is kept for gradients.
        learns = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.trunk.parameters())
        with torch.set_grad_enabled(learns):
            levels = self.trunk(image_bchw)
        return self.neck(levels, after_fine, after_middle)
