"""Draw how training went: the loss and the IoU of the chosen masks along one or more runs, one after the other.

    python docs/make_training_picture.py RUN... PICTURE

Each RUN is a folder of `masklet train`; its TensorBoard events are read.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from tensorboardX.proto.event_pb2 import Event

TERMS = {"train/loss": "loss (less is better)", "train/true_iou": "IoU of the chosen masks on training clips"}
#: Reports that are averaged for the thick line.
SMOOTH = 9
INK, FAINT = "#1d2733", "#8fb3d9"


def main(runs: list[Path], picture: Path) -> None:
    figure, panels = plt.subplots(len(TERMS), 1, figsize=(11, 5.2), dpi=110, sharex=True)
    begin = 0
    for run in runs:
        known = scalars(run)
        for panel, term in zip(panels, TERMS, strict=True):
            steps, values = np.array(sorted(known[term].items())).T
            width = min(SMOOTH, len(values))
            mean = np.convolve(np.pad(values, width // 2, "edge"), np.ones(width) / width, "valid")[: len(values)]
            panel.plot(begin + steps, values, color=FAINT, linewidth=0.8)
            panel.plot(begin + steps, mean, color=INK, linewidth=1.6)
            panel.axvline(begin, color="0.8", linewidth=0.8)
        place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        panels[0].annotate(run.name, (begin, 1), (4, -12), **place)
        begin += max(known["train/loss"])
    for panel, words in zip(panels, TERMS.values(), strict=True):
        panel.set_title(words, loc="left", fontsize=11)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("steps")
    figure.tight_layout()
    figure.savefig(picture)


def scalars(run: Path) -> dict[str, dict[int, float]]:
    """By term and step; what a run that went on wrote again counts."""
    known: dict[str, dict[int, float]] = {term: {} for term in TERMS}
    for file in sorted(run.glob("events/events.*")):
        for event in events(file.read_bytes()):
            for value in event.summary.value:
                if value.tag in known:
                    known[value.tag][event.step] = value.simple_value
    return known


def events(stored: bytes) -> Iterator[Event]:
    """A file of events is a row of records: length, checksum, record, checksum."""
    place = 0
    while place + 12 <= len(stored):
        (length,) = struct.unpack_from("<Q", stored, place)
        yield Event.FromString(stored[place + 12 : place + 12 + length])
        place += length + 16


if __name__ == "__main__":
    *folders, output = map(Path, sys.argv[1:])
    main(folders, output)
