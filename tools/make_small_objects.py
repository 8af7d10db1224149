"""Makes a data set of small objects out of one in DAVIS 2016's layout, to measure what `--zoom` is good for.

    python tools/make_small_objects.py DAVIS small --frames 40
    masklet evaluate --data small --layout davis2016 --max-frames 40 --prompt mask,box [--zoom]

Every sequence becomes one of the sixteen tiles of a canvas that is four times as wide and as high: 3416x1920 pixels for
clips at 480p. The other tiles show the other sequences, some of them mirrored. So the object has all its pixels, but
covers a quarter as many of the network's cells each way.
"""

from __future__ import annotations

import argparse
from itertools import cycle, product
from pathlib import Path

import cv2
import numpy as np

GRID = 4


def pictures(folder: Path, frames: int) -> list[Path]:
    """The first frames of a sequence, and from the last one on the way back."""
    paths = sorted(folder.glob("*.jpg"))
    there = [*paths, *paths[-2:0:-1]]
    return [path for path, _ in zip(cycle(there), range(frames), strict=False)]


def make_sequence(data: Path, out: Path, name: str, place: tuple[int, int], frames: int) -> None:
    """Writes one sequence: its own pictures at (row, column) of the canvas, the others' around it."""
    images, annotations = data / "JPEGImages/480p", data / "Annotations/480p"
    own = sorted((images / name).glob("*.jpg"))[:frames]
    others = [pictures(folder, len(own)) for folder in sorted(images.iterdir()) if folder.name != name]
    height, width = cv2.imread(str(own[0])).shape[:2]
    for kind in ("JPEGImages", "Annotations"):
        (out / kind / "480p" / name).mkdir(parents=True, exist_ok=True)
    for frame, path in enumerate(own):
        tiles = [cv2.resize(cv2.imread(str(other[frame])), (width, height)) for other in others]
        around = cycle([*tiles, *(tile[:, ::-1] for tile in tiles)])
        canvas = np.zeros((GRID * height, GRID * width, 3), np.uint8)
        truth = np.zeros(canvas.shape[:2], np.uint8)
        for row, column in product(range(GRID), repeat=2):
            there = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
            canvas[there] = cv2.imread(str(path)) if (row, column) == place else next(around)
            if (row, column) == place:
                drawn = cv2.imread(str(annotations / name / f"{path.stem}.png"), cv2.IMREAD_COLOR)
                truth[there] = np.where(drawn.max(2) > 127, 255, 0)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        cv2.imwrite(str(out / "JPEGImages/480p" / name / path.name), canvas, quality)
        cv2.imwrite(str(out / "Annotations/480p" / name / f"{path.stem}.png"), truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set in DAVIS 2016's layout")
    parser.add_argument("out", type=Path, help="a new folder for the made one")
    parser.add_argument("--frames", type=int, default=40, help="frames of every sequence")
    given = parser.parse_args()
    names = sorted(folder.name for folder in (given.data / "JPEGImages/480p").iterdir())
    # The four tiles in the middle, in turn.
    for name, place in zip(names, cycle(product((1, 2), repeat=2)), strict=False):
        make_sequence(given.data, given.out, name, place, given.frames)


if __name__ == "__main__":
    main()
