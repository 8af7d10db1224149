"""The packaged network follows what it is told, on a real frame: which object is meant, and what is not meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet import Session, load_model, open_media
from masklet.masks.boxes import mask_to_box
from masklet.masks.distance import deepest_point
from masklet.models.sam2 import SAM2
from masklet.tracking.tracker import VideoTracker

FRAME = 48
#: The rocks at the right: a box around them, and a place on them.
ROCKS, ON_ROCKS = (790, 270, 1220, 435), (930, 340)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.fixture(scope="module")
def nano() -> SAM2:
    return load_model("nano", dtype="float32")


@pytest.fixture(scope="module")
def bunny_hw(bunny_clip: Path) -> np.ndarray:
    """The bunny on this frame, painted by hand."""
    painted: np.ndarray = np.asarray(Image.open(bunny_clip.with_name("bunny_frame48.png")).convert("L")) > 0
    return painted


@pytest.fixture(scope="module")
def frame(bunny_clip: Path) -> np.ndarray:
    with open_media(bunny_clip) as video:
        return video.read(FRAME).image_hwc


@pytest.fixture(scope="module")
def masks(nano: SAM2, frame: np.ndarray, bunny_hw: np.ndarray) -> dict[str, np.ndarray]:
    """The bunny and the rocks, each from a box and from a click."""
    tracker = VideoTracker(nano)
    tracker.push(frame)
    prompts = {
        "bunny, box": {"box": mask_to_box(bunny_hw)},
        "bunny, click": {"points": [deepest_point(bunny_hw)[0]]},
        "rocks, box": {"box": ROCKS},
        "rocks, click": {"points": [ON_ROCKS]},
    }
    return {what: tracker.prompt(i, **said)[i].mask for i, (what, said) in enumerate(prompts.items(), 1)}


def test_two_objects_of_one_picture_are_two_masks(masks: dict[str, np.ndarray]) -> None:
    for how in ("box", "click"):
        assert overlap(masks[f"bunny, {how}"], masks[f"rocks, {how}"]) < 0.05
    # A click moved from one to the other takes the mask along.
    for what, other in (("bunny", "rocks"), ("rocks", "bunny")):
        assert overlap(masks[f"{what}, click"], masks[f"{what}, box"]) > 0.25
        assert overlap(masks[f"{what}, click"], masks[f"{other}, box"]) < 0.05


def test_box_and_click_find_what_was_painted(masks: dict[str, np.ndarray], bunny_hw: np.ndarray) -> None:
    assert overlap(masks["bunny, box"], bunny_hw) > 0.7
    assert overlap(masks["bunny, click"], bunny_hw) > 0.5


def test_a_negative_click_takes_away_what_was_too_much(nano: SAM2, frame: np.ndarray, bunny_hw: np.ndarray) -> None:
    tracker = VideoTracker(nano)
    tracker.push(frame)
    before = tracker.prompt(1, box=mask_to_box(bunny_hw))[1].mask
    (x, y), _ = deepest_point(before & ~bunny_hw)
    after = tracker.prompt(1, points=[(x, y)], labels=[0])[1].mask
    assert before[int(y), int(x)] and not after[int(y), int(x)]
    assert overlap(after, bunny_hw) > overlap(before, bunny_hw)


def test_prompts_mean_the_same_one_by_one_and_together(nano: SAM2, frame: np.ndarray, bunny_hw: np.ndarray) -> None:
    (x, y), _ = deepest_point(bunny_hw)
    said = [{"points": [(x, y)]}, {"points": [(210, 540)], "labels": [0]}, {"box": mask_to_box(bunny_hw)}]
    with Session(frame[None], nano) as first, Session(frame[None], nano) as second:
        for prompt in said:
            given = first.add_prompt(0, 1, **prompt)[1]
        assert given.window is not None
        together = second.set_prompts(0, 1, first.prompts(0, 1))[1]
        assert np.array_equal(given.logits, together.logits)
        assert given == together
