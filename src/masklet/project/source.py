"""Which video, sequence or picture a project is about, and where it went when it moved."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError, MediaError, ProjectError, SourceNotFoundError

if TYPE_CHECKING:
    from masklet.media import MediaReader

_MOST_FRAMES = 2**26
_MOST_CANDIDATES = 500


@dataclass(frozen=True)
class SourceReference:
    """What a project knows of its source, enough to export everything that needs no pixels.

    `path` is absolute, `relative_path` as seen from the project's folder (None across drives). `fingerprint`
    says whether a file is the same one. `times` are the frames' time stamps in seconds since the first one,
    only kept where the frame rate varies. `pixel_aspect` is width over height of a pixel.
    """

    path: str
    relative_path: str | None
    kind: str
    fingerprint: str
    width: int
    height: int
    frame_count: int
    rate: Fraction
    pixel_aspect: Fraction = Fraction(1)
    has_audio: bool = False
    times: tuple[Fraction, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("video", "sequence", "image"):
            raise InputError(f"A source is a video, a sequence or an image, not {self.kind!r:.40}.")
        if not 1 <= self.width <= 2**16 or not 1 <= self.height <= 2**16:
            raise InputError(f"The source can't be {self.width}x{self.height} pixels.")
        if not 1 <= self.frame_count <= _MOST_FRAMES:
            raise InputError(f"The source can't have {self.frame_count} frames.")
        if self.rate <= 0 or self.pixel_aspect <= 0:
            raise InputError("The frame rate and the pixel aspect of the source must be above 0.")
        if self.times is not None:
            if len(self.times) != self.frame_count:
                raise InputError(f"There are {len(self.times)} time stamps for {self.frame_count} frames.")
            if any(later <= sooner for sooner, later in zip(self.times, self.times[1:], strict=False)):
                raise InputError("The time stamps of the source must rise from frame to frame.")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def variable_rate(self) -> bool:
        """Whether frames have time stamps of their own."""
        return self.times is not None

    @property
    def name(self) -> str:
        """The file or folder name without its suffix."""
        return Path(self.path).stem or "clip"

    def time_of(self, frame: int) -> Fraction:
        """Seconds from the first frame to this one. Raises InputError outside the video."""
        if not 0 <= frame < self.frame_count:
            raise InputError(f"There is no frame {frame}: the source has frames 0 to {self.frame_count - 1}.")
        return self.times[frame] if self.times is not None else frame / self.rate

    def row(self) -> dict[str, Any]:
        """The columns of table `source`."""
        tick = times = None
        if self.times is not None:
            denominator = math.lcm(*(time.denominator for time in self.times))
            ticks = [int(time * denominator) for time in self.times]
            if ticks[-1] >= 2**62:
                raise InputError("The time stamps of the source are on no common clock, so they can't be kept.")
            tick = str(Fraction(1, denominator))
            times = zlib.compress(np.diff(ticks, prepend=0).astype("<i8").tobytes())
        return {
            **vars(self),
            "rate": str(self.rate),
            "pixel_aspect": str(self.pixel_aspect),
            "has_audio": int(self.has_audio),
            "tick": tick,
            "times": times,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> SourceReference:
        """Raises InputError, ValueError or zlib.error for a damaged row."""
        times = None
        count = int(row["frame_count"])
        if row["times"] is not None:
            unpacker = zlib.decompressobj()
            packed = unpacker.decompress(row["times"], 8 * min(max(count, 1), _MOST_FRAMES) + 1)
            tick = Fraction(row["tick"])
            times = tuple(int(number) * tick for number in np.cumsum(np.frombuffer(packed, "<i8")))
        if not all(isinstance(row[key], str) for key in ("path", "kind", "fingerprint", "rate", "pixel_aspect")):
            raise InputError("The reference to the source is damaged.")
        relative = row["relative_path"]
        return cls(
            path=row["path"],
            relative_path=None if relative is None else str(relative),
            kind=row["kind"],
            fingerprint=row["fingerprint"],
            width=int(row["width"]),
            height=int(row["height"]),
            frame_count=count,
            rate=Fraction(row["rate"]),
            pixel_aspect=Fraction(row["pixel_aspect"]),
            has_audio=bool(row["has_audio"]),
            times=times,
        )


def describe(reader: MediaReader, project: Path) -> SourceReference:
    """The reference to an open source for a project at this place.

    Raises InputError for frames that are not in a file, because a project could never find them again.
    """
    info = reader.info
    if not is_there(Path(info.path)):
        raise InputError(
            "A project needs a source that is a file, a folder or a pattern such as shot.####.png: "
            "frames in memory or in a list can't be found again."
        )
    absolute = _resolved(info.path)
    count = len(reader)
    return SourceReference(
        path=str(absolute),
        relative_path=relative_to(absolute, project),
        kind=info.kind,
        fingerprint=reader.fingerprint(),
        width=info.width,
        height=info.height,
        frame_count=count,
        rate=Fraction(info.rate),
        pixel_aspect=Fraction(info.pixel_aspect),
        has_audio=bool(info.has_audio),
        times=tuple(Fraction(reader.time_of(index)) for index in range(count)) if info.variable_rate else None,
    )


def find(
    source: SourceReference, project: Path, given: str | Path | None = None, within: Path | None = None
) -> MediaReader:
    """Opens the source of a project: where it was, as seen from the project, or next to it under another
    name.

    `given` is where the user says it is. A file counts only when its fingerprint is that of the source. With `within`,
    files outside of that folder are not looked at.
    Raises SourceNotFoundError when the source isn't found, ProjectError when `given` is another video.
    """
    if given is not None:
        reader = _open(Path(given), source)
        if reader is None:
            raise ProjectError(f"{given} can't be read as a video, sequence or image.")
        if reader.fingerprint() != source.fingerprint:
            reader.close()
            raise ProjectError(
                f"{given} is not the source of {project.name}: {_differences(source, reader)}. "
                "Masks belong to the frames they were made from."
            )
        return reader
    changed = None
    for candidate in _candidates(source, project):
        if within is not None and not _is_below(candidate, within):
            continue
        reader = _open(candidate, source)
        if reader is None:
            continue
        if reader.fingerprint() == source.fingerprint:
            return reader
        if str(candidate) == source.path:
            changed = candidate
        reader.close()
    if changed:
        reason = f"{changed} has other contents than when it was tracked"
    elif within is not None and not _is_below(Path(source.path), within):
        reason = f"{source.path} is outside of {within}, where nothing is opened (--root says another folder)"
    else:
        reason = f"{source.path} is not there"
    hint = " Say where it is with --source FILE." if within is None else ""
    raise SourceNotFoundError(
        f"The source of {project.name} was not found: {reason}, and no file beside the project is the same.{hint}"
    )


def _differences(source: SourceReference, reader: MediaReader) -> str:
    """Why a reader's frames are not those of the source, in words."""
    info = reader.info
    kinds = {"video": "a video", "sequence": "a sequence of pictures", "image": "a picture"}
    if info.kind != source.kind:
        return f"it is {kinds[info.kind]}, not {kinds[source.kind]}"
    pairs = (
        (f"{info.width}×{info.height}", f"{source.width}×{source.height}", "pixels"),
        (f"{len(reader)}", f"{source.frame_count}", "frames"),
        (f"{float(info.rate):g}", f"{float(source.rate):g}", "frames a second"),
    )
    found = [f"{own} instead of {expected} {unit}" for own, expected, unit in pairs if own != expected]
    return f"it has {', '.join(found)}" if found else f"it is as large and as long as {source.path}, but not the same"


def moved_to(source: SourceReference, reader: MediaReader, project: Path) -> SourceReference:
    """The reference with the place where the source was found."""
    absolute = _resolved(reader.info.path)
    return replace(source, path=str(absolute), relative_path=relative_to(absolute, project))


def _candidates(source: SourceReference, project: Path) -> Iterator[Path]:
    folder = project.resolve().parent
    was = Path(source.path)
    seen: set[Path] = set()
    first: Sequence[Path] = [
        *([folder / source.relative_path] if source.relative_path else []),
        was,
        folder / was.name,
    ]
    for candidate in first:
        if candidate not in seen and is_there(candidate):
            seen.add(candidate)
            yield candidate
    try:
        beside = sorted(folder.iterdir())[:_MOST_CANDIDATES]
    except OSError:
        return
    for candidate in beside:
        if candidate in seen or candidate.name.startswith("."):
            continue
        # A folder can only be a sequence, and a file can only be what it was: its suffix rarely changes.
        fits = candidate.is_dir() if source.kind == "sequence" else candidate.suffix.lower() == was.suffix.lower()
        if fits:
            yield candidate
            if candidate.is_dir() and is_there(candidate / was.name):
                yield candidate / was.name


def _open(path: Path, source: SourceReference) -> MediaReader | None:
    from masklet.media import open_media

    try:
        if source.kind == "video":
            return open_media(path)
        # Pictures have no rate of their own, and one picture may be named like a member of a sequence.
        return open_media(path, rate=source.rate, sequence=False if source.kind == "image" else None)
    except (MediaError, InputError, OSError):
        return None


def _is_below(path: Path, folder: Path) -> bool:
    # The last part may be a pattern.
    real = path.resolve() if path.exists() else path.parent.resolve() / path.name
    return real.is_relative_to(folder.resolve())


def is_there(path: Path) -> bool:
    """Whether a source could be at this place: a file, a folder, or a pattern in a folder."""
    from masklet.media.patterns import is_pattern

    # Nothing but files and folders: a project from a stranger may name a device or a pipe that never ends.
    return path.is_file() or path.is_dir() or (is_pattern(path.name) and path.parent.is_dir())


def _resolved(path: str) -> Path:
    # The last part may be a pattern, which is not a file that could be resolved.
    place = Path(path).expanduser()
    return place.parent.resolve() / place.name


def relative_to(path: Path, project: Path) -> str | None:
    """The path as seen from a project; None on another drive."""
    try:
        return Path(os.path.relpath(path, project.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return None
