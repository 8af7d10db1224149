"""Small layers that several parts of the network share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.models.products import Linear, linear

#: Below this many channels, normalising them is quicker with arithmetic on whole planes.
_FEW_CHANNELS = 8


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a ``bchw`` tensor."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x_bchw: Tensor) -> Tensor:
        if len(self.weight) < _FEW_CHANNELS and not torch.is_grad_enabled():
            # PyTorch's own is made for long rows: on four channels this takes a fifth to a half of the time.
            x = x_bchw.float()
            x = x - x.mean(1, keepdim=True)
            x = x.mul_((x * x).mean(1, keepdim=True).add_(self.eps).rsqrt_())
            weight, bias = (t.float()[:, None, None] for t in (self.weight, self.bias))
            return x.mul_(weight).add_(bias).to(x_bchw.dtype)
        x_bhwc = x_bchw.permute(0, 2, 3, 1)
        x_bhwc = F.layer_norm(x_bhwc, (x_bhwc.shape[-1],), self.weight, self.bias, self.eps)
        return x_bhwc.permute(0, 3, 1, 2)


class MLP(nn.Module):
    """``depth`` linear layers with ``relu`` or ``gelu`` between them; at the end a sigmoid if asked for."""

    def __init__(
        self,
        in_width: int,
        hidden_width: int,
        out_width: int,
        depth: int,
        activation: str = "relu",
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_width, *[hidden_width] * (depth - 1), out_width]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.layers) - 1):
            layer = self.layers[i]
            assert isinstance(layer, Linear)
            x = linear(x, layer.weight, layer.bias, self.activation)
        x = self.layers[-1](x)
        return torch.sigmoid(x) if self.sigmoid else x


class ConvNextBlock(nn.Module):
    """Depth-wise 7 x 7 convolution and a feed-forward, scaled channel by channel (ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = Linear(width, expansion * width)
        self.pwconv2 = Linear(expansion * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x_bchw: Tensor) -> Tensor:
        x = self.norm(self.dwconv(x_bchw)).permute(0, 2, 3, 1)
        x = self.gamma * self.pwconv2(linear(x, self.pwconv1.weight, self.pwconv1.bias, "gelu"))
        return x_bchw + x.permute(0, 3, 1, 2)
