"""How one object's masks are finished: one set of choices for the preview and for every export."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from masklet.errors import InputError

UPSAMPLING = ("cubic", "linear", "nearest")


@dataclass(frozen=True)
class MaskSettings:
    """Choices for one object; the tracked masks themselves are never changed. Lengths are pixels of the source.

    Attributes:
        upsampling: how low-resolution logits become a mask of the frame's size: "cubic" (smoothest outline),
            "linear" (what the network's authors do) or "nearest".
        threshold: logit above which a pixel is inside; 0 is the network's own choice, higher is tighter.
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

    upsampling: str = "cubic"
    threshold: float = 0.0
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
        if self.upsampling not in UPSAMPLING:
            known = ", ".join(UPSAMPLING)
            raise InputError(f"Mask setting upsampling must be one of {known}, not {self.upsampling!r}.")
        _number("threshold", self.threshold, -32, 32)
        _whole("border", self.border, 256)
        _number("fill_holes", self.fill_holes, 0, 1e9)
        _number("remove_specks", self.remove_specks, 0, 1e9)
        _number("refine", self.refine, 0, 1)
        if self.refine_radius is not None:
            _number("refine_radius", self.refine_radius, 0.5, 512)
        _number("grow", self.grow, -4096, 4096)
        _number("feather", self.feather, 0, 4096)
        _whole("smooth_frames", self.smooth_frames, 16)
        for name in ("keep_largest", "exclusive"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"Mask setting {name} must be true or false, not {getattr(self, name)!r}.")

    @property
    def touches_masks(self) -> bool:
        """Whether a boolean mask can come out different from how it went in."""
        return self.with_(upsampling="linear", threshold=0.0, feather=0.0, exclusive=False) != PLAIN

    def with_(self, **changes: Any) -> MaskSettings:
        """A copy with some choices changed. Raises InputError for an unknown name or a bad value."""
        _check_names(changes)
        return replace(self, **changes)

    def scaled(self, factor: float) -> MaskSettings:
        """The same look on a frame `factor` times the size, for previews: lengths scale with it, areas with its
        square. Raises InputError where the factor isn't above 0."""
        if not factor > 0 or not math.isfinite(factor):
            raise InputError(f"A picture can't be scaled by {factor}.")
        radius = None if self.refine_radius is None else max(0.5, self.refine_radius * factor)
        return replace(
            self,
            border=round(self.border * factor),
            fill_holes=self.fill_holes * factor**2,
            remove_specks=self.remove_specks * factor**2,
            refine_radius=radius,
            grow=self.grow * factor,
            feather=self.feather * factor,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives equal settings back."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskSettings:
        """Settings out of plain values; what isn't named keeps its default.

        Raises InputError for an unknown name or a bad value.
        """
        if not isinstance(values, Mapping):
            raise InputError("Mask settings must be a table of names and values.")
        _check_names(values)
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> MaskSettings:
        """Settings out of JSON. Raises InputError for anything else."""
        try:
            values = json.loads(text)
        except (TypeError, ValueError) as problem:
            raise InputError(f"These mask settings are not JSON: {problem}.") from problem
        return cls.from_dict(values)


def _check_names(values: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(MaskSettings)]
    for name in values:
        if name not in known:
            raise InputError(f"There is no mask setting {name!r}. There are: {', '.join(known)}.")


def _number(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"Mask setting {name} must be a number from {low:g} to {high:g}, not {value!r}.")


def _whole(name: str, value: Any, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise InputError(f"Mask setting {name} must be a whole number from 0 to {high}, not {value!r}.")


PLAIN = MaskSettings(upsampling="linear", feather=0.0)
"""Settings that hand a mask through as it was tracked."""
