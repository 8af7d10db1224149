"""What every trunk hands to the neck: four levels of tokens, at strides 4, 8, 16 and 32."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TokenLayout:
    """How tokens of a ``height`` x ``width`` grid are laid out: in windows, or (``window`` 0) row by row."""

    height: int
    width: int
    window: int = 0

    def with_window(self, window: int) -> TokenLayout:
        """The same grid in windows of this side (0: row by row)."""
        return TokenLayout(self.height, self.width, window)

    @property
    def pads(self) -> bool:
        """Whether windows reach over the edge of the grid."""
        return self.window > 0 and bool(self.height % self.window or self.width % self.window)

    def cut(self, x_bhwc: Tensor) -> Tensor:
        """Rows of tokens ``[b, h, w, c]`` into this layout; cells beyond the grid are zero."""
        if not self.window:
            return x_bhwc
        side = self.window
        if self.pads:
            x_bhwc = F.pad(x_bhwc, (0, 0, 0, -self.width % side, 0, -self.height % side))
        b, h, w, c = x_bhwc.shape
        x = x_bhwc.reshape(b, h // side, side, w // side, side, c).transpose(2, 3)
        return x.reshape(-1, side, side, c)

    def join(self, x: Tensor) -> Tensor:
        """Undo :meth:`cut`."""
        if not self.window:
            return x
        side, c = self.window, x.shape[-1]
        rows, columns = -(-self.height // side), -(-self.width // side)
        x = x.reshape(-1, rows, columns, side, side, c).transpose(2, 3)
        return x.reshape(-1, rows * side, columns * side, c)[:, : self.height, : self.width]

    def pooled(self) -> TokenLayout:
        return TokenLayout(self.height // 2, self.width // 2, self.window // 2)


#: Tokens with their channels last, and how they are laid out.
Level = tuple[Tensor, TokenLayout]
