"""DAM4SAM: every rule of the paper on made-up candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from masklet.models.specs import get_spec
from masklet.results import Scores
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies import DAM4SAM, make_policy
from masklet.tracking.policies.base import Moment, Offer, PastFrame
from masklet.tracking.policies.dam4sam import STATE, Resolved

NOTHING = torch.zeros(1, 1, 1, 1)
POLICY = DAM4SAM()


def moment(frame: int, step: int = 1) -> Moment:
    return Moment(frame, step, num_memories=7, max_pointers=16)


def square(x: int, y: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((64, 64), bool)
    mask[y : y + side, x : x + side] = True
    return mask


SETTLED = Resolved(sizes=(100, 100))
OBJECT, TWIN, EMPTY = square(10, 10), square(40, 12), np.zeros((64, 64), bool)


def after(
    masks: list[np.ndarray],
    frame: int = 20,
    known: Resolved = SETTLED,
    ious: tuple[float, ...] = (0.9, 0.5, 0.4),
    policy: DAM4SAM = POLICY,
) -> Resolved:
    """What is known after a frame with these candidates."""

    def never(index: int) -> Any:
        raise AssertionError("nobody needs boxes")

    choice = policy.choose(
        [Offer(ious, 5.0, never, masks.__getitem__)], MemoryBank(), STATE.dump_json(known), moment(frame)
    )
    assert choice.kept == ((0, int(np.argmax(ious))),)
    return STATE.validate_json(choice.state)


def bank_of(frames: list[int], lost: tuple[int, ...] = (), prompts: tuple[int, ...] = (0,)) -> MemoryBank:
    bank = MemoryBank()
    for t in prompts:
        bank.add(FrameMemory(t, NOTHING, NOTHING, Scores(9.0, 1.0), is_prompt=True))
    for t in frames:
        bank.add(FrameMemory(t, NOTHING, NOTHING, Scores(-1.0 if t in lost else 5.0, 0.9)))
    return bank


def read(bank: MemoryBank, at: Moment, *anchors: int) -> dict[int, int]:
    """Slots by frame, and nothing is read twice."""
    [selection] = POLICY.select(bank, STATE.dump_json(Resolved(anchors)), at)
    slots = {memory.frame: slot for slot, memory in selection.frames}
    assert len(slots) == len(selection.frames)
    return slots


# --- resolved look-alikes (section 3.2.2) --------------------------------------------------------------------------


def test_a_frame_with_a_look_alike_is_kept() -> None:
    assert after([OBJECT, OBJECT | TWIN, EMPTY]).anchors == (20,)
    assert after([OBJECT, TWIN, EMPTY]).anchors == (20,), "alone, it is one as well"


def test_a_frame_without_one_is_not() -> None:
    assert after([OBJECT, OBJECT, EMPTY]).anchors == ()
    assert after([OBJECT, OBJECT | square(12, 19, 4), EMPTY]).anchors == (), "the box hardly grows"


def test_only_the_largest_part_of_another_candidate_counts() -> None:
    near = OBJECT | square(20, 10, 3)  # makes the box a little wider
    assert after([OBJECT, near | square(60, 60, 2), EMPTY]).anchors == ()


def test_it_must_be_seen_well() -> None:
    assert after([OBJECT, TWIN, EMPTY], ious=(0.8, 0.5, 0.4)).anchors == ()
    assert after([OBJECT, TWIN, EMPTY], ious=(0.7, 0.5, 0.4), policy=DAM4SAM(anchor_iou=0.6)).anchors == (20,)


@pytest.mark.parametrize(("before", "kept"), [(124, True), (126, False), (84, True), (82, False)])
def test_it_must_be_as_large_as_usual(before: int, kept: bool) -> None:
    known = Resolved(sizes=(before,) * 9)  # of the mask's 100 pixels, 0.8 to 1.2 times the median
    assert bool(after([OBJECT, TWIN, EMPTY], known=known).anchors) == kept


def test_of_the_first_mask_nobody_knows_whether_it_is_usual() -> None:
    assert after([OBJECT, TWIN, EMPTY], known=Resolved()).anchors == ()


def test_the_usual_size_is_that_of_the_last_ten_masks_that_show_something() -> None:
    known = Resolved(sizes=(9000,) * 5 + (100,) * 5)
    assert after([OBJECT, OBJECT, EMPTY], known=known).sizes == (9000,) * 4 + (100,) * 6
    assert after([EMPTY, TWIN, OBJECT], known=known) == known, "an empty mask tells nothing"


@pytest.mark.parametrize(("last", "kept"), [(15, False), (14, True), (25, False), (26, True)])
def test_some_frames_pass_between_two(last: int, kept: bool) -> None:
    known = Resolved((last,), (100, 100))
    assert (20 in after([OBJECT, TWIN, EMPTY], known=known).anchors) == kept


def test_the_prompt_and_the_latest_three_are_kept() -> None:
    known = Resolved((2, 8, 14), (100, 100))
    assert after([OBJECT, TWIN, EMPTY], known=known).anchors == (8, 14, 20)
    assert after([OBJECT, TWIN, EMPTY], policy=DAM4SAM(distractor_frames=1)).anchors == ()


def test_a_prompt_begins_anew() -> None:
    offer = Offer((0.2, 0.9), 5.0, [].__getitem__, [OBJECT, TWIN].__getitem__)
    choice = POLICY.choose([offer], MemoryBank(), b"", moment(5, 0))
    assert choice.kept == ((0, 1),) and choice.state == b""


# --- recent appearances (section 3.2.1) ----------------------------------------------------------------------------


def test_the_frame_just_before_and_every_fifth_are_read() -> None:
    assert read(bank_of([*range(1, 40)]), moment(40)) == {0: 6, 39: 0, 35: 1, 30: 2, 25: 3, 20: 4, 15: 5}
    assert read(bank_of([*range(1, 36)]), moment(36)) == {0: 6, 35: 0, 30: 1, 25: 2, 20: 3, 15: 4, 10: 5}


def test_the_stride_is_counted_from_the_prompt_in_both_directions() -> None:
    bank = bank_of([*range(60, 100)], prompts=(100,))
    assert read(bank, moment(59, -1)) == {100: 6, 60: 0, 65: 1, 70: 2, 75: 3, 80: 4, 85: 5}
    assert read(bank_of([*range(8, 20)], prompts=(7,)), moment(20)) == {7: 6, 19: 0, 17: 1, 12: 2}


def test_frames_that_do_not_show_the_object_are_passed_over() -> None:
    bank = bank_of([*range(1, 40)], lost=(39, 38, 30))
    assert read(bank, moment(40)) == {0: 6, 37: 0, 35: 1, 25: 2, 20: 3, 15: 4, 10: 5}
    [selection] = POLICY.select(bank, b"", moment(40))
    assert [d for d, _ in selection.pointers] == [40, *range(3, 10), *range(11, 16)]


def test_kept_frames_have_no_place_in_time_and_take_the_room_of_recent_ones() -> None:
    bank = bank_of([*range(1, 40)])
    assert read(bank, moment(40), 4, 20, 39) == {0: 6, 4: 6, 20: 6, 39: 6, 38: 0, 35: 1, 30: 2}
    [selection] = POLICY.select(bank, STATE.dump_json(Resolved((4,))), moment(40))
    assert [(d, m.frame) for d, m in selection.pointers][:3] == [(40, 0), (36, 4), (1, 39)]


def test_something_recent_is_always_read() -> None:
    policy = DAM4SAM(distractor_frames=9)
    [selection] = policy.select(bank_of([*range(1, 40)]), STATE.dump_json(Resolved((1, 2, 3, 4, 5, 6, 7))), moment(40))
    assert [memory.frame for slot, memory in selection.frames if slot < 6] == [39]


# --- forgetting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, -1])
def test_what_is_out_of_reach_is_never_read_and_memory_is_bounded(step: int) -> None:
    rng = np.random.default_rng(0)
    start = 0 if step > 0 else 400
    whole, trimmed = bank_of([], prompts=(start,)), bank_of([], prompts=(start,))
    known = Resolved()
    for passed in range(1, 300):
        at = moment(start + step * passed, step)
        if passed == 150:  # as if a prompt had been passed
            known = Resolved()
        trimmed.keep(POLICY.reach([start], trimmed.recent_scores, STATE.dump_json(known), at))
        assert POLICY.select(whole, STATE.dump_json(known), at) == POLICY.select(trimmed, STATE.dump_json(known), at)
        assert len(trimmed.recent) < 16 + 7 + 3
        candidates = [OBJECT, TWIN if rng.random() < 0.2 else EMPTY, EMPTY]
        lost = rng.random() < 0.3
        choice = POLICY.choose(
            [Offer((0.9, 0.5, 0.4), 5.0, [].__getitem__, candidates.__getitem__)], trimmed, STATE.dump_json(known), at
        )
        known = known if lost else STATE.validate_json(choice.state)
        for bank in (whole, trimmed):
            bank.add(FrameMemory(at.frame, NOTHING, NOTHING, Scores(-1.0 if lost else 5.0, 0.9)))
    assert len(known.anchors) == 3


def test_defaults_and_words() -> None:
    assert make_policy("dam4sam", get_spec("tiny")) == DAM4SAM()
    assert make_policy("dam4sam", get_spec("nano")) == DAM4SAM(distractor_frames=2), "of four frames, two"
    assert "look-alike" in POLICY.why_read(PastFrame(30, kept=True))
    assert "prompts" in POLICY.why_read(PastFrame(30, is_prompt=True, kept=True))
    assert "distance of 5" in POLICY.why_read(PastFrame(7))
    assert "not visible" in POLICY.why_not_read(PastFrame(5, scores=Scores(-2.0, 0.9)))
    assert "too long ago" in POLICY.why_not_read(PastFrame(90, scores=Scores(2.0, 0.9), crowded_out=True))
    assert "every 5th" in POLICY.why_not_read(PastFrame(3, scores=Scores(2.0, 0.9)))


@pytest.mark.parametrize("state", [b"x", b"7", b'{"anchors": 1}', b'{"anchors": ["a"]}', b'{"sizes": [0.5]}'])
def test_a_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        POLICY.check_state(state)
