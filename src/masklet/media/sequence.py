"""Image sequences and single images."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

from masklet.errors import MediaError
from masklet.media.base import Cursor, MediaReader
from masklet.media.fingerprint import file_fingerprint, files_fingerprint
from masklet.media.images import image_size, open_picture, read_image
from masklet.media.patterns import SequenceFiles
from masklet.media.types import ImageArray, MediaInfo

SEQUENCE_RATE = Fraction(24)  # pictures don't say how fast they are to be shown

_CHECKED_AT_OPENING = 256  # sizes of all files up to so many, of a sample beyond; the rest is checked when read


class SequenceReader(MediaReader):
    """Pictures in files, one per frame; also a single picture.

    Frame n is the n-th file that is there. Frame numbers in the names are in `frame_numbers`, gaps in `info.notes`.

    Args:
        files: what belongs to it.
        rate: frames per second; 24 if not given.
        kind: "image" for a single picture.
        notes: to be put into `info.notes`.

    Raises:
        MediaError: no picture, pictures of different sizes, or a first picture that can't be read.
    """

    def __init__(
        self,
        files: SequenceFiles,
        *,
        rate: Fraction | None = None,
        kind: Literal["sequence", "image"] = "sequence",
        notes: Sequence[str] = (),
    ) -> None:
        folder = Path(files.name)
        super().__init__(*files.paths, *([folder] if folder.is_dir() else []))
        if not files.paths:
            raise MediaError(f"{files.name}: no pictures.")
        self.paths = files.paths
        self.frame_numbers = files.numbers or tuple(range(len(files.paths)))
        width, height = self._common_size()
        all_notes = list(notes)
        gaps = files.gaps()
        if gaps:
            listed = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in gaps[:20])
            more = f" and {len(gaps) - 20} more gaps" if len(gaps) > 20 else ""
            all_notes.append(f"Missing frame numbers: {listed}{more}. What is there is counted without them.")
        if kind == "sequence" and rate is None:
            all_notes.append(f"Pictures have no frame rate; {SEQUENCE_RATE} frames/s is assumed.")
        depth, layout = _storage(files.paths[0])
        actual = rate or SEQUENCE_RATE
        self._info = MediaInfo(
            path=files.name,
            kind=kind,
            width=width,
            height=height,
            frame_count=len(files.paths),
            rate=actual,
            variable_rate=False,
            duration=len(files.paths) / actual,
            codec=files.paths[0].suffix.lstrip(".").lower(),
            pixel_format=layout,
            bit_depth=depth,
            notes=tuple(all_notes),
        )

    def fingerprint(self) -> str:
        return file_fingerprint(self.paths[0]) if len(self.paths) == 1 else files_fingerprint(self.paths)

    def _common_size(self) -> tuple[int, int]:
        count = len(self.paths)
        step = max(1, -(-count // _CHECKED_AT_OPENING))
        size = None
        for position in sorted({*range(0, count, step), count - 1}):
            try:
                own = image_size(self.paths[position])
            except MediaError:
                if count == 1:
                    raise
                continue  # damage is dealt with, and reported, when the frame is read
            if size is None:
                size, first = own, position
            elif own != size:
                raise MediaError(_sizes_differ(self.paths[first], size, self.paths[position], own))
        if size is None:
            raise MediaError(f"None of the {count} pictures can be read, for example {self.paths[0]}.")
        return size

    def open_cursor(self, cached: bool) -> Cursor:
        return Cursor(self.load_or_stand_in)

    def load(self, index: int) -> ImageArray:
        """The picture of frame `index` itself.

        Raises:
            MediaError: it can't be read, or its size differs.
        """
        image = read_image(self.paths[index])
        height, width = image.shape[:2]
        if (width, height) != (self._info.width, self._info.height):
            expected = (self._info.width, self._info.height)
            raise _SizeError(_sizes_differ(self.paths[0], expected, self.paths[index], (width, height)))
        return image

    def load_or_stand_in(self, index: int) -> ImageArray:
        """The same, but the last good picture before it (else the first after it) if it is damaged."""
        try:
            return self.load(index)
        except _SizeError:
            raise
        except MediaError as error:
            for stand_in in (*range(index - 1, -1, -1), *range(index + 1, len(self.paths))):
                try:
                    image = self.load(stand_in)
                except _SizeError:
                    raise
                except MediaError:
                    continue
                self._damaged.setdefault(index, f"{error} Frame {stand_in} is shown instead.")
                return image
            raise MediaError(f"No picture of {self._info.path} can be read. {error}") from error


class _SizeError(MediaError):
    """Not damage: the files don't belong together."""


def _sizes_differ(first: Path, size: tuple[int, int], other: Path, own: tuple[int, int]) -> str:
    return (
        f"Pictures of a sequence must be of one size: {first.name} is {size[0]}×{size[1]}, "
        f"{other.name} is {own[0]}×{own[1]}. Open them one by one, or give a pattern that leaves the others out."
    )


def _storage(path: Path) -> tuple[int, str]:
    """(bits per channel, layout) of a picture file, from Pillow's header where it knows."""
    if path.suffix.lower() == ".exr":
        return 32, "float"
    try:
        with open_picture(path) as image:
            bits = {"1": 1, "I": 16, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)
            return bits, image.mode
    except Exception:  # Pillow raises whatever its parsers stumble over
        return 8, "rgb"
