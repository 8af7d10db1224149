"""How one object's masks are finished: one set of choices for the preview and for every export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from masklet.errors import InputError

RANGES: dict[str, tuple[float, float]] = {
    "border": (0, 256),
    "fill_holes": (0, 1e9),
    "remove_specks": (0, 1e9),
    "refine": (0, 1),
    "refine_radius": (0.5, 512),
    "grow": (-4096, 4096),
    "feather": (0, 4096),
    "smooth_frames": (0, 16),
}
"""The smallest and the largest value of every setting that is a number."""


@dataclass(frozen=True)
class MaskSettings:
    """Choices for one object; the tracked masks themselves are never changed. Lengths are pixels of the source.

    Attributes:
        border: outermost pixels of the frame to replace by what lies next to them: masks often bend away from
            the frame's edge there.
        fill_holes: holes of up to this many square pixels are filled.
        remove_specks: separate pieces of up to this many square pixels are removed, except the largest piece.
        keep_largest: keep only the largest piece.
        refine: how much the outline follows the picture, from 0 (not at all) to 1.
        refine_radius: how far in pixels it may move; None takes it from how coarse the mask is.
        grow: pixels to grow the mask by, or to shrink it if negative; fractions count.
        feather: width of the soft edge in pixels, centred on the outline; 0 is a hard edge, 1 only antialiased.
        smooth_frames: frames before and after each frame that may overrule flicker; 0 is off.
        exclusive: give way to objects with a higher score where masks overlap.

    Raises InputError for a value out of range.
    """

    border: int = 0
    fill_holes: float = 0.0
    remove_specks: float = 0.0
    keep_largest: bool = False
    refine: float = 0.0
    refine_radius: float | None = None
    grow: float = 0.0
    feather: float = 1.0
    smooth_frames: int = 0
    exclusive: bool = False

    def __post_init__(self) -> None:
        for choice in fields(self):
            value, default = getattr(self, choice.name), choice.default
            kind: Any
            if value is None and default is None:
                continue
            low, high = RANGES.get(choice.name, (0, 1))
            if isinstance(default, bool):
                kind, allowed = bool, "true or false"
            elif isinstance(default, int):
                kind, allowed = int, f"a whole number from {low:g} to {high:g}"
            else:
                kind, allowed = int | float, f"a number from {low:g} to {high:g}"
            fits = isinstance(value, kind) and isinstance(value, bool) == isinstance(default, bool)
            if not fits or not low <= value <= high:
                raise InputError(f"Mask setting {choice.name} must be {allowed}, not {value!r}.")

    @property
    def touches_masks(self) -> bool:
        """Whether a boolean mask can come out different from how it went in."""
        return replace(self, feather=0.0, exclusive=False) != PLAIN

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskSettings:
        """Settings out of plain values; what isn't named keeps its default.

        Raises InputError for an unknown name or a bad value.
        """
        if not isinstance(values, Mapping):
            raise InputError("Mask settings must be a table of names and values.")
        known = [choice.name for choice in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"There is no mask setting {name!r}. There are: {', '.join(known)}.")
        return cls(**values)


PLAIN = MaskSettings(feather=0.0)
"""Settings that hand a mask through as it was tracked."""
