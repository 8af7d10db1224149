"""The neck: a feature pyramid of equal width over the trunk's four levels (SAM 2 appendix C.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.hiera import Hiera
from masklet.models.specs import ModelSpec


class _Lateral(nn.Module):
    """A 1 x 1 convolution under the official key name."""

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, out_width, kernel_size=1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.conv(x_bchw)


class Neck(nn.Module):
    """Brings every level to one width; only the stride-16 level also receives the stride-32 level from above."""

    def __init__(self, widths: tuple[int, ...], out_width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Lateral(width, out_width) for width in reversed(widths))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Map the trunk's levels (finest first) to ``[stride 4, stride 8, stride 16]``; the coarsest is folded in."""
        fine, middle, coarse, coarsest = levels
        top = self.convs[0](coarsest)
        coarse = self.convs[1](coarse) + F.interpolate(top, scale_factor=2.0, mode="nearest")
        return [self.convs[3](fine), self.convs[2](middle), coarse]


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.trunk = Hiera(spec.hiera)
        self.neck = Neck(spec.hiera.widths, spec.width)

    def forward(self, image_bchw: Tensor) -> list[Tensor]:
        return self.neck(self.trunk(image_bchw))
