"""List files of benchmarks: names, paths of pictures, spaces in both."""

from __future__ import annotations

from pathlib import Path

import pytest

from masklet.evaluation.layouts.base import read_names


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("bear\nbike-packing\n\nbear\n", ["bear", "bike-packing"]),
        ("bunny cut\nShot 12, take 3  \n", ["bunny cut", "Shot 12, take 3"]),
        ("/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n", ["bear"]),
        ("/JPEGImages/480p/bunny cut/00000.jpg /Annotations/480p/bunny cut/00000.png \n", ["bunny cut"]),
        ("/JPEGImages/480p/bear/00000.jpg\n/JPEGImages/480p/bear/00001.jpg\r\n", ["bear"]),
        ("bear/\n", ["bear"]),
        ("bear/00000\n", ["bear"]),
        ("bear\t25 frames\n", ["bear"]),
        ("", []),
    ],
)
def test_names_are_whole_lines_or_the_folders_of_pictures(tmp_path: Path, lines: str, names: list[str]) -> None:
    listed = tmp_path / "val.txt"
    listed.write_text(lines, encoding="utf-8")
    assert read_names(listed) == names
