"""How one object's masks are finished: one set of choices for the preview and for every export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from masklet.errors import InputError
from masklet.settings import CheckedSettings, Share, setting


class MaskSettings(CheckedSettings):
    """Choices for one object; the tracked masks themselves are never changed. Lengths are pixels of the source.

    Masks often bend away from the frame's edge, which `border` mends. `fill_holes` and `remove_specks` are areas in
    square pixels; the largest piece is never removed. Fractions of a pixel count in `grow`. A `feather` of 0 is a hard
    edge, and of 1 an antialiased one. An `exclusive` object gives way to objects with a higher score.

    Raises InputError for an unknown name or a value out of range.
    """

    fill_holes: float = setting(0.0, "Fill holes", "Holes up to this size are closed.", ge=0, le=1e9)
    remove_specks: float = setting(0.0, "Remove specks", "Loose pieces up to this size go.", ge=0, le=1e9)
    grow: float = setting(0.0, "Grow or shrink", "Moves the edge out or in.", ge=-4096, le=4096)
    feather: float = setting(1.0, "Feather", "Width of the soft edge.", ge=0, le=4096)
    refine: Share = setting(0.0, "Refine edges", "How much the edge clings to edges in the picture.")
    smooth_frames: int = setting(0, "Temporal smoothing", "Frames before and after that calm flicker.", ge=0, le=16)
    keep_largest: bool = setting(False, "Keep the largest part", "All other pieces go.")
    exclusive: bool = setting(False, "Prevent overlap", "The object of the higher score has the pixel.")
    refine_radius: float | None = setting(
        None, "Refine radius", "Empty: chosen by how coarse the mask is.", ge=0.5, le=512
    )
    border: int = setting(0, "Fix the frame's border", "Masks often bend away from the border.", ge=0, le=256)

    @classmethod
    def noun(cls) -> str:
        return "mask setting"

    @property
    def touches_masks(self) -> bool:
        """Whether a boolean mask can come out different from how it went in."""
        return self.changed(feather=0.0, exclusive=False) != PLAIN

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskSettings:
        """Settings out of plain values; what isn't named keeps its default.

        Raises InputError for an unknown name or a bad value.
        """
        if not isinstance(values, Mapping):
            raise InputError("Mask settings must be a table of names and values.")
        return cls(**values)


PLAIN = MaskSettings(feather=0.0)
"""Settings that hand a mask through as it was tracked."""
