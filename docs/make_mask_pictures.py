"""Makes the pictures of docs/masks.md from the packaged clip: `python docs/make_mask_pictures.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from masklet.masks import render
from masklet.masks.finish import finish
from masklet.masks.labels import label
from masklet.masks.settings import PLAIN, MaskSettings
from masklet.media import open_media

ROOT = Path(__file__).resolve().parent
CLIP = ROOT.parent / "src" / "masklet" / "data" / "bunny.mp4"
FRAME = 60
CELLS = 64

# The bunny on that frame, painted with some fifty clicks and not carefully: x, y in pixels of the frame.
POINTS = """
165 140 195 135 230 148 238 158 330 152 385 148 395 135 392 118 355 120 310 118 303 110 315 100 355 98 395 100
400 80 425 70 455 78 480 100 505 135 510 115 520 92 540 86 578 112 570 130 555 135 558 185 580 230 605 300 615 400
605 490 590 550 550 595 538 620 505 625 470 612 450 580 455 555 420 570 410 595 370 575 340 540 338 470 330 410
335 360 352 300 352 275 310 240 260 220 230 220 200 195 162 190
"""
PAINTED = np.array(POINTS.split(), np.int32).reshape(-1, 2)


def coarse_logits(height: int, width: int) -> np.ndarray:
    """The painted mask as a network of 64 x 64 cells would give it."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [PAINTED], 1)
    share = cv2.resize(mask.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.log(share / (1 - share))


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    tag = label(title, 15, (255, 255, 255), (30, 30, 30))
    picture = picture.copy()
    region = picture[6 : 6 + tag.shape[0], 6 : 6 + tag.shape[1]]
    region[:] = render.composite(tag[..., :3], region, tag[..., 3])
    return picture


def save(name: str, rows: list[list[np.ndarray]]) -> None:
    gap = 4
    lines = [np.hstack([np.pad(one, ((0, gap), (0, gap), (0, 0)), constant_values=255) for one in row]) for row in rows]
    sheet = np.vstack(lines)[:-gap, :-gap]
    picture = Image.fromarray(sheet).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(ROOT / "images" / name, optimize=True)


def main() -> None:
    with open_media(CLIP) as reader:
        image = reader.read(FRAME).image_hwc
    board = render.checkerboard(*image.shape[:2])
    logits = coarse_logits(*image.shape[:2])
    fine = MaskSettings(refine=1.0)
    plain = cv2.resize(logits, image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0
    ways = {
        "plain: 64 × 64 cells": finish(plain, PLAIN, image),
        "upsampled smoothly": finish(logits, MaskSettings(), image),
        "following the picture": finish(logits, fine, image),
    }
    close, whole = np.s_[60:330, 150:600], np.s_[40:660, 120:660]
    rows = []
    for title, done in ways.items():
        lined = render.overlay(image, {1: done.mask_hw}, colors={1: (255, 60, 0)}, alpha=0.0)
        cut = render.composite(image, board, done.alpha_hw)
        rows.append([titled(lined[close], title), cut[close]])
    (ROOT / "images").mkdir(exist_ok=True)
    save("masks_edges.png", rows)

    looks = {
        "feather 1": fine,
        "feather 16": fine.changed(feather=16.0),
        "grow 8": fine.changed(grow=8.0),
        "grow −8": fine.changed(grow=-8.0),
    }
    cuts = []
    for title, settings in looks.items():
        cut = render.composite(image, board, finish(logits, settings, image).alpha_hw)[whole]
        cuts.append(titled(cv2.resize(cut, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), title))
    save("masks_settings.png", [cuts])


if __name__ == "__main__":
    main()
