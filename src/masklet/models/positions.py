"""Position encodings: sine tables, rotary angles, random Fourier features.

Tables depend on nothing but their arguments, so each is made once and shared; treat what is returned as read-only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

#: Complex numbers that are worked on together.
_CACHED = 1 << 19


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is kept must do for training as well
def sine_table(channels: int, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The 2-D sine encoding of SAM 2's neck and memories: ``[1, channels, height, width]``.

    The first half of the channels tells y, the second x; positions run over (0, 2 pi] and wavelengths up to
    a factor of 10,000 (the DETR encoding).
    """
    half = channels // 2
    scale = 2 * math.pi
    y = torch.arange(1, height + 1, dtype=torch.float32) / (height + 1e-6) * scale
    x = torch.arange(1, width + 1, dtype=torch.float32) / (width + 1e-6) * scale
    period = 10000.0 ** (2 * (torch.arange(half) // 2) / half)

    def waves(position: Tensor) -> Tensor:
        angle = position[:, None] / period
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    table = torch.cat(
        (
            waves(y)[:, None, :].expand(height, width, half),
            waves(x)[None, :, :].expand(height, width, half),
        ),
        dim=2,
    )
    return table.permute(2, 0, 1)[None].contiguous().to(device, dtype)


def sine_of_distance(distance: Tensor, channels: int) -> Tensor:
    """Sine encoding of a (normalised) distance in time: shape ``[..., channels]``."""
    half = channels // 2
    period = 10000.0 ** (2 * (torch.arange(half, device=distance.device) // 2) / half)
    angle = distance.float()[..., None] / period
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is kept must do for training as well
def rotary_table(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """Rotary angles of a grid as ``[height * width, channels // 2, 2]``: cosine and sine of each, in float32.

    The first half of the channel pairs turns with x, the second with y (axial 2-D RoPE, SAM 2 section 4, theta 10,000).
    """
    frequency = 1.0 / 10000.0 ** (torch.arange(0, channels, 4)[: channels // 4].float() / channels)
    token = torch.arange(height * width, dtype=torch.float32)
    x = token % width
    y = torch.div(token, width, rounding_mode="floor")
    angle = torch.cat((torch.outer(x, frequency), torch.outer(y, frequency)), dim=-1)
    return torch.stack((angle.cos(), angle.sin()), dim=-1).to(device)


def rotate(x_bnc: Tensor, table: Tensor, unplaced: int = 0) -> Tensor:
    """Turn pairs of neighbouring channels of ``x_bnc`` by the angles of :func:`rotary_table`.

    ``n`` may be a multiple of the table's length: the table then repeats, frame after frame. The last ``unplaced``
    tokens are left as they are.
    """
    n = x_bnc.shape[1] - unplaced
    grids = x_bnc[:, :n].unflatten(1, (-1, len(table)))
    if x_bnc.device.type != "cpu" or torch.is_grad_enabled():
        (cos, sin), (first, second) = table.unbind(-1), grids.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
        return torch.cat((turned.flatten(-2).flatten(1, 2).to(x_bnc.dtype), x_bnc[:, n:]), dim=1)
    # A pair is a complex number that is multiplied by another; so many frames at a time as stay in the cache.
    turns = torch.view_as_complex(table)
    out = torch.empty_like(x_bnc)
    done = out[:, :n].unflatten(1, (-1, len(table)))
    out[:, n:] = x_bnc[:, n:]
    at_once = max(1, _CACHED // turns.numel())
    for row, row_out in zip(grids, done, strict=True):
        for some, some_out in zip(row.split(at_once), row_out.split(at_once), strict=True):
            pairs = torch.view_as_complex(some.float().unflatten(-1, (-1, 2)))
            some_out.copy_(torch.view_as_real(pairs * turns).flatten(-2))
    return out


class FourierPositions(nn.Module):
    """Random Fourier features of points in the unit square (SAM, arXiv 2304.02643, appendix A)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Not `torch.randn`, which can't be left out where weights are about to be loaded.
        self.register_buffer("positional_encoding_gaussian_matrix", nn.init.normal_(torch.empty(2, channels // 2)))

    def forward(self, xy: Tensor) -> Tensor:
        """Encode ``[..., 2]`` coordinates in 0…1 as ``[..., channels]``, computed in float32."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        angle = 2 * math.pi * ((2 * xy.float() - 1) @ matrix)
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encode the centres of a grid's cells: ``[1, channels, height, width]``."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        xy = torch.stack((x[None, :].expand(height, width), y[:, None].expand(height, width)), dim=-1)
        return self(xy).permute(2, 0, 1)[None]
