"""Sessions: prompts on any frame for any object, propagation in any direction, corrections, and what stays bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.models.sam2 import SAM2
from masklet.prompts import Prompt, prompts_after
from masklet.results import FrameMasks, ObjectMask, Scores
from masklet.tracking.session import Session
from masklet.weights.loading import load_model

pytestmark = pytest.mark.slow

BOX = (28, 78, 120, 208)
P, Q, R = (110, 130), (24, 120), (200, 40)
SIZE = 128
POLICIES = pytest.mark.parametrize("policy", ["samurai", "recency"])


@pytest.fixture(scope="module")
def nano() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def frames(clip_256_frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(clip_256_frames)


@pytest.fixture
def make_session(nano: SAM2, frames: np.ndarray) -> Any:
    def make(count: int = 16, **settings: Any) -> Session:
        return Session(frames[:count], nano, **{"resolution": SIZE, **settings})

    return make


def run(session: Session, *args: Any, **kwargs: Any) -> dict[int, FrameMasks]:
    return {masks.index: masks for masks in session.propagate(*args, **kwargs)}


def same(a: FrameMasks, b: FrameMasks) -> bool:
    """Whether two frames' masks and scores are equal bit for bit."""
    if a.index != b.index or list(a.objects) != list(b.objects):
        return False
    return all(
        torch.equal(x.low_res_logits_hw, y.low_res_logits_hw)
        and (x.scores, x.candidate, x.is_prompt, x.painted) == (y.scores, y.candidate, y.is_prompt, y.painted)
        for x, y in zip(a, b, strict=True)
    )


def close(a: ObjectMask, b: ObjectMask) -> bool:
    """Equal but for the rounding of another batch size, which memories in bfloat16 amplify."""
    error = (a.low_res_logits_hw - b.low_res_logits_hw).abs()
    return bool(error.mean() < 0.01) and bool(error.max() < 0.1)


# --- directions and ranges -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, range(3, 8)),
        ({"start": 5}, range(5, 8)),
        ({"start": 5, "stop": 6}, range(5, 7)),
        ({"start": 5, "stop": 5}, range(5, 6)),
        ({"stop": 4}, range(3, 5)),
        ({"start": 0}, range(8)),
        ({"direction": "backward"}, range(6, -1, -1)),
        ({"direction": "backward", "start": 5, "stop": 2}, range(5, 1, -1)),
        ({"direction": "backward", "start": 0}, range(0, 1)),
        ({"direction": "both"}, [*range(3, 8), *range(2, -1, -1)]),
        ({"direction": "both", "start": 5}, [*range(5, 8), *range(4, -1, -1)]),
        ({"direction": "both", "start": 0}, range(8)),
        ({"direction": "both", "start": 7}, range(7, -1, -1)),
    ],
)
def test_frames_in_order(make_session: Any, given: dict[str, Any], expected: Any) -> None:
    session = make_session(8, resolution=64)
    session.add_prompt(3, 1, box=BOX)
    session.add_prompt(6, 2, points=[Q])
    seen = list(session.propagate(**given))
    assert [masks.index for masks in seen] == list(expected)
    assert all(list(masks.objects) == [1, 2] for masks in seen)
    assert all(masks.time == session.video.time_of(masks.index) for masks in seen)
    assert set(session.tracked_frames(1)) == {*expected, 3}


def test_both_is_forwards_and_then_backwards(make_session: Any) -> None:
    both = make_session(12)
    both.add_prompt(5, 1, box=BOX)
    masks = run(both, direction="both")
    in_turn = make_session(12)
    in_turn.add_prompt(5, 1, box=BOX)
    expected = run(in_turn) | run(in_turn, direction="backward")
    assert masks.keys() == expected.keys()
    assert all(same(masks[i], expected[i]) for i in masks)


def test_each_object_can_go_its_own_way(make_session: Any) -> None:
    session = make_session(10)
    session.add_prompt(0, 1, box=BOX)
    session.add_prompt(9, 2, points=[Q])
    first = run(session, objects=[1])
    second = run(session, objects=[2], direction="backward")
    assert all(list(masks.objects) == [1] for masks in first.values())
    assert all(list(masks.objects) == [2] for masks in second.values())
    alone = make_session(10)
    alone.add_prompt(0, 1, box=BOX)
    assert all(same(first[i], masks) for i, masks in run(alone).items())
    assert list(session.masks(4).objects) == [1, 2]
    assert same(FrameMasks(4, {1: session.masks(4)[1]}), first[4])


# --- several objects -----------------------------------------------------------------------------------------------


@POLICIES
def test_several_objects_equal_each_alone(make_session: Any, policy: str) -> None:
    prompts = {4: {"box": BOX}, 2: {"points": [Q]}, 7: {"points": [R, P], "labels": [1, 0]}}
    together = make_session(8, policy=policy)
    for object_id, prompt in prompts.items():
        together.add_prompt(0, object_id, **prompt)
    masks = run(together)
    assert together.object_ids == [4, 2, 7]
    in_pairs = make_session(8, policy=policy)
    in_pairs.engine.objects_at_once = 2
    for object_id, prompt in prompts.items():
        in_pairs.add_prompt(0, object_id, **prompt)
    paired = run(in_pairs)
    for object_id, prompt in prompts.items():
        alone = make_session(8, policy=policy)
        alone.add_prompt(0, object_id, **prompt)
        for index, own in run(alone).items():
            assert close(own[object_id], masks[index][object_id]), (object_id, index)
            assert close(own[object_id], paired[index][object_id]), (object_id, index)


def test_objects_share_one_image_encoding(make_session: Any, monkeypatch: pytest.MonkeyPatch, nano: SAM2) -> None:
    encoded = []
    encode = nano.encode_image
    monkeypatch.setattr(nano, "encode_image", lambda *seen: encoded.append(1) or encode(*seen))
    session = make_session(6, resolution=64)
    for object_id in range(3):
        session.add_prompt(0, object_id, points=[P])
    run(session)
    assert len(encoded) == 6


def test_objects_come_and_go_while_tracking(make_session: Any) -> None:
    """Between two frames of a running propagation: a new object, a correction, an object less."""
    session = make_session(12)
    session.add_prompt(0, 1, box=BOX)
    ids = {}
    for masks in session.propagate():
        ids[masks.index] = list(masks.objects)
        if masks.index == 3:
            session.add_prompt(3, 2, points=[Q])
        if masks.index == 5:
            session.add_prompt(9, 1, points=[P])
        if masks.index == 7:
            session.remove_object(2)
    assert ids == {i: [1, 2] if 4 <= i <= 7 else [1] for i in range(12)}
    assert session.masks(9)[1].is_prompt
    assert session.masks(8).objects.keys() == {1}

    in_steps = make_session(12)
    in_steps.add_prompt(0, 1, box=BOX)
    run(in_steps, stop=3)
    in_steps.add_prompt(3, 2, points=[Q])
    run(in_steps, 4, 5)
    in_steps.add_prompt(9, 1, points=[P])
    run(in_steps, 6, 7)
    in_steps.remove_object(2)
    run(in_steps, 8)
    assert all(same(session.masks(i), in_steps.masks(i)) for i in range(12))


def test_the_last_object_gone_ends_a_propagation(make_session: Any) -> None:
    session = make_session(6, resolution=64)
    session.add_prompt(0, 1, box=BOX)
    seen = []
    for masks in session.propagate():
        seen.append(masks.index)
        if masks.index == 2:
            session.remove_object(1)
    assert seen == [0, 1, 2]


def test_removing_an_object_changes_nothing_for_the_others(make_session: Any) -> None:
    session = make_session(10)
    session.add_prompt(0, 1, box=BOX)
    session.add_prompt(0, 2, points=[Q])
    run(session, stop=4)
    session.remove_object(1)
    rest = run(session, 5)
    alone = make_session(10)
    alone.add_prompt(0, 2, points=[Q])
    expected = run(alone)
    assert all(close(rest[i][2], expected[i][2]) for i in rest)
    assert 1 not in session.masks(2).objects
    with pytest.raises(UnknownObjectError):
        session.tracked_frames(1)


# --- corrections ---------------------------------------------------------------------------------------------------


@POLICIES
def test_a_correction_decides_its_frame_and_steers_what_follows(make_session: Any, policy: str) -> None:
    session = make_session(9, policy=policy)
    session.add_prompt(0, 1, points=[P])
    before = run(session)
    corrected = session.add_prompt(6, 1, points=[Q], labels=[0])
    assert not same(corrected, before[6])
    assert corrected[1].is_prompt
    # Nothing but its own frame has changed yet; earlier frames never do.
    assert all(same(session.masks(i), before[i]) for i in range(9) if i != 6)
    after = run(session, 6)
    assert same(after[6], corrected)
    assert all(not same(after[i], before[i]) for i in range(7, 9))
    assert all(same(session.masks(i), before[i]) for i in range(6))
    # Passing over it again, from either side, leaves it as it is.
    assert same(run(session)[6], corrected)
    assert same(run(session, 8, direction="backward")[6], corrected)


@pytest.mark.parametrize("click", [(24, 20), (200, 120), (140, 230)])
def test_a_click_that_takes_nothing_away_leaves_the_mask_as_it_is(make_session: Any, click: tuple[int, int]) -> None:
    """The network sees what the mask means, not only its outline: a click beside it must not shrink it."""
    session = make_session(8)
    session.add_prompt(0, 1, box=BOX)
    there = run(session)[6][1].mask
    mask = session.add_prompt(6, 1, points=[click], labels=[0])[1].mask
    assert (mask & there).sum() / (mask | there).sum() > 0.85


def test_a_second_click_on_a_corrected_frame_adds_to_the_first(make_session: Any) -> None:
    session = make_session(8)
    session.add_prompt(0, 1, points=[P])
    run(session)
    session.add_prompt(4, 1, points=[Q], labels=[0])
    session.add_prompt(4, 1, points=[R], labels=[0])
    tracked, *clicks = session.prompts(4, 1)
    assert tracked.origin == "tracked"
    assert [click.points for click in clicks] == [(Q,), (R,)]
    assert session.prompt_frames(1) == [0, 4]
    session.add_prompt(4, 1, points=[P], replace=True)
    assert [click.points for click in session.prompts(4, 1)] == [(P,)]
    session.add_prompt(4, 1, mask=np.ones((256, 256), bool))
    assert session.masks(4)[1].mask.all()
    assert [prompt.points for prompt in session.prompts(4, 1)] == [()]


def test_a_click_on_an_untracked_frame_stands_alone(make_session: Any) -> None:
    session = make_session(8)
    session.add_prompt(0, 1, box=BOX)
    ahead = session.add_prompt(5, 1, points=[Q])
    alone = make_session(8)
    assert same(alone.add_prompt(5, 1, points=[Q]), ahead)


@POLICIES
def test_a_correction_means_the_same_in_a_session_that_never_tracked(make_session: Any, policy: str) -> None:
    """The mask that was there and the clicks: what is stored comes to the same mask anywhere."""
    session = make_session(12, policy=policy)
    session.add_prompt(0, 1, points=[P])
    before = run(session)
    clicked = session.add_prompt(6, 1, points=[Q], labels=[0])
    assert session.prompts(6, 1)[0] == Prompt(mask=before[6][1].rle, origin="tracked")
    session.add_prompt(6, 1, points=[R], labels=[0])
    session.add_prompt(6, 1, box=BOX)
    fresh = make_session(12, policy=policy)
    assert same(fresh.set_prompts(6, 1, session.prompts(6, 1)[:2]), clicked)
    assert same(fresh.set_prompts(6, 1, session.prompts(6, 1)), session.masks(6))
    assert same(make_session(12).set_prompts(6, 1, session.prompts(6, 1)), session.masks(6))


def test_what_was_answered_is_not_answered_again(make_session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session(2)
    first = session.add_prompt(0, 1, points=[P])
    session.add_prompt(0, 1, points=[Q], labels=[0])
    said = session.prompts(0, 1)
    decoded = []
    decode = session.model.decode_masks
    monkeypatch.setattr(session.model, "decode_masks", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    assert same(session.set_prompts(0, 1, said), session.masks(0))
    assert not decoded
    further = Prompt(points=(R,), labels=(0,))
    for count in (1, 2):  # hovering: only what is new
        shown = session.preview(0, (*said, further), 1)
        assert len(decoded) == count
    assert session.prompts(0, 1) == said
    assert session.set_prompts(0, 1, (*said, further))[1] == shown
    assert len(decoded) == 3
    assert same(session.set_prompts(0, 1, said[:1]), first)
    assert not session.set_prompts(0, 1, ()).objects


def test_a_preview_corrects_what_is_there_and_keeps_nothing(make_session: Any) -> None:
    session = make_session(6)
    session.add_prompt(0, 1, points=[P])
    run(session)
    before = session.masks(3)
    click = Prompt(points=(Q,), labels=(0,))
    prompts = prompts_after(session.prompts(3, 1), before[1], click)
    shown = [session.preview(3, prompts, 1) for _ in range(2)]
    assert shown[0] == shown[1] != before[1]
    assert same(session.masks(3), before)
    assert session.prompts(3, 1) == ()
    assert session.add_prompt(3, 1, points=[Q], labels=[0])[1] == shown[0]
    with pytest.raises(PromptError, match="nothing to take away"):
        session.preview(3, [click])


def test_another_candidate_can_be_chosen(make_session: Any) -> None:
    session = make_session(6)
    first = session.add_prompt(0, 1, points=[P])[1]
    offered = session.candidates(0, 1)
    assert [mask.candidate for mask in offered] == [0, 1, 2]
    assert offered[first.candidate].rle == first.rle
    other, third = (i for i in range(3) if i != first.candidate)
    for index in (other, third, other):
        chosen = session.choose(0, 1, index)[1]
        assert (chosen.rle, chosen.candidate) == (offered[index].rle, index)
        assert chosen.scores == offered[index].scores
        assert not chosen.painted and chosen.is_prompt
        assert [prompt.origin for prompt in session.prompts(0, 1)] == ["painted", "candidate"]
        assert session.candidates(0, 1) == offered
    fresh = make_session(6)
    fresh.set_prompts(0, 1, session.prompts(0, 1))
    assert fresh.candidates(0, 1) == offered
    expected = run(session)
    assert all(same(masks, expected[i]) for i, masks in run(fresh).items())
    assert session.choose(0, 1, first.candidate)[1] == first
    assert len(session.prompts(0, 1)) == 1
    with pytest.raises(InputError, match="0 to 2"):
        session.choose(0, 1, 3)
    session.add_prompt(0, 1, points=[Q], labels=[0])
    with pytest.raises(InputError, match="only one mask"):
        session.choose(0, 1, 1)


@POLICIES
def test_a_click_typed_ahead_that_only_takes_away_waits_for_tracking(make_session: Any, policy: str) -> None:
    """It comes to what the same click gives once tracking has been there, and tracking goes on from that."""
    ahead, afterwards = make_session(12, policy=policy), make_session(12, policy=policy)
    assert not ahead.add_prompt(6, 1, points=[Q], labels=[0]).objects
    with pytest.raises(InputError, match="nothing to track"):
        ahead.propagate()
    for session in (ahead, afterwards):
        session.add_prompt(0, 1, points=[P])
    assert ahead.prompt_frames(1) == [0, 6]
    found = run(ahead)
    run(afterwards, stop=6)
    corrected = afterwards.add_prompt(6, 1, points=[Q], labels=[0])
    expected = run(afterwards, 7)
    assert same(found[6], corrected)
    assert all(same(found[i], masks) for i, masks in expected.items())
    assert ahead.prompts(6, 1) == afterwards.prompts(6, 1)
    assert [prompt.origin for prompt in ahead.prompts(6, 1)] == ["tracked", "painted"]


def test_clicks_that_wait_can_be_taken_back_and_join_what_shows_the_object(make_session: Any) -> None:
    session, at_once = make_session(8), make_session(8)
    session.add_prompt(0, 1, points=[P])
    session.add_prompt(4, 1, points=[Q], labels=[0])
    session.clear_prompts(4, 1)
    assert session.prompt_frames(1) == [0]
    session.add_prompt(4, 1, points=[Q], labels=[0])
    joined = session.add_prompt(4, 1, points=[P])
    assert same(joined, at_once.add_prompt(4, 1, points=[Q, P], labels=[0, 1]))


def test_a_mask_is_given_back_as_it_was_painted(make_session: Any) -> None:
    """A wire of four pixels, which is less than a cell of the network's grid, and a ragged edge."""
    wire = np.zeros((256, 256), bool)
    wire[100:104, 20] = True
    ragged = np.random.default_rng(0).random((256, 256)) < np.linspace(0, 1, 256)
    session = make_session(6)
    for object_id, mask in enumerate((wire, ragged)):
        found = session.add_prompt(2, object_id, mask=mask)[object_id]
        np.testing.assert_array_equal(found.mask, mask)
        assert found.painted and not found.lost
        assert found.scores == Scores(predicted_iou=1.0)
    found = run(session)[2]
    np.testing.assert_array_equal(found[0].mask, wire)
    np.testing.assert_array_equal(found[1].mask, ragged)
    run(session, direction="backward")
    np.testing.assert_array_equal(session.masks(2)[1].mask, ragged)


def test_the_tracked_mask_comes_back_when_a_painted_one_is_taken_back(make_session: Any) -> None:
    session = make_session(8)
    session.add_prompt(0, 1, points=[P])
    before = run(session)
    session.add_prompt(4, 1, mask=np.ones((256, 256), bool))
    session.add_prompt(4, 1, points=[Q], labels=[0])
    assert session.prompts(4, 1)[0].mask == before[4][1].rle, "also for whoever reads the prompts later"
    assert same(session.clear_prompts(4, 1), before[4])


def test_pictures_from_elsewhere_and_features_within_bounds(nano: SAM2, frames: np.ndarray) -> None:
    asked = []
    session = Session(
        frames[:8], nano, resolution=64, feature_bytes=1, picture=lambda frame: asked.append(frame) or frames[frame]
    )
    for frame in (0, 1, 0, 2, 0, 1):
        session.encode(frame)
    assert asked == [0, 1, 2, 1]
    assert list(session._features) == [(0, None), (1, None)]
    roomy = Session(frames[:8], nano, resolution=64, feature_bytes=64 << 20)
    for frame in range(8):
        roomy.encode(frame)
    assert len(roomy._features) == 8


def test_earlier_clicks_count_again_when_a_correction_is_taken_back(make_session: Any) -> None:
    session = make_session(10)
    session.add_prompt(0, 1, points=[P])
    before = run(session)
    session.add_prompt(5, 1, points=[Q], labels=[0])
    run(session, 5)
    restored = session.clear_prompts(5, 1)
    assert same(restored, before[5])
    again = run(session, 5)
    assert all(same(again[i], before[i]) for i in again)
    assert session.prompt_frames(1) == [0]


def test_without_prompts_an_object_has_no_masks_but_its_id(make_session: Any) -> None:
    session = make_session(6, resolution=64)
    session.add_prompt(0, 1, box=BOX)
    session.add_prompt(0, 2, points=[Q])
    run(session)
    assert list(session.clear_prompts(0, 1).objects) == [2]
    assert session.object_ids == [1, 2]
    assert session.tracked_frames(1) == []
    assert all(list(masks.objects) == [2] for masks in run(session).values())
    session.clear_prompts(0, 2)
    with pytest.raises(InputError, match="nothing to track"):
        session.propagate()
    # It can be prompted again, and then it is as good as new.
    session.add_prompt(2, 1, box=BOX)
    fresh = make_session(6, resolution=64)
    fresh.add_prompt(2, 1, box=BOX)
    expected = run(fresh)
    assert all(same(masks, expected[i]) for i, masks in run(session).items())


def test_reset(make_session: Any) -> None:
    session = make_session(8)
    session.add_prompt(0, 1, points=[Q])
    session.add_prompt(3, 2, points=[P])
    run(session)
    session.reset()
    assert session.object_ids == []
    assert len(session.masks(3)) == 0
    session.add_prompt(0, 1, box=BOX)
    fresh = make_session(8)
    fresh.add_prompt(0, 1, box=BOX)
    expected = run(fresh)
    assert all(same(masks, expected[i]) for i, masks in run(session).items())


def test_an_empty_mask_says_that_the_object_is_not_here(make_session: Any) -> None:
    session = make_session(8)
    empty = np.zeros((256, 256), bool)
    with pytest.raises(PromptError, match="nothing else shows the object"):
        session.add_prompt(0, 1, mask=empty)
    assert session.object_ids == []
    session.add_prompt(0, 1, box=BOX)
    run(session)
    gone = session.add_prompt(4, 1, mask=empty)
    assert gone[1].lost and gone[1].painted
    assert not gone[1].mask.any()
    assert gone[1].box_xyxy is None
    assert same(run(session, 4)[4], gone)


# --- going on ------------------------------------------------------------------------------------------------------


@POLICIES
def test_tracking_goes_on_from_anywhere_as_if_never_stopped(make_session: Any, policy: str) -> None:
    """Memories that left the bank come back from disk, so the second half is the same bit for bit."""
    straight, stopped = make_session(20, policy=policy), make_session(20, policy=policy)
    for session in (straight, stopped):
        session.add_prompt(0, 1, points=[P])
        session.add_prompt(3, 2, points=[Q])
    expected = run(straight)
    run(stopped, stop=17)
    run(stopped, 2, 5)  # elsewhere in between
    for again in (11, 4, 17):
        resumed = run(stopped, again, min(again + 8, 19))
        assert all(same(masks, expected[i]) for i, masks in resumed.items()), again
    assert all(same(stopped.masks(i), expected[i]) for i in range(20))


def test_an_abandoned_propagation_leaves_a_usable_session(make_session: Any) -> None:
    session = make_session(10)
    session.add_prompt(0, 1, box=BOX)
    for masks in session.propagate():
        if masks.index == 4:
            break
    assert session.tracked_frames(1) == [0, 1, 2, 3, 4]
    straight = make_session(10)
    straight.add_prompt(0, 1, box=BOX)
    expected = run(straight)
    assert all(same(masks, expected[i]) for i, masks in run(session, 5).items())


_FRESH = """
import sys, numpy as np
from masklet.weights.loading import load_model
from masklet.tracking.session import Session
session = Session(np.load(sys.argv[1]), load_model("nano", device="cpu", dtype="float32"), resolution=128)
session.add_prompt(0, 1, points=[(110, 130)])
np.save(sys.argv[2], np.stack([m[1].low_res_logits_hw.numpy() for m in session.propagate()]))
"""


def test_a_second_video_in_a_process_is_like_the_first_in_a_fresh_one(
    make_session: Any, nano: SAM2, frames: np.ndarray, tmp_path: Path
) -> None:
    first = make_session(10)
    first.add_prompt(0, 1, box=BOX)
    first.add_prompt(0, 2, points=[Q])
    run(first)
    second = frames[20:30, ::-1].copy()
    session = Session(second, nano, resolution=SIZE)
    session.add_prompt(0, 1, points=[P])
    found = np.stack([masks[1].low_res_logits_hw.numpy() for masks in session.propagate()])

    np.save(tmp_path / "video.npy", second)
    arguments = [str(tmp_path / "video.npy"), str(tmp_path / "masks.npy")]
    subprocess.run([sys.executable, "-c", _FRESH, *arguments], check=True, timeout=600)
    np.testing.assert_array_equal(found, np.load(tmp_path / "masks.npy"))
