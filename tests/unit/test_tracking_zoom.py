"""Small objects through a window that follows them: where it is, what is remembered, and what it is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from masklet.cli import app
from masklet.errors import InputError
from masklet.models.sam2 import SAM2
from masklet.models.shape import CERTAIN
from masklet.project import Project
from masklet.results import Window
from masklet.tracking.policies import POLICIES
from masklet.tracking.session import Session
from masklet.tracking.state import export_state, import_state
from masklet.tracking.track import FrameSize
from masklet.tracking.windows import Extent, moved
from masklet.tracking.zoom import SMALLEST, next_window
from masklet.weights.loading import load_model

FRAME = FrameSize(1600, 900)
BOX = (28, 78, 120, 208)
#: Where the real clip lies in the canvas of `small_clip`.
AT = (500, 300)
SMALL_BOX = (AT[0] + BOX[0], AT[1] + BOX[1], AT[0] + BOX[2], AT[1] + BOX[3])


@pytest.fixture(scope="module")
def nano() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def small_clip(clip_256_frames: list[np.ndarray]) -> np.ndarray:
    """Twelve real frames of 256 pixels in the middle of a blurred picture of 1280x1024: uint8 RGB."""
    background = cv2.GaussianBlur(cv2.resize(clip_256_frames[-1][:, ::-1], (1280, 1024)), (0, 0), 30)
    frames = np.repeat(background[None], 12, axis=0)
    frames[:, AT[1] : AT[1] + 256, AT[0] : AT[0] + 256] = clip_256_frames[:12]
    return frames


def open_session(nano: SAM2, frames: np.ndarray, **settings: Any) -> Session:
    return Session(frames, nano, **{"resolution": 128, "zoom": True, **settings})


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


# --- where it looks --------------------------------------------------------------------------------------------


def look(window: Window | None, *box: float) -> Window | None:
    x1, y1, x2, y2 = box
    return next_window(window, Extent((x1, y1, x2, y2), 0.7 * (x2 - x1) * (y2 - y1)), FRAME, 256, 16)


def test_a_small_object_has_a_window_around_it_and_a_large_one_the_whole_frame() -> None:
    window = look(None, 800, 400, 880, 460)
    assert window is not None
    assert abs(window.x + window.width / 2 - 840) < 1
    assert abs(window.y + window.width / 2 - 430) < 1
    assert 1.8 * 80 <= window.width <= 4.5 * 80
    assert look(None, 400, 100, 900, 800) is None


def test_a_window_stays_while_the_object_is_well_inside_and_keeps_its_size_when_it_follows() -> None:
    window = look(None, 800, 400, 880, 460)
    assert window is not None
    assert look(window, 820, 405, 901, 466) == window
    moved_on = look(window, window.x + window.width - 60, 400, window.x + window.width + 20, 460)
    assert moved_on is not None
    assert moved_on.width == window.width
    assert moved_on.x > window.x


def test_a_window_changes_its_size_with_the_object_and_goes_where_it_is_no_longer_small() -> None:
    window = look(None, 800, 400, 880, 460)
    assert window is not None
    larger = look(window, 760, 380, 920, 500)
    assert larger is not None
    assert larger.width > window.width
    # What is already looked at through a window may be larger than what gets one.
    between = (600.0, 300.0, 840.0, 540.0)
    assert look(None, *between) is None
    assert look(larger, *between) is not None
    assert look(larger, 500, 200, 1100, 800) is None


def test_windows_lie_in_the_frame_and_are_not_smaller_than_is_of_use() -> None:
    assert look(None, 0, 890, 10, 900) == Window(0, 900 - round(256 * SMALLEST), *[round(256 * SMALLEST)] * 2)
    corner = look(None, 1560, 0, 1600, 30)
    assert corner is not None
    assert look(corner, 1565, 0, 1600, 30) == corner, "an edge of the frame is no reason to move"


def test_what_is_not_seen_is_looked_for_where_it_was_seen() -> None:
    assert next_window(Window(5, 6, 200, 200), None, FRAME, 256, 16) == Window(5, 6, 200, 200)
    assert next_window(None, None, FRAME, 256, 16) is None


@pytest.mark.parametrize("target", [Window(750, 350, 180, 180), Window(700, 300, 256, 256), None])
def test_a_mask_keeps_its_place_in_the_frame_when_it_is_brought_to_another_window(target: Window | None) -> None:
    source = Window(720, 320, 256, 256)
    logits = torch.full((1, 1, 64, 64), -8.0)
    logits[..., 20:40, 24:44] = 8.0  # in the frame: x 816 to 896, y 400 to 480
    found = moved(logits, source, target, FRAME, (64, 64))
    assert found.shape == logits.shape
    x, y, width, height = (0, 0, 1600, 900) if target is None else (target.x, target.y, target.width, target.height)
    rows, columns = (found[0, 0] > 0).nonzero(as_tuple=True)
    cell = (width / 64, height / 64)
    assert abs(x + columns.min() * cell[0] - 816) <= max(4, cell[0])
    assert abs(x + (columns.max() + 1) * cell[0] - 896) <= max(4, cell[0])
    assert abs(y + rows.min() * cell[1] - 400) <= max(4, cell[1])
    assert abs(y + (rows.max() + 1) * cell[1] - 480) <= max(4, cell[1])
    if target is None:
        assert float(found[0, 0, 0, 0]) == -CERTAIN


# --- with a network --------------------------------------------------------------------------------------------


def test_small_objects_are_followed_better(nano: SAM2, small_clip: np.ndarray, clip_256_frames: Any) -> None:
    sharp = Session(np.stack(clip_256_frames[:8]), nano)
    sharp.add_prompt(0, box=BOX)
    truth = {found.index: found[1].mask for found in sharp.propagate()}
    scores = {}
    for zoom in (False, True):
        session = open_session(nano, small_clip[:8], zoom=zoom, resolution=256)
        session.add_prompt(0, box=SMALL_BOX)
        scores[zoom] = [
            overlap(found[1].mask[AT[1] : AT[1] + 256, AT[0] : AT[0] + 256], truth[found.index])
            for found in session.propagate()
        ]
        outside = session.masks(7)[1].mask.copy()
        outside[AT[1] : AT[1] + 256, AT[0] : AT[0] + 256] = False
        assert not zoom or not outside.any()
    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.1


@pytest.mark.parametrize("policy", POLICIES)
def test_going_on_later_gives_the_same_masks_to_the_bit(nano: SAM2, small_clip: np.ndarray, policy: str) -> None:
    clip = small_clip[:9].copy()
    for frame, side in enumerate((40, 40, 44, 60, 84, 110, 110, 60, 40)):  # grows and shrinks, and goes to the right
        cv2.circle(clip[frame], (200 + 25 * frame, 800), side // 2, (250, 40, 30), -1)

    def begin() -> Session:
        session = open_session(nano, clip, policy=policy)
        session.add_prompt(0, 1, box=(180, 780, 221, 821))
        session.add_prompt(0, 2, box=SMALL_BOX)
        return session

    expected = {found.index: [mask.logits.tobytes() for mask in found] for found in begin().propagate()}
    first = begin()
    for start, cut in ((0, 4), (4, 6)):
        later = open_session(nano, clip, policy=policy)
        for _ in first.propagate(start, cut - 1):
            pass
        import_state(later, export_state(first, [(cut, 1)]).values())
        for found in later.propagate(start=cut):
            assert [mask.logits.tobytes() for mask in found] == expected[found.index], (cut, found.index)
    with pytest.raises(InputError, match="zoom: True then, False now"):
        import_state(open_session(nano, clip, policy=policy, zoom=False), export_state(begin(), [(1, 1)]).values())


@pytest.mark.parametrize(
    "window", [Window(1250, 0, 64, 64), Window(-1, 0, 64, 64), Window(0, 1000, 64, 64), Window(0, 0, 5000, 5000)]
)
def test_windows_outside_of_the_frame_are_refused(nano: SAM2, small_clip: np.ndarray, window: Window) -> None:
    session = open_session(nano, small_clip)
    session.add_prompt(0, box=SMALL_BOX)
    track = session._tracks[1]
    track.prompted[0] = replace(track.prompted[0], window=window)
    states = export_state(session, [(1, 1)])
    with pytest.raises(InputError, match="window of it lies outside"):
        import_state(open_session(nano, small_clip), states.values())


def test_backwards_is_forwards_through_the_reversed_video(nano: SAM2, small_clip: np.ndarray) -> None:
    forwards, backwards = open_session(nano, small_clip[6::-1].copy()), open_session(nano, small_clip[:7])
    forwards.add_prompt(0, box=SMALL_BOX)
    backwards.add_prompt(6, box=SMALL_BOX)
    for a, b in zip(forwards.propagate(), backwards.propagate(direction="backward"), strict=True):
        assert a.index == 6 - b.index
        assert a[1].window == b[1].window
        assert a[1].window is not None
        assert torch.equal(a[1].low_res_logits_hw, b[1].low_res_logits_hw)


def test_every_object_is_looked_at_in_its_own_way(nano: SAM2, clip_256_frames: list[np.ndarray]) -> None:
    clip = np.stack([cv2.resize(frame, (1024, 1024)) for frame in clip_256_frames[:4]])
    for frame, image in enumerate(clip):
        cv2.circle(image, (800 + 6 * frame, 100), 20, (250, 40, 30), -1)
    both, alone = open_session(nano, clip), open_session(nano, clip, zoom=False)
    for session in (both, alone):
        session.add_prompt(0, 1, box=[4 * side for side in BOX])
    both.add_prompt(0, 2, box=(780, 80, 821, 121))
    for found, expected in zip(both.propagate(), alone.propagate(), strict=True):
        assert found[2].window is not None
        assert found[1].window == expected[1].window
        assert torch.equal(found[1].low_res_logits_hw, expected[1].low_res_logits_hw)


def test_corrections_are_seen_through_a_window_or_in_the_whole_frame_where_they_are_far_away(
    nano: SAM2, small_clip: np.ndarray
) -> None:
    session = open_session(nano, small_clip[:5])
    session.add_prompt(0, box=SMALL_BOX)
    for _ in session.propagate():
        pass
    near = session.add_prompt(3, points=[(AT[0] + 70, AT[1] + 140)])[1]
    assert near.window is not None
    assert near.mask[AT[1] + 140, AT[0] + 70]
    said = session.prompts(3, 1)
    other = open_session(nano, small_clip[:5])
    assert other.set_prompts(3, 1, said)[1] == near, "prompts mean the same in any session"
    far = session.add_prompt(3, points=[(20, 20)], labels=[0])[1]
    assert far.window is None or far.window.holds(20, 20)
    assert [found[1].mask.any() for found in session.propagate(start=3)] == [True, True]


def test_a_click_on_a_small_object_is_looked_at_closely(nano: SAM2, small_clip: np.ndarray) -> None:
    clip = small_clip[:2].copy()
    cv2.circle(clip[1], (900, 120), 26, (250, 40, 30), -1)
    session = open_session(nano, clip, resolution=256)
    painted = np.zeros(small_clip.shape[1:3], bool)
    painted[SMALL_BOX[1] + 20 : SMALL_BOX[3] - 10, SMALL_BOX[0] + 20 : SMALL_BOX[2] - 20] = True
    session.add_prompt(0, 1, mask=painted)
    given = session.masks(0)[1]
    assert given.window is not None
    assert np.array_equal(given.mask, painted)
    clicked = session.add_prompt(1, 2, points=[(900, 120)])[2]
    assert clicked.window is not None
    assert all(mask.window == clicked.window for mask in session.candidates(1, 2))
    assert clicked.mask[120, 900]
    assert clicked.area == clicked.window.cut(clicked.mask).sum()


def test_a_small_object_is_found_again_after_it_was_hidden(nano: SAM2, small_clip: np.ndarray) -> None:
    clip = small_clip.copy()
    clip[4:7] = 0
    session = open_session(nano, clip, resolution=256)
    session.add_prompt(0, box=SMALL_BOX)
    found = {masks.index: masks[1] for masks in session.propagate()}
    assert [frame for frame, mask in found.items() if mask.lost] == [4, 5, 6]
    assert overlap(found[8].mask, found[3].mask) > 0.5


def test_corrections_from_memory_and_zoom_exclude_each_other(nano: SAM2, small_clip: np.ndarray) -> None:
    with pytest.raises(InputError, match="leave one of them out"):
        open_session(nano, small_clip, correct_from_memory=True)


def test_projects_keep_it(clip: Path, tmp_path: Path) -> None:
    place = tmp_path / "clip.masklet"
    words = ["track", str(clip), "--box", "40,15,80,60", "--resolution", "128", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--zoom", "--project", str(place)])
    assert done.exit_code == 0, done.output
    with Project.open(place, read_only=True) as project:
        assert project.track_settings.zoom
    assert "samurai, zoom" in CliRunner().invoke(app, ["status", str(place)]).output
