"""Make pictures for README.md and docs/ (how-it-works, policies) from the packaged clip, with the packaged model.

    python docs/make_pictures.py [FOLDER]

Clip: Big Buck Bunny, © 2008 Blender Foundation, CC BY 3.0.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import cv2
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from masklet import Session
from masklet.masks.palette import color, hex_color
from masklet.masks.render import overlay
from masklet.media import read_mask
from masklet.results import FrameMasks
from masklet.tracking.policies import POLICIES

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "src" / "masklet" / "data" / "bunny.mp4"
MASK = ROOT / "src" / "masklet" / "data" / "bunny_frame48.png"
PROMPTED, HIDDEN, WALKED = 48, 70, 72
CLICK = (1000, 390)
#: What `make demo` is told: a box on the last frame.
BOXED, BOX = 99, (290, 45, 615, 638)
INK, FAINT = "#1d2733", "#6b7785"
WIDTH, DPI = 11.0, 110

plt.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.titlesize": 11.5,
        "axes.titlepad": 6,
    }
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with Session(CLIP, "nano", dtype="float32") as session:
        save(candidates(session), folder / "how_candidates.png")
        session.reset()
        session.add_prompt(PROMPTED, 1, mask=read_mask(MASK))
        results = {}
        for masks in session.propagate(PROMPTED, WALKED - 1):
            results[masks.index] = masks
        bank = session._tracks[1].bank
        remembered = {**bank.prompts, **bank.recent}
        for masks in session.propagate(WALKED, 99):
            results[masks.index] = masks
        save(memory(session, results, remembered), folder / "how_memory.png")
        for masks in session.propagate(PROMPTED, 0, direction="backward"):
            results[masks.index] = masks
        save(features(session), folder / "how_features.png")
        save(kalman(session, results), folder / "how_kalman.png")
        save(scores(results), folder / "how_scores.png")
    with Session(CLIP, "nano") as session:  # as `make demo` does it
        session.add_prompt(BOXED, 1, box=BOX)
        results = {masks.index: masks for masks in session.propagate(BOXED, direction="backward")}
        save(strip(session, results), folder / "how_strip.png")
    save(policies(), folder / "policies_memory.png")


# --- one picture each ------------------------------------------------------------------------------------------------


def strip(session: Session, results: dict[int, FrameMasks]) -> Figure:
    """Four frames of the overlay."""
    frames = (20, 40, 56, 78)
    figure, panels = plt.subplots(1, len(frames), figsize=(WIDTH, 2.45))
    for panel, frame in zip(panels, frames, strict=True):
        picture = session.video.read(frame).image_hwc
        show(panel, crop(overlay(picture, results[frame].masks)), f"frame {frame}")
    return figure


def features(session: Session) -> Figure:
    """What the image encoder makes of a frame, at three scales."""
    picture = session.video.read(WALKED).image_hwc
    found = session.engine.encode(picture)
    side = session.engine.image_size
    square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    fine, middle = found.high_res_bchw
    figure, panels = plt.subplots(1, 4, figsize=(WIDTH, 3.1))
    show(panels[0], square, f"the frame, {side} × {side}")
    for panel, part in zip(panels[1:], (fine, middle, found.embedding_bchw), strict=True):
        _, channels, height, width = part.shape
        show(panel, as_colours(part)[0], f"{height} × {width} places,\n{channels} numbers each", "nearest")
    return figure


def candidates(session: Session) -> Figure:
    """A click, and the three masks that it may mean."""
    picture = session.video.read(PROMPTED).image_hwc
    found = session.add_prompt(PROMPTED, 1, points=[CLICK])[1]
    window = (slice(180, 560), slice(640, 1280))
    figure, panels = plt.subplots(1, 4, figsize=(WIDTH, 2.2))
    show(panels[0], picture[window], "one click")
    panels[0].plot(CLICK[0] - 640, CLICK[1] - 180, "o", color="white", markersize=9, markeredgecolor=INK)
    panels[0].plot(CLICK[0] - 640, CLICK[1] - 180, "o", color="#18a040", markersize=5)
    for panel, offered in zip(panels[1:], session.candidates(PROMPTED, 1), strict=True):
        title = f"predicted IoU {offered.scores.predicted_iou:.3f}"
        show(panel, overlay(picture, {1: offered.mask})[window], title)
        if offered.candidate == found.candidate:
            frame_panel(panel, "chosen")
    return figure


def memory(session: Session, results: dict[int, FrameMasks], remembered: dict[int, object]) -> Figure:
    """The memory frames that the walked frame reads: pictures above, what is kept of them below."""
    read = sorted(frame for frame, _ in results[WALKED][1].explanation.memory_frames)
    figure, panels = plt.subplots(2, len(read), figsize=(WIDTH * 0.9, 4.4), height_ratios=(1, 1.45))
    kept = as_colours(torch.cat([remembered[frame].features_bchw for frame in read]))  # type: ignore[attr-defined]
    for column, frame, colours in zip(panels.T, read, kept, strict=True):
        picture = session.video.read(frame).image_hwc
        kind = "prompted" if frame == PROMPTED else f"{WALKED - frame} frame{'s' * (WALKED - frame > 1)} ago"
        show(column[0], crop(overlay(picture, results[frame].masks)), f"frame {frame}: {kind}")
        show(column[1], colours, "", "nearest")
    return figure


def kalman(session: Session, results: dict[int, FrameMasks]) -> Figure:
    """The box that motion expects, and the boxes of the three candidates."""
    found = results[WALKED][1]
    why = found.explanation
    assert why.motion_box_xyxy is not None and why.candidate_boxes is not None and why.motion_scores is not None
    picture = session.video.read(WALKED).image_hwc
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.3))
    for i, panel in enumerate(panels):
        box = why.candidate_boxes[i]
        show(panel, crop(picture), "")
        outline(panel, why.motion_box_xyxy, "white", (0, (4, 3)), 2.2)
        if box is not None:
            outline(panel, box, hex_color(color(i + 1)), "solid", 2.2)
        panel.set_title(
            f"predicted IoU {why.ious[i]:.2f}\noverlap with expected box {why.motion_scores[i]:.2f}\n"
            f"together {why.final_scores[i]:.3f}",
            fontsize=10.5,
        )
        if i == found.candidate:
            frame_panel(panel, "chosen")
    return figure


def scores(results: dict[int, FrameMasks]) -> Figure:
    """Scores through the clip."""
    frames = sorted(results)
    figure, panel = plt.subplots(figsize=(WIDTH, 2.3))
    panel.plot(frames, [results[f][1].scores.predicted_iou for f in frames], color="#0072c8", label="predicted IoU")
    motion = [(f, results[f][1].scores.motion_score) for f in frames if results[f][1].scores.motion_score is not None]
    panel.plot(*zip(*motion, strict=True), ".", markersize=4, color="#e07000", label="overlap with expected box")
    panel.axvline(PROMPTED, color=FAINT, linestyle=":", linewidth=1)
    panel.text(PROMPTED + 0.8, 0.06, "prompted here", color=FAINT, fontsize=10)
    panel.set(xlim=(0, 99), ylim=(0, 1.05), xlabel="frame")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="lower right", frameon=False, fontsize=10)
    return figure


def policies() -> Figure:
    """What every policy reads when the bunny is back, since one frame, after eight black frames."""
    with Session(CLIP) as session:
        whole = [frame.image_hwc for frame in session.video.frames(PROMPTED, HIDDEN + 10)]
    shown, after = whole[: HIDDEN - PROMPTED], whole[HIDDEN - PROMPTED :]
    clip = np.stack([*shown, *[np.zeros_like(whole[0])] * 8, *after])
    read_on = len(shown) + 8 + 1
    figure, panels = plt.subplots(len(POLICIES), 4, figsize=(WIDTH * 0.62, 1.5 * len(POLICIES)))
    for row, policy in zip(panels, POLICIES, strict=True):
        with Session(clip, "nano", policy=policy, dtype="float32") as session:
            session.add_prompt(0, 1, mask=read_mask(MASK))
            results = {masks.index: masks for masks in session.propagate(stop=read_on)}
        read = sorted(frame for frame, _ in results[read_on][1].explanation.memory_frames)
        for panel, frame in zip(row, read, strict=True):
            kind = "prompted" if frame == 0 else f"{read_on - frame} frame{'s' * (read_on - frame > 1)} ago"
            show(panel, crop(overlay(clip[frame], results[frame].masks)), kind)
        row[0].text(-0.06, 0.5, policy, transform=row[0].transAxes, rotation=90, va="center", ha="right")
    return figure


# --- drawing ---------------------------------------------------------------------------------------------------------

_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 20, 860, 660


def crop(picture: np.ndarray) -> np.ndarray:
    """The part of a frame that the bunny is in."""
    return picture[_TOP:_BOTTOM, _LEFT:_RIGHT]


def outline(panel: Axes, box_xyxy: tuple[float, ...], colour: str, style: object, width: float) -> None:
    x1, y1, x2, y2 = box_xyxy
    panel.add_patch(
        Rectangle((x1 - _LEFT, y1 - _TOP), x2 - x1, y2 - y1, fill=False, edgecolor="#000000a0", linewidth=width + 1.6)
    )
    panel.add_patch(
        Rectangle(
            (x1 - _LEFT, y1 - _TOP), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=width
        )
    )


def as_colours(parts_bchw: torch.Tensor) -> np.ndarray:
    """The three directions in which the numbers of places differ most, as red, green and blue: uint8 [b, h, w, 3]."""
    places = parts_bchw.permute(0, 2, 3, 1).double().cpu().numpy()
    flat = places.reshape(-1, places.shape[-1])
    flat = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    three = flat @ directions[:3].T
    low, high = np.percentile(three, (2, 98), axis=0)
    scaled = np.clip((three - low) / (high - low), 0, 1)
    return (scaled.reshape(*places.shape[:-1], 3) * 255).astype(np.uint8)


def show(panel: Axes, picture: np.ndarray, title: str, interpolation: str = "lanczos") -> None:
    panel.imshow(picture, interpolation=interpolation)
    panel.set_title(title)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)


def frame_panel(panel: Axes, text: str) -> None:
    for spine in panel.spines.values():
        spine.set(visible=True, color="#18a040", linewidth=3)
    panel.text(0.5, -0.035, text, transform=panel.transAxes, ha="center", va="top", color="#148036", fontweight="bold")


def save(figure: Figure, path: Path) -> None:
    """A PNG of 256 colours, a third of the size."""
    figure.tight_layout(pad=0.4, w_pad=0.8, h_pad=0.8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.06)
    plt.close(figure)
    picture = Image.open(buffer).convert("RGB")
    palette = picture.quantize(256, kmeans=4)
    picture = picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    picture.save(path, optimize=True)
    print(f"{path}  {picture.width}×{picture.height}  {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
