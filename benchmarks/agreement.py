"""How far the masks of bfloat16 are from those of float32, on real clips.

Two numbers a frame: the IoU of two trackers that each live on their own memories, as they do in use, and that of two
that read the same ones (float32's), which tells rounding itself from what a tracker makes of it over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.video import BUNNY, BUNNY_BOX
from masklet import load_model, open_media
from masklet.models.sam2 import SAM2
from masklet.prompts import Prompt
from masklet.tracking.engine import Engine
from masklet.tracking.policies import make_policy
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack


@dataclass(frozen=True)
class Clip:
    """Frames with a prompt on the first: a box, or the picture of a mask."""

    name: str
    frames: Path
    box: tuple[int, int, int, int] | None = None
    mask: Path | None = None

    def prompt(self, size: FrameSize) -> Prompt:
        mask = None
        if self.mask is not None:
            mask = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE) > 0
        return Prompt.make(box=self.box, mask=mask, width=size.width, height=size.height)


def find_clips(places: Sequence[Path]) -> list[Clip]:
    """The packaged clip, and every sequence of the data sets in DAVIS layout that `places` are."""
    clips = [Clip("bunny", BUNNY, box=BUNNY_BOX)]
    for place in places:
        found = sorted(place.glob("Annotations/480p/*/"))
        if not found:
            raise ValueError(f"{place} is not in DAVIS layout: there is no Annotations/480p/<clip>/ in it")
        for masks in found:
            frames = place / "JPEGImages" / "480p" / masks.name
            clips.append(Clip(masks.name, frames, mask=min(masks.glob("*.png"))))
    return clips


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boolean masks; 1 where both are empty."""
    either = np.count_nonzero(a | b)
    return 1.0 if not either else np.count_nonzero(a & b) / either


class _Tracker:
    """One object through one clip."""

    def __init__(self, model: SAM2) -> None:
        self.engine = Engine(model, make_policy("samurai", model.spec))
        self.track = ObjectTrack(1)

    def keep(self, record: FrameRecord) -> None:
        self.track.take(record)
        self.engine.forget(self.track, record.frame + 1, 1)


def compare(clip: Clip, exact: SAM2, quick: SAM2, frames: int | None = None) -> Iterator[tuple[float, float]]:
    """IoU of the two networks' masks on every frame after the first: on their own memories, on those of `exact`."""
    slow, fast = _Tracker(exact), _Tracker(quick)
    with open_media(clip.frames) as video:
        size = FrameSize(video.info.width, video.info.height)
        prompt = clip.prompt(size)
        for frame in video.frames(0, frames):
            seen = [tracker.engine.encode(frame.image_hwc) for tracker in (slow, fast)]
            if frame.index == 0:
                for tracker, features in zip((slow, fast), seen, strict=True):
                    tracker.keep(tracker.engine.decide(features, size, tracker.track, 0, [prompt]))
                continue
            [forced] = fast.engine.track(seen[1], size, frame.index, 1, [slow.track])
            found = [
                tracker.engine.track(features, size, frame.index, 1, [tracker.track])[0]
                for tracker, features in zip((slow, fast), seen, strict=True)
            ]
            expected, own, led = (record.mask_of(1, size).mask for record in (*found, forced))
            yield iou(expected, own), iou(expected, led)
            for tracker, record in zip((slow, fast), found, strict=True):
                tracker.keep(record)


def measure_agreement(model: str, places: Sequence[Path]) -> list[dict[str, Any]]:
    """Mean and worst IoU between bfloat16 and float32 masks of every clip."""
    exact, quick = (load_model(model, device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    results = []
    for clip in find_clips(places):
        own, led = np.array(list(compare(clip, exact, quick))).T
        results.append(
            {
                "clip": clip.name,
                "frames": len(own),
                "mean": float(own.mean()),
                "worst": float(own.min()),
                "worst frame": int(own.argmin()) + 1,
                "same memories, mean": float(led.mean()),
                "same memories, worst": float(led.min()),
            }
        )
    return results
