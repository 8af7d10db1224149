"""The shape of the network's input, and where the picture lies in it: the one place that decides.

Released weights have only ever seen squares, into which every picture is stretched (``square``). ``fit`` keeps the
picture's proportions at the same long side, so that a frame of 16:9 costs little more than half as much. A network's
levels have to divide its input, so what is missing to the next multiple is padded at the right or at the bottom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.settings import RESOLUTION_STEP, Shape, known_shape

#: Input pixels to a side of one pixel of the decoder's masks.
LOW_RES = 4
#: Logits beyond this say nothing more; outside of the part of a frame where a mask was looked for they are minus this.
CERTAIN = 20.0

#: A part of a picture: x and y of its upper left pixel, width and height.
Part = tuple[int, int, int, int]


@dataclass(frozen=True)
class InputShape:
    """Size of the network's input in pixels, and of the part at its upper left that the picture fills."""

    height: int
    width: int
    inner_height: int
    inner_width: int

    @classmethod
    def of(cls, height: int, width: int) -> InputShape:
        """An input that the picture fills as a whole."""
        return cls(height, width, height, width)

    @property
    def inner(self) -> tuple[int, int]:
        """Height and width of the picture in the network's input."""
        return self.inner_height, self.inner_width

    @property
    def low_res(self) -> tuple[int, int]:
        """Height and width of the picture in the decoder's masks."""
        return self.inner_height // LOW_RES, self.inner_width // LOW_RES

    def without_padding(self, logits_bnhw: Tensor) -> Tensor:
        """The part of the decoder's masks that is of the picture."""
        height, width = self.low_res
        return logits_bnhw[..., :height, :width]

    def padded(self, x_bchw: Tensor, value: float = 0.0) -> Tensor:
        """What is of the picture, at any scale of the input, with the padding around it."""
        height, width = x_bchw.shape[-2:]
        bottom = height * self.height // self.inner_height - height
        right = width * self.width // self.inner_width - width
        return F.pad(x_bchw, (0, right, 0, bottom), value=value) if bottom or right else x_bchw


@lru_cache(maxsize=256)
def input_shape(shape: Shape, side: int, width: int, height: int) -> InputShape:
    """How a picture of ``width`` x ``height`` pixels goes into a network whose input has this (longer) side.

    Raises InputError for a shape that doesn't exist.
    """
    if known_shape(shape) == "square":
        return InputShape.of(side, side)
    longest = max(width, height)
    # Whole pixels of the masks, so that these can be cut.
    inner = [max(LOW_RES, round(side * length / longest / LOW_RES) * LOW_RES) for length in (height, width)]
    return InputShape(*(-(-length // RESOLUTION_STEP) * RESOLUTION_STEP for length in inner), *inner)


def regridded(logits_b1hw: Tensor, source: Part, target: Part, grid_hw: tuple[int, int]) -> Tensor:
    """Mask logits of one part of a picture, brought to a grid over another part; `-CERTAIN` where nothing is known."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = source, target
    # Where the grid becomes coarser, every place of it is the mean of several places between.
    finer = max(1, min(8, math.ceil(max(bw / aw, bh / ah))))
    h, w = (n * finer for n in grid_hw)
    rows = ((by + (torch.arange(h) + 0.5) * bh / h) - ay) / ah * 2 - 1
    columns = ((bx + (torch.arange(w) + 0.5) * bw / w) - ax) / aw * 2 - 1
    grid = (
        torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
        .to(logits_b1hw.device)
        .expand(len(logits_b1hw), -1, -1, -1)
    )
    lifted = logits_b1hw.float().clamp(-CERTAIN, CERTAIN) + CERTAIN
    return F.avg_pool2d(F.grid_sample(lifted, grid, align_corners=False), finer) - CERTAIN
