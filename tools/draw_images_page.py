"""Draw the picture of docs/images.md from the demo clip with nano: `python tools/draw_images_page.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from masklet import ImagePredictor, open_media
from masklet.masks.labels import label
from masklet.masks.render import checkerboard, composite, overlay
from masklet.media import write_image

ROOT = Path(__file__).resolve().parent.parent
# On the clip's first frame, see src/masklet/data/README.md.
BOX, CLICK = (153, 219, 571, 558), (345, 420)
PANEL = (426, 240)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def panel(image_hwc: np.ndarray, text: str) -> np.ndarray:
    small = cv2.resize(image_hwc, PANEL, interpolation=cv2.INTER_AREA)
    tag = label(text, 14, WHITE, BLACK)
    corner = small[8 : 8 + tag.shape[0], 8 : 8 + tag.shape[1]]
    share = tag[..., 3:] / 255
    corner[:] = np.rint(tag[..., :3] * share + corner * (1 - share))
    return small


def main() -> None:
    with open_media(ROOT / "src" / "masklet" / "data" / "bunny.mp4") as clip:
        photo = clip.read(0).image_hwc
    predictor = ImagePredictor("nano", device="cpu", dtype="float32").set_image(photo)
    click, box = predictor.predict(points=[CLICK]), predictor.predict(box=BOX)

    asked = photo.copy()
    cv2.rectangle(asked, BOX[:2], BOX[2:], (0, 144, 255), 4)
    cv2.circle(asked, CLICK, 12, (0, 144, 255), -1)
    cv2.circle(asked, CLICK, 12, WHITE, 3)
    dotted = [cv2.circle(overlay(photo, {1: mask.mask}), CLICK, 10, WHITE, -1) for mask in click]
    first = [
        panel(picture, f"click: predicted IoU {iou:.2f}")
        for picture, iou in zip(dotted, click.predicted_iou_n, strict=True)
    ]
    second = [
        panel(asked, "a click, a box"),
        panel(overlay(photo, {1: box.mask}), f"box: predicted IoU {box.predicted_iou:.2f}"),
        panel(composite(photo, checkerboard(*photo.shape[:2]), box.mask), "its cut-out"),
    ]
    write_image(ROOT / "docs" / "pictures" / "images.jpg", np.vstack([np.hstack(second), np.hstack(first)]), quality=88)


if __name__ == "__main__":
    main()
