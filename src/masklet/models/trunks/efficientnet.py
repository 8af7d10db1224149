"""EfficientNet-Lite: a convolutional trunk for small networks (arXiv 1905.11946, without squeeze-and-excitation).

The batch norms of the published networks are folded into the convolutions, which therefore have biases. Everything
runs with channels last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.products import convolve
from masklet.models.specs import EfficientNetSpec
from masklet.models.trunks.levels import Level, TokenLayout


class Convolution(nn.Conv2d):
    """A convolution, and ReLU6 after it where ``bounded``.

    It is padded as TensorFlow does: what a stride of 2 needs, k - 2 for even sides, is shared out with the smaller half
    at the top and left.
    """

    def __init__(
        self, in_width: int, out_width: int, kernel: int = 1, stride: int = 1, groups: int = 1, bounded: bool = True
    ) -> None:
        super().__init__(in_width, out_width, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        self.bounded = bounded
        before = (kernel - 2) // 2
        self.edges = (before, kernel - 2 - before) * 2 if stride == 2 else None

    def forward(self, x_bchw: Tensor, plus: Tensor | None = None) -> Tensor:
        if self.edges is not None:
            x_bchw = F.pad(x_bchw, self.edges)
        return convolve(x_bchw, self, "relu6" if self.bounded else "none", plus)


class InvertedBottleneck(nn.Module):
    """Widen, filter each channel by itself, narrow; the input is added where the shape stays the same."""

    def __init__(self, in_width: int, out_width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_width * expansion
        self.expand = Convolution(in_width, inner) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, out_width, bounded=False)
        self.adds = stride == 1 and in_width == out_width

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.project(self.depthwise(self.expand(x_bchw)), x_bchw if self.adds else None)


class EfficientNet(nn.Module):
    """The trunk: what the second, third, fifth and seventh stage put out, at strides 4, 8, 16 and 32."""

    def __init__(self, spec: EfficientNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = Convolution(3, spec.stem, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        self.level_ends: list[int] = []
        width = spec.stem
        for number, stage in enumerate(spec.stages):
            for i in range(stage.blocks):
                stride = stage.stride if i == 0 else 1
                self.blocks.append(InvertedBottleneck(width, stage.width, stage.kernel, stride, stage.expansion))
                width = stage.width
            if number in spec.LEVELS:
                self.level_ends.append(len(self.blocks) - 1)

    def forward(self, image_bchw: Tensor) -> list[Level]:
        """Return the four levels, finest first."""
        x = self.stem(image_bchw.contiguous(memory_format=torch.channels_last))
        levels: list[Level] = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.level_ends:
                levels.append((x.permute(0, 2, 3, 1), TokenLayout(*x.shape[2:])))
        return levels
