"""Videos against the official video predictor and the published SAMURAI, on the same weights.

The goldens hold logits of facebookresearch/sam2 (2b90b9f) and yangchris11/samurai (76ba195), computed in float32 on a
CPU and sampled at every fourth row and column:

- `nano_video.npz`, `nano_samurai.npz`: nano 1 on the clip's 48 frames of 256x256;
- `video_sam2*_tiny_512.npz`: the tiny network with the weights of `weights.py` on ten frames enlarged to 512x512,
  without the fallback for unsure single masks and without binarised click masks.

One thing about frame 0: the reference encodes it when a state is made, which was from a folder of JPEG files, and keeps
the features until it looks at another frame; all other frames were the PNGs. So a run that begins on frame 0 saw that
frame after a JPEG round trip (Pillow's default quality of 75), and `reverse`, which comes to it last, saw the PNG. The
decoded JPEGs are `frame0_of_forward_runs.png` (256x256) and `frame0_of_512_runs.png` (made from the enlarged frame): no
JPEG decoder takes part in the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.parity.conftest import with_recipe_weights

from masklet.models.sam2 import SAM2
from masklet.results import FrameMasks
from masklet.tracking.policies.samurai import Motion
from masklet.tracking.session import Session

BOX = (60, 70, 170, 215)
P, Q = (110, 130), (24, 120)

Check = Callable[[FrameMasks], None]
MakeCheck = Callable[[str], Check]


@pytest.fixture
def golden_of(nano_video: Mapping[str, np.ndarray], assert_equal_masks: Callable[..., None]) -> MakeCheck:
    """Makes the check of one scenario: a frame's masks, ids and order against its goldens."""

    def make(scenario: str) -> Check:
        def check(masks: FrameMasks) -> None:
            where = f"{scenario}/f{masks.index:03d}"
            assert list(masks.objects) == nano_video[f"{scenario}/ids"].tolist()
            assert_equal_masks(_samples(masks), nano_video[where], where)

        return check

    return make


@pytest.fixture
def session(golden_nano: SAM2, forward_clip: np.ndarray) -> Session:
    return Session(forward_clip, golden_nano, policy="recency", correct_from_memory=True)


def _samples(masks: FrameMasks) -> np.ndarray:
    return masks.logits_bnhw[:, 0, 2::4, 2::4].numpy()


def _frames_of(goldens: Mapping[str, np.ndarray], scenario: str) -> set[int]:
    return {int(key.removeprefix(f"{scenario}/f")) for key in goldens if key.startswith(f"{scenario}/f")}


def test_box(session: Session, golden_of: MakeCheck, nano_video: Mapping[str, np.ndarray]) -> None:
    check = golden_of("box")
    check(session.add_prompt(0, 1, box=BOX))
    seen = set()
    for masks in session.propagate():
        check(masks)
        seen.add(masks.index)
    assert seen == _frames_of(nano_video, "box") == set(range(48))


def test_mask_prompt(session: Session, golden_of: MakeCheck) -> None:
    mask = np.zeros((256, 256), bool)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    golden_of("mask_prompt")(session.add_prompt(0, 1, mask=mask))
    check = golden_of("mask")
    for masks in session.propagate(stop=11):
        check(masks)


def test_two_objects_in_the_order_they_were_added(session: Session, golden_of: MakeCheck) -> None:
    session.add_prompt(0, 5, points=[P])
    session.add_prompt(0, 2, points=[Q, P], labels=[1, 0])
    check = golden_of("two")
    for masks in session.propagate(stop=23):
        check(masks)


def test_reverse(golden_nano: SAM2, clip: np.ndarray, golden_of: MakeCheck) -> None:
    session = Session(clip, golden_nano, policy="recency")
    session.add_prompt(20, 1, box=BOX)
    check = golden_of("reverse")
    seen = []
    for masks in session.propagate(direction="backward"):
        check(masks)
        seen.append(masks.index)
    assert seen == list(range(20, -1, -1))


def test_correction(session: Session, golden_of: MakeCheck) -> None:
    session.add_prompt(0, 1, points=[P])
    check = golden_of("correct_before")
    for masks in session.propagate(stop=23):
        check(masks)
    golden_of("correct_click")(session.add_prompt(12, 1, points=[Q], labels=[0]))
    check = golden_of("correct_after")
    for masks in session.propagate(12, 23):
        check(masks)


def test_object_added_after_tracking(session: Session, golden_of: MakeCheck) -> None:
    session.add_prompt(0, 1, box=BOX)
    check = golden_of("late_first")
    for masks in session.propagate(stop=8):
        check(masks)
    golden_of("late_prompt")(session.add_prompt(8, 9, points=[Q]))
    check = golden_of("late_both")
    for masks in session.propagate(8, 23):
        check(masks)


@pytest.mark.parametrize(
    ("scenario", "prompt", "weight"),
    [("samurai_box", {"box": BOX}, 0.25), ("samurai_point", {"points": [P]}, 0.15)],
)
def test_samurai(
    golden_nano: SAM2,
    forward_clip: np.ndarray,
    goldens: Path,
    assert_equal_masks: Callable[..., None],
    scenario: str,
    prompt: dict[str, object],
    weight: float,
) -> None:
    """Masks, scores, the filter's mean and the count of stable frames, on every frame.

    One object, prompted on frame 0 and tracked forwards: the ground on which the published code works.
    """
    with np.load(goldens / "nano_samurai.npz") as file:
        golden = {key.removeprefix(f"{scenario}/"): file[key] for key in file.files if key.startswith(f"{scenario}/")}
    session = Session(forward_clip, golden_nano, policy="samurai", kf_score_weight=weight)
    session.add_prompt(0, 1, **prompt)  # type: ignore[arg-type]
    scored = 0
    for masks in session.propagate():
        number = f"f{masks.index:03d}"
        assert_equal_masks(_samples(masks), golden[number], f"{scenario}/{number}")

        motion = Motion.unpack(session._tracks[1].state)
        mean = np.zeros(0) if motion.filter is None else motion.filter.mean
        np.testing.assert_allclose(mean, golden[f"kf_mean_{number}"], atol=0.5, rtol=0)
        assert motion.stable_frames == int(golden[f"stable_{number}"]), number

        ours = masks[1]
        if masks.index == 0:
            continue  # the reference's scores of a prompt frame aren't in the goldens
        assert ours.scores.predicted_iou == pytest.approx(float(golden[f"best_iou_score_{number}"][0]), abs=0.02), (
            number
        )
        assert ours.scores.object_score == pytest.approx(float(golden[f"object_score_logits_{number}"][0]), abs=0.02), (
            number
        )
        theirs = golden.get(f"kf_score_{number}")
        assert (theirs is None) == (ours.scores.motion_score is None), number
        if theirs is not None:
            assert ours.scores.motion_score == pytest.approx(float(theirs[0]), abs=0.02), number
            scored += 1
    assert scored >= 20


@pytest.mark.slow
@pytest.mark.parametrize(("version", "last"), [("sam2.1", 9), ("sam2", 3)])
def test_released_size(
    goldens: Path, clip: np.ndarray, assert_equal_masks: Callable[..., None], version: str, last: int
) -> None:
    """Two objects, both versions of the network, another input size than its own, a clip shorter than its memory.

    What the versions differ in takes part from the second frame on.
    """
    frames = np.stack([cv2.resize(frame, (512, 512), interpolation=cv2.INTER_CUBIC) for frame in clip[:10]])
    with Image.open(goldens / "frame0_of_512_runs.png") as first:
        frames[0] = np.asarray(first)
    session = Session(
        frames,
        with_recipe_weights(f"{version}-tiny"),
        policy="recency",
        resolution=512,
        stability_fallback=False,
        binarize_prompts=False,
        short_clip_pointers=True,
    )
    session.add_prompt(0, 1, box=(100, 120, 300, 400))
    session.add_prompt(0, 7, points=[(260, 250), (60, 60)], labels=[1, 0])
    with np.load(goldens / f"video_{version}_tiny_512.npz") as golden:
        assert session.object_ids == golden["ids"].tolist()
        for masks in session.propagate(stop=last):
            logits = masks.logits_bnhw[:, 0, ::4, ::4].numpy()
            assert_equal_masks(logits, golden[f"f{masks.index}"], f"{version} f{masks.index}")
