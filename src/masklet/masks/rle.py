"""Masks as COCO run lengths: a few hundred bytes a mask, and what can be asked of them without unpacking.

A run-length mask is a dict `{"size": [height, width], "counts": text}`, the form that COCO's tools read and
write. Runs go down the columns, and the first one counts pixels outside the mask. Functions that take such a
dict also take `counts` as bytes or as a plain list of run lengths. A project file or a downloaded annotation can
be damaged, and what pycocotools unpacks is not checked (run lengths that are too short for the frame leave memory
in the mask that nobody has written), so it packs here and unpacking is our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.masks._arrays import MaskArray, as_bytes, as_mask


class RLE(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]
    counts: str


def encode(mask_hw: Any) -> RLE:
    """Run lengths of one mask: boolean, or whole numbers where all but 0 is inside; (h, w), any strides.

    Raises InputError for anything else.
    """
    # Turning the mask on its side with OpenCV is several times faster than numpy's own Fortran copy.
    columns = cv2.transpose(as_bytes(mask_hw))
    [packed] = coco.encode(columns.reshape(*columns.shape[:2]).T[:, :, None])
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode("ascii")}


def encode_crop(mask_hw: Any, left: int, top: int, height: int, width: int) -> RLE:
    """Run lengths, in a frame of (height, width), of a mask that was made on a part of that frame.

    `left` and `top` say where the part's first pixel is in the frame; what sticks out is cut off.
    """
    part = as_mask(mask_hw)
    frame = np.zeros(_size((height, width)), np.bool_)
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + part.shape[1], width), min(top + part.shape[0], height)
    if x2 > x1 and y2 > y1:
        frame[y1:y2, x1:x2] = part[y1 - top : y2 - top, x1 - left : x2 - left]
    return encode(frame)


def decode(rle: Mapping[str, Any]) -> MaskArray:
    """The mask, boolean (h, w), of run lengths. Raises InputError where they are damaged."""
    return _paint(counts(rle), _size(rle.get("size")))


def counts(rle: Mapping[str, Any]) -> NDArray[np.int64]:
    """The plain run lengths, int64 (n,), checked: none is negative and together they fill the frame.

    Raises InputError where that isn't so or where something isn't there at all.
    """
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise InputError('A run-length mask must be a dict with the entries "size" and "counts".')
    height, width = _size(rle["size"])
    given = rle["counts"]
    if isinstance(given, str):
        try:
            given = given.encode("ascii")
        except UnicodeEncodeError as problem:
            raise InputError("The run lengths of this mask hold characters that don't belong there.") from problem
    if isinstance(given, bytes):
        runs = _unpack(given)
    else:
        try:
            numbers = np.asarray(given)
        except ValueError as problem:
            raise InputError("The run lengths of this mask are not a list of numbers.") from problem
        if numbers.ndim != 1 or not (numbers.size == 0 or np.issubdtype(numbers.dtype, np.integer)):
            raise InputError("The run lengths of this mask are not a list of whole numbers.")
        runs = numbers.astype(np.int64)
    pixels = height * width
    if runs.size and (runs.min() < 0 or runs.max() > pixels):
        raise InputError(f"A run length of this mask is negative or longer than its {width}x{height} pixels.")
    if int(runs.sum()) != pixels:
        raise InputError(
            f"The run lengths of this mask cover {int(runs.sum())} pixels, but {width}x{height} has {pixels}."
        )
    return runs


def row_runs(mask_hw: Any) -> list[int]:
    """Run lengths along the rows of a mask, the first one outside it (0 where its first pixel is inside)."""
    return counts(encode(np.asarray(mask_hw).T)).tolist()


def compress(rle: Mapping[str, Any]) -> RLE:
    """Any accepted form of a run-length mask in the one that this module writes, checked."""
    return encode(decode(rle))


def area(rle: Mapping[str, Any]) -> int:
    """Number of pixels inside the mask."""
    return int(counts(rle)[1::2].sum())


def is_empty(rle: Mapping[str, Any]) -> bool:
    """Whether no pixel is inside the mask."""
    return area(rle) == 0


def box(rle: Mapping[str, Any]) -> NDArray[np.float32] | None:
    """Box around the mask in pixels, float32 (4,): x1, y1, x2, y2, with x2 and y2 one past the last pixel.

    None for an empty mask. The same as `boxes.mask_to_box(decode(rle))`.
    """
    runs = counts(rle)
    height = int(rle["size"][0])
    ends = np.cumsum(runs)[1::2]
    starts = ends - runs[1::2]
    filled = ends > starts
    if not filled.any():
        return None
    first, last = starts[filled], ends[filled] - 1
    if ((first // height) != (last // height)).any():
        top, bottom = 0, height - 1  # a run that goes on in the next column touches both edges
    else:
        top, bottom = int((first % height).min()), int((last % height).max())
    return np.array([first.min() // height, top, last.max() // height + 1, bottom + 1], np.float32)


def _paint(runs: NDArray[np.int64], size: tuple[int, int]) -> MaskArray:
    height, width = size
    inside = np.zeros(len(runs), np.bool_)
    inside[1::2] = True
    columns = np.repeat(inside, runs).reshape(width, height)
    return cv2.transpose(columns.view(np.uint8)).reshape(height, width).view(np.bool_)


def _unpack(text: bytes) -> NDArray[np.int64]:
    """COCO's compression undone: groups of five bits from the low end, sixth bit "more to come", the sign in
    the last group's top bit; from the fourth number on, what changed since the number before the last."""
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if groups.size == 0:
        return np.zeros(0, np.int64)
    if groups.min() < 0 or groups.max() > 63:
        raise InputError("The run lengths of this mask hold characters that don't belong there.")
    last = (groups & 0x20) == 0
    if not last[-1]:
        raise InputError("The run lengths of this mask end in the middle of a number: they were cut off.")
    ends = np.flatnonzero(last)
    begins = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - begins + 1
    if lengths.max() > 7:
        raise InputError("The run lengths of this mask hold a number that is far too large.")
    place = np.arange(groups.size) - np.repeat(begins, lengths)
    numbers = np.add.reduceat((groups & 0x1F) << (5 * place), begins)
    negative = (groups[ends] & 0x10) != 0
    numbers -= np.where(negative, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _size(size: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in size)
        exact = all(int(side) == side for side in size)
    except (TypeError, ValueError):
        exact, height, width = False, 0, 0
    if not exact or height < 1 or width < 1 or height * width > 2**32 - 1:
        raise InputError(f"The size of a run-length mask must be [height, width] in pixels, not {size!r}.")
    return height, width
