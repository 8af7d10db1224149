"""Frame rates as people write them."""

from __future__ import annotations

from fractions import Fraction

from masklet.errors import InputError

_NTSC = (24, 30, 48, 60, 120)
_MAX_RATE = 100_000


def to_rate(value: Fraction | float | str) -> Fraction:
    """Frames per second as an exact fraction; 23.976, 29.97, 59.94 become the 1001ths that they stand for.

    Raises:
        InputError: not a positive number.
    """
    try:
        rate = value if isinstance(value, Fraction) else Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{value!r} is no frame rate; write 25, 29.97 or 30000/1001.") from None
    if not 0 < rate <= _MAX_RATE:
        raise InputError(f"A frame rate must be above 0 and at most {_MAX_RATE}, not {value}.")
    for whole in _NTSC:
        exact = Fraction(whole * 1000, 1001)
        if not isinstance(value, Fraction) and abs(rate - exact) < Fraction(1, 200):
            return exact
    return rate
