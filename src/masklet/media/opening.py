"""One door for everything that can be read frame by frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError, MediaError
from masklet.media.animation import AnimationReader, is_animated
from masklet.media.arrays import ArrayReader
from masklet.media.base import MediaReader
from masklet.media.images import image_size
from masklet.media.patterns import SequenceFiles, files_of_folder, files_of_member, files_of_pattern, is_pattern
from masklet.media.rates import to_rate
from masklet.media.sequence import SequenceReader
from masklet.media.video import VideoReader
from masklet.sources import IMAGE_SUFFIXES

_MOVING_SUFFIXES = {".gif"}
_SIZES_COMPARED = 16


def open_media(
    source: str | os.PathLike[str] | Sequence[Any] | np.ndarray,
    *,
    rate: Fraction | float | str | None = None,
    sequence: bool | None = None,
    exact_color: bool = False,
) -> MediaReader:
    """Open a video, image sequence, animation, single image or array for reading.

    Args:
        source: a video file; a folder of pictures; a pattern (`shot.####.exr`, `shot.%04d.png`, `*.jpg`); a picture,
            which stands for its whole sequence if it looks like a member of one (`shot.0001.png`, and others of the
            same size are there); a list of pictures (paths or arrays) in order; or a uint8 RGB array of frames ×
            height × width × 3.
        rate: frames per second of sequences and arrays, which don't have their own ("24", 29.97, "30000/1001");
            without it 24. A video's own rate can't be changed here.
        sequence: whether a single picture stands for its sequence; without it that is decided as said above.
        exact_color: round a video's colours to within 1/255 (default: within 3/255, several times faster).

    Raises:
        MediaError: it is missing, damaged, of a kind that can't be read, or pictures differ in size.
        InputError: an argument that makes no sense.
    """
    own_rate = None if rate is None else to_rate(rate)
    if isinstance(source, np.ndarray):
        return ArrayReader(source, rate=own_rate)
    if not isinstance(source, (str, os.PathLike)):
        return _open_list(source, own_rate)
    if "://" in os.fspath(source):
        raise InputError(f"{source} is a network address; use masklet.media.open_stream for it, or download it first.")
    path = Path(source).expanduser()
    if path.is_dir():
        return SequenceReader(files_of_folder(path), rate=own_rate)
    if not path.exists():
        if is_pattern(str(path)):
            return SequenceReader(files_of_pattern(path), rate=own_rate)
        raise MediaError(f"There is no file {path}.")
    if not path.is_file():  # to open it may wait for ever
        raise MediaError(f"{path} is a pipe or a device, which can't be read frame by frame. Write it to a file first.")
    if is_animated(path):
        return AnimationReader(path)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES and suffix not in _MOVING_SUFFIXES:
        return _open_picture(path, own_rate, sequence)
    return VideoReader(path, exact_color=exact_color)


def _open_list(source: Any, rate: Fraction | None) -> MediaReader:
    try:
        items = list(source)
    except TypeError:
        raise InputError(f"Can't read frames from a {type(source).__name__}.") from None
    if not items:
        raise InputError("The list of pictures is empty.")
    if all(isinstance(item, (str, os.PathLike)) for item in items):
        paths = tuple(Path(item).expanduser() for item in items)
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise MediaError(f"There is no file {missing[0]}" + f" (and {len(missing) - 1} more)." * (len(missing) > 1))
        return SequenceReader(SequenceFiles(f"{len(paths)} pictures", paths, None), rate=rate)
    return ArrayReader(items, rate=rate)


def _open_picture(path: Path, rate: Fraction | None, sequence: bool | None) -> SequenceReader:
    notes = []
    if sequence is not False:
        members = files_of_member(path)
        if members is not None and (sequence or _one_size(members)):
            return SequenceReader(members, rate=rate)
        if sequence:
            raise MediaError(f"{path} is not part of a sequence: no other file is named like it.")
        if members is not None:
            notes.append("Files with similar names differ in size; this picture alone is used.")
    alone = SequenceFiles(str(path), (path,), None)
    return SequenceReader(alone, rate=rate, kind="image", notes=notes)


def _one_size(members: SequenceFiles) -> bool:
    """Whether a sample of the files are of one size (photos IMG_0001, IMG_0002 usually are not a film…)."""
    step = max(1, len(members.paths) // _SIZES_COMPARED)
    sizes = set()
    for path in members.paths[::step]:
        try:
            sizes.add(image_size(path))
        except MediaError:
            continue
    return len(sizes) == 1
