"""Which files make up an image sequence: folders, `shot.####.exr`, `shot.%04d.png`, or any one member."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from masklet.errors import MediaError
from masklet.media.images import natural_key
from masklet.sources import IMAGE_SUFFIXES

_HASHES = re.compile(r"#+|@+")
_PRINTF = re.compile(r"%(0?)(\d*)d")
_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
_GLOB = re.compile(r"[*?]")


@dataclass(frozen=True)
class SequenceFiles:
    """Files of a sequence in order.

    Attributes:
        name: how to speak of it, for example `shots/a.####.png`.
        paths: the files.
        numbers: their frame numbers, or None where names don't count frames.
    """

    name: str
    paths: tuple[Path, ...]
    numbers: tuple[int, ...] | None

    def gaps(self) -> list[tuple[int, int]]:
        """Missing frame numbers as (first, last) pairs. A constant step (every 2nd, 10th frame) is no gap."""
        if self.numbers is None or len(self.numbers) < 2:
            return []
        steps = [b - a for a, b in pairwise(self.numbers)]
        step = min(steps)
        return [
            (a + step, a + (size - 1) // step * step)
            for a, size in zip(self.numbers, steps, strict=False)
            if size > step
        ]


def is_pattern(text: str) -> bool:
    """Whether a path stands for many files."""
    name = Path(text).name
    return bool(_HASHES.search(name) or _PRINTF.search(name) or _GLOB.search(name))


def files_of_pattern(path: Path) -> SequenceFiles:
    """Files that `shot.####.exr`, `shot.%04d.png`, `shot.@@@@.dpx` or `*.jpg` stands for.

    #### and %04d mean a number of at least four digits, # and %d one of any length.

    Raises:
        MediaError: there is no such file or folder.
    """
    names = _names(path.parent, path)
    if _GLOB.search(path.name) and not _HASHES.search(path.name) and not _PRINTF.search(path.name):
        found = sorted((p for p in path.parent.glob(path.name) if p.is_file()), key=lambda p: natural_key(p.name))
        pictures = tuple(p for p in found if p.suffix.lower() in IMAGE_SUFFIXES)
        if not pictures:
            raise MediaError(f"No picture matches {path}.")
        return SequenceFiles(str(path), pictures, _common_numbers([p.name for p in pictures]))
    match = _HASHES.search(path.name) or _PRINTF.search(path.name)
    assert match is not None
    if match.group().startswith("%"):
        digits = int(match.group(2) or 1) if match.group(1) else 1
    else:
        digits = len(match.group())
    before, after = path.name[: match.start()], path.name[match.end() :]
    number = re.compile(re.escape(before) + rf"(\d{{{digits},}})" + re.escape(after))
    members = []
    for name in names:
        hit = number.fullmatch(name)
        # A number longer than the padding has no leading zero: 00012 is no member of ####.
        if hit and (len(hit[1]) == digits or digits == 1 or hit[1][0] != "0"):
            members.append((int(hit[1]), name))
    if not members:
        raise MediaError(f"No file matches {path}.{_similar(path, names)}")
    members.sort()
    _refuse_duplicates(path, members)
    return SequenceFiles(str(path), tuple(path.parent / n for _, n in members), tuple(i for i, _ in members))


def files_of_folder(folder: Path) -> SequenceFiles:
    """All pictures of a folder in natural order (img2 before img10).

    Raises:
        MediaError: there is none, or there are several sequences.
    """
    names = [n for n in _names(folder, folder) if Path(n).suffix.lower() in IMAGE_SUFFIXES and not n.startswith(".")]
    if not names:
        raise MediaError(
            f"The folder {folder} holds no pictures ({', '.join(sorted(s.lstrip('.') for s in IMAGE_SUFFIXES))})."
        )
    names.sort(key=natural_key)
    counted = {pattern: members for pattern, members in _by_pattern(names).items() if len(members) > 1}
    for (_, members), (_, rivals) in combinations(counted.items(), 2):
        if {number for number, _ in members} & {number for number, _ in rivals}:
            raise MediaError(
                f"The folder {folder} holds more than one sequence; say which: "
                + ", ".join(f"{folder / pattern} ({len(found)} frames)" for pattern, found in sorted(counted.items()))
                + ". A pattern with * takes all that match, in natural order."
            )
    return SequenceFiles(str(folder), tuple(folder / n for n in names), _common_numbers(names))


def files_of_member(path: Path) -> SequenceFiles | None:
    """The sequence that a file like `shot.0001.png` is part of; None if it stands alone."""
    parts = frame_number(path.stem)
    if parts is None or path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    before, digits, after = parts
    pattern = path.with_name(f"{before}{'#' * len(digits)}{after}{path.suffix}")
    if digits[0] != "0":  # 10000 may follow 9999: shorter padding is possible
        shorter = _shortest_padding(path, before, digits, after)
        pattern = path.with_name(f"{before}{'#' * shorter}{after}{path.suffix}")
    members = files_of_pattern(pattern)
    return members if len(members.paths) > 1 else None


def frame_number(stem: str) -> tuple[str, str, str] | None:
    """The last number of a name, between what stands before and behind it, if it counts frames: it has at least three
    digits then, or is padded with zeros.
    """
    hit = _LAST_NUMBER.match(stem)
    return (hit[1], hit[2], hit[3]) if hit and (len(hit[2]) >= 3 or hit[2].startswith("0")) else None


def _shortest_padding(path: Path, before: str, digits: str, after: str) -> int:
    number = re.compile(re.escape(before) + r"(\d+)" + re.escape(after + path.suffix))
    lengths = [len(hit[1]) for name in _names(path.parent, path) if (hit := number.fullmatch(name))]
    return max(3, min([*lengths, len(digits)]))


def _names(folder: Path, asked: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        raise MediaError(f"There is no folder {folder} (looking for {asked}).") from None
    except OSError as error:
        raise MediaError(f"The folder {folder} can't be read: {error.strerror or error}.") from error


def _similar(path: Path, names: list[str]) -> str:
    patterns = _by_pattern([n for n in names if Path(n).suffix.lower() in IMAGE_SUFFIXES])
    if not patterns:
        return ""
    most = max(patterns, key=lambda p: len(patterns[p]))
    return f" The folder has {most} ({len(patterns[most])} files)."


def _by_pattern(names: list[str]) -> dict[str, list[tuple[int, str]]]:
    """Names by what they look like with their last number taken out."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix
        hit = _LAST_NUMBER.match(stem)
        if hit:
            found[f"{hit[1]}#{hit[3]}{suffix}"].append((int(hit[2]), name))
    return dict(found)


def _common_numbers(names: list[str]) -> tuple[int, ...] | None:
    """Frame numbers if all names are one pattern and the numbers rise, else None."""
    patterns = _by_pattern(names)
    if len(patterns) != 1:
        return None
    members = next(iter(patterns.values()))
    numbers = [number for number, _ in members]
    rising = all(b > a for a, b in pairwise(numbers))
    return tuple(numbers) if rising and len(numbers) == len(names) else None


def _refuse_duplicates(path: Path, members: list[tuple[int, str]]) -> None:
    for (a, first), (b, second) in pairwise(members):
        if a == b:
            raise MediaError(f"{path}: frame {a} is there twice, as {first} and {second}.")
