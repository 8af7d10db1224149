"""Masks at the picture's size, made only where there is something of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LogitsWindow:
    """A part of a picture and the logits in it; outside, all logits are at or below the level that was asked for.

    Attributes:
        logits_hw: float32, the part's size.
        left, top: where the part begins, in pixels of the picture.
    """

    logits_hw: Tensor
    left: int
    top: int


class Upsampler:
    """Brings low-resolution logits to one size, as :func:`masklet.models.sam2.upsample` does (bilinear).

    Most masks of a search for everything fill a small part of the picture, and of a large picture it is this step that
    takes the time; working in windows saves the rest.
    """

    def __init__(self, low_res: tuple[int, int], height: int, width: int) -> None:
        self._rows = _Axis(low_res[0], height)
        self._columns = _Axis(low_res[1], width)

    def above(self, logits_hw: Tensor, level: float) -> LogitsWindow | None:
        """The smallest window that holds every pixel whose logit exceeds ``level``; None if there is none.

        ``logits_hw`` is on the CPU. The window may be up to a low-resolution pixel too large on each side.
        """
        high = logits_hw > level
        rows, columns = self._rows.touching(high.any(1).numpy()), self._columns.touching(high.any(0).numpy())
        if rows is None or columns is None:
            return None
        # Columns first: that pass runs over the low resolution's rows only, and the second one copies whole rows.
        wide = torch.lerp(*self._columns.neighbours(logits_hw.float(), 1, columns))
        return LogitsWindow(torch.lerp(*self._rows.neighbours(wide, 0, rows)), columns.start, rows.start)


class _Axis:
    """Where a pixel of the picture lies between two of the low resolution, along one axis."""

    def __init__(self, low_res: int, length: int) -> None:
        place = np.maximum((np.arange(length) + 0.5) * (low_res / length) - 0.5, 0)
        self._low_res = low_res
        self._before = place.astype(np.int64)
        self._share = torch.from_numpy((place - self._before).astype(np.float32))

    def touching(self, high: np.ndarray) -> slice | None:
        """The pixels that lie next to one for which ``high`` is true."""
        found = np.flatnonzero(high)
        if not len(found):
            return None
        start = int(np.searchsorted(self._before, found[0] - 1, "left"))
        stop = int(np.searchsorted(self._before, found[-1], "right"))
        return slice(start, stop) if stop > start else None

    def neighbours(self, x_hw: Tensor, axis: int, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        """What lies before and after each pixel of a part, and how far it is on the way."""
        before = torch.from_numpy(self._before[part])
        after = (before + 1).clamp(max=self._low_res - 1)
        share = self._share[part]
        return x_hw.index_select(axis, before), x_hw.index_select(axis, after), share[:, None] if axis == 0 else share
