"""Policies as pure functions: which candidate, which memories, and what may be forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.masks.boxes import box_overlap
from masklet.models.specs import ModelSpec, get_spec
from masklet.results import Scores
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.motion import Box, BoxFilter
from masklet.tracking.policies import Policy, Recency, Samurai, make_policy
from masklet.tracking.policies.base import Choice, Moment, Offer, Selection
from masklet.tracking.policies.samurai import Motion

NANO, TINY = get_spec("nano"), get_spec("tiny")
NOTHING = torch.zeros(1, 1, 1, 1)
HERE: Box = (10, 10, 40, 70)
NEAR: Box = (14, 10, 44, 70)
FAR: Box = (200, 200, 230, 260)


def memory(
    frame: int, iou: float = 0.9, score: float = 5.0, motion: float | None = None, *, is_prompt: bool = False
) -> FrameMemory:
    return FrameMemory(frame, NOTHING, NOTHING, Scores(score, iou, motion), is_prompt)


def bank_of(prompts: list[int], recent: list[FrameMemory]) -> MemoryBank:
    bank = MemoryBank()
    for frame in prompts:
        bank.add(memory(frame, is_prompt=True))
    for one in recent:
        if one.frame not in bank.prompts:
            bank.add(one)
    return bank


def moment(frame: int, step: int = 1, spec: ModelSpec = NANO, pointers: int | None = None) -> Moment:
    return Moment(frame, step, spec.num_memories, pointers or spec.max_pointers)


def reach(policy: Policy, bank: MemoryBank, at: Moment, state: bytes = b"") -> set[int]:
    return policy.reach(list(bank.prompts), bank.recent_scores, state, at)


def select(policy: Policy, bank: MemoryBank, at: Moment) -> Selection:
    [selection] = policy.select(bank, b"", at)
    return selection


def box_of(boxes: list[Box | None]) -> Callable[[int], Box | None]:
    return lambda index: boxes[index]


def never(index: int) -> Any:
    raise AssertionError(f"nobody needed candidate {index}")


def choose(policy: Policy, ious: list[float], box_of: Callable[[int], Box | None], motion: Motion) -> Choice:
    """What a policy that only looks at boxes chooses from one reading."""
    return policy.choose([Offer(tuple(ious), 5.0, box_of, never)], MemoryBank(), motion.pack(), moment(9))


def motion_after(choice: Choice) -> Motion:
    return Motion.unpack(choice.state)


def settled(box: Box = HERE, count: int = 15) -> Motion:
    return Motion(BoxFilter.start(box), count)


memories = st.builds(
    memory,
    st.integers(0, 40),
    st.floats(0, 1),
    st.floats(-5, 10),
    st.none() | st.floats(0, 1),
)
banks = st.builds(bank_of, st.lists(st.integers(0, 40), min_size=1, max_size=5), st.lists(memories, max_size=40))
steps = st.sampled_from((1, -1))
policies = st.sampled_from((Recency(), Recency(max_prompt_frames=2), Samurai(), Samurai(max_prompt_frames=1)))


# --- choosing a candidate ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_recency_takes_the_highest_predicted_iou(ious: list[float]) -> None:
    choice = choose(Recency(), ious, never, Motion())
    assert ious[choice.kept[0][1]] == max(ious)
    assert choice.state == b"" and choice.motion_scores is None


def test_samurai_starts_its_filter_at_the_best_candidate() -> None:
    choice = choose(Samurai(), [0.2, 0.1], box_of([HERE, FAR]), Motion())
    assert choice.kept[0][1] == 0  # whatever its predicted IoU
    assert motion_after(choice).stable_frames == 1
    assert motion_after(choice).filter is not None
    assert motion_after(choice).filter.box_xyxy == pytest.approx(HERE)


def test_samurai_waits_with_its_filter_for_a_mask() -> None:
    choice = choose(Samurai(), [0.9, 0.1], box_of([None, FAR]), Motion())
    assert choice.kept[0][1] == 0
    assert motion_after(choice) == Motion()


@settings(deadline=None)
@given(st.integers(1, 14), st.floats(0, 1))
def test_samurai_trusts_predicted_iou_until_settled(count: int, iou: float) -> None:
    before = settled(count=count)
    choice = choose(Samurai(), [iou, iou / 2], box_of([FAR, HERE]), before)
    assert choice.kept[0][1] == 0
    assert choice.motion_scores is None
    assert before.filter is not None
    assert motion_after(choice).filter is not None
    if iou > 0.3:
        assert motion_after(choice).stable_frames == count + 1
        expected = before.filter.predict().update(FAR)
    else:  # not good enough: the count starts again, nothing is learnt
        assert motion_after(choice).stable_frames == 0
        expected = before.filter.predict()
    assert motion_after(choice).filter.mean == pytest.approx(expected.mean)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
def test_samurai_weighs_motion_when_settled(ious: list[float], weight: float) -> None:
    boxes: list[Box | None] = [FAR, NEAR, None]
    state = settled()
    choice = choose(Samurai(kf_score_weight=weight), ious, box_of(boxes), state)
    assert state.filter is not None
    expected = state.filter.predict().box_xyxy
    motion = [0.0 if box is None else box_overlap(expected, box) for box in boxes]
    final = [weight * m + (1 - weight) * iou for m, iou in zip(motion, ious, strict=True)]
    assert choice.motion_scores == pytest.approx(motion)
    assert choice.final_scores == pytest.approx(final)
    assert final[choice.kept[0][1]] == pytest.approx(max(final))
    assert choice.expected_box_xyxy == pytest.approx(expected)
    assert motion_after(choice).stable_frames == (15 if ious[choice.kept[0][1]] >= 0.3 else 0)


def test_motion_decides_between_equals() -> None:
    ious = [0.80, 0.79]
    assert choose(Samurai(), ious, box_of([FAR, NEAR]), settled()).kept[0][1] == 1
    assert choose(Samurai(kf_score_weight=0), ious, box_of([FAR, NEAR]), settled()).kept[0][1] == 0


@pytest.mark.parametrize("count", [5, 15])
def test_an_empty_mask_is_no_measurement(count: int) -> None:
    """The filter predicts and keeps its velocity; the published code feeds it a box of zeros."""
    state = settled(count=count)
    for frame in range(1, 10):
        box = (10.0 + 5 * frame, 10.0, 40.0 + 5 * frame, 70.0)
        assert state.filter is not None
        state = Motion(state.filter.predict().update(box), count)
    assert state.filter is not None
    before = state.filter
    for _ in range(5):
        state = motion_after(choose(Samurai(), [0.9, 0.8, 0.7], box_of([None] * 3), state))
    assert state.stable_frames == count
    assert state.filter is not None
    assert state.filter.mean[0] == pytest.approx(before.mean[0] + 5 * before.mean[4])
    assert state.filter.mean[4] == pytest.approx(before.mean[4])


# --- selecting memories --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(policies, banks, st.integers(0, 40), steps)
def test_selection_is_what_the_network_was_trained_for(policy: Policy, bank: MemoryBank, frame: int, step: int) -> None:
    chosen = select(policy, bank, moment(frame, step))
    prompts = [one for slot, one in chosen.frames if slot == NANO.num_memories - 1]
    others = [(slot, one) for slot, one in chosen.frames if slot < NANO.num_memories - 1]
    assert prompts, "the prompt frames are always read"
    assert len(others) <= NANO.num_memories - 1
    assert len({slot for slot, _ in others}) == len(others), "a slot holds one frame"
    read = [one.frame for _, one in chosen.frames]
    assert len(set(read)) == len(read), "a frame is read once"
    for slot, one in others:
        assert (frame - one.frame) * step > 0, "recent memories lie behind"
        assert slot >= 0
    for distance, one in chosen.pointers:
        assert distance == (frame - one.frame) * step
        assert distance >= 0
        assert distance < NANO.max_pointers or one.is_prompt


@settings(deadline=None)
@given(banks, st.integers(0, 40), steps)
def test_recency_reads_the_last_frames(bank: MemoryBank, frame: int, step: int) -> None:
    chosen = select(Recency(), bank, moment(frame, step, TINY))
    known = {*bank.prompts, *bank.recent}
    assert [one.frame for slot, one in chosen.frames if slot == 6] == sorted(bank.prompts)
    expected = {d - 1: frame - step * d for d in range(1, 7) if frame - step * d in known - set(bank.prompts)}
    assert {slot: one.frame for slot, one in chosen.frames if slot < 6} == expected


@settings(deadline=None)
@given(banks, st.integers(0, 40), steps, st.integers(1, 6))
def test_prompt_frames_can_be_limited_to_the_nearest(bank: MemoryBank, frame: int, step: int, limit: int) -> None:
    chosen = select(Recency(max_prompt_frames=limit), bank, moment(frame, step))
    read = {one.frame for slot, one in chosen.frames if slot == NANO.num_memories - 1}
    assert len(read) == min(limit, len(bank.prompts))
    before = [t for t in bank.prompts if t < frame]
    if before:
        assert max(before) in read
    if limit > 1 and len(before) < len(bank.prompts):
        assert min(t for t in bank.prompts if t >= frame) in read


@settings(deadline=None)
@given(banks, st.integers(0, 40), steps)
def test_samurai_reads_good_frames_by_rank(bank: MemoryBank, frame: int, step: int) -> None:
    policy = Samurai()
    chosen = select(policy, bank, moment(frame, step))
    first = next(iter(bank.prompts))
    good = [
        t
        for t, one in sorted(bank.recent.items(), key=lambda item: -item[0] * step)
        if (frame - t) * step > 0
        and abs(t - first) > 1
        and one.scores.predicted_iou > 0.5
        and one.scores.object_score > 0
        and (one.scores.motion_score is None or one.scores.motion_score > 0)
    ][:3]
    ranked = good if frame - step in good else [frame - step, *good][:3]
    expected = {rank: t for rank, t in enumerate(ranked) if t in bank.recent}
    assert {slot: one.frame for slot, one in chosen.frames if slot < 3} == expected


def test_thresholds_of_samurai_can_be_set() -> None:
    bank = bank_of([0], [memory(t, iou=t / 10, score=t - 5, motion=t / 20) for t in range(1, 10)])

    def read(policy: Samurai) -> list[int]:
        return [one.frame for slot, one in select(policy, bank, moment(10, 1, TINY)).frames if slot < 6]

    assert read(Samurai()) == [6, 7, 8, 9]
    assert read(Samurai(memory_bank_iou_threshold=0.75)) == [8, 9]
    assert read(Samurai(memory_bank_obj_score_threshold=1)) == [7, 8, 9]
    assert read(Samurai(memory_bank_kf_score_threshold=0.42)) == [9]
    # The frame just before is read whatever its scores.
    assert read(Samurai(memory_bank_iou_threshold=1)) == [9]


# --- forgetting ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(policies, banks, st.integers(0, 40), steps, st.integers(0, 8))
def test_what_is_out_of_reach_is_never_read(
    policy: Policy, bank: MemoryBank, frame: int, step: int, later: int
) -> None:
    """Trimming a bank changes no selection, neither now nor on later frames, however those turn out."""
    trimmed = MemoryBank(dict(bank.prompts), dict(bank.recent))
    for passed in range(later + 1):
        now = frame + step * passed
        trimmed.keep(reach(policy, trimmed, moment(now, step)), prompts=True)
        ahead = [t for t in bank.recent if (t - now) * step >= 0]
        at = moment(now, step, pointers=8)
        behind = MemoryBank(bank.prompts, {t: one for t, one in bank.recent.items() if t not in ahead})
        assert select(policy, trimmed, at) == select(policy, behind, at)
        if now not in bank.prompts:
            new = memory(now, iou=(now * 37 % 10) / 10, score=now % 3 - 1)
            bank.add(new)
            trimmed.add(new)


@settings(deadline=None)
@given(policies, steps)
def test_a_bank_stays_small(policy: Policy, step: int) -> None:
    bank = MemoryBank()
    start = 0 if step > 0 else 300
    bank.add(memory(start, is_prompt=True))
    largest = 0
    for passed in range(1, 300):
        frame = start + step * passed
        bank.keep(reach(policy, bank, moment(frame, step, TINY)))
        bank.add(memory(frame, iou=0.2 if passed % 7 else 0.8))
        largest = max(largest, len(bank.recent))
    assert largest <= TINY.max_pointers + TINY.num_memories


def test_a_memory_takes_the_place_of_another_kind() -> None:
    bank = bank_of([3, 1], [memory(2)])
    bank.add(memory(2, is_prompt=True))
    assert not bank.recent
    bank.add(memory(3, iou=0.1, is_prompt=True))
    assert list(bank.prompts) == [3, 1, 2], "prompted again, a frame is still the first"
    assert bank.prompts[3].scores.predicted_iou == 0.1
    bank.add(memory(3))
    assert list(bank.prompts) == [1, 2]
    assert list(bank.recent) == [3]


# --- making one by name --------------------------------------------------------------------------------------------


def test_published_defaults() -> None:
    policy = make_policy("samurai", TINY)
    assert policy == Samurai(
        kf_score_weight=0.25,
        stable_frames_threshold=15,
        stable_ious_threshold=0.3,
        min_obj_score_logits=-1.0,
        memory_bank_iou_threshold=0.5,
        memory_bank_obj_score_threshold=0.0,
        memory_bank_kf_score_threshold=0.0,
    )
    assert make_policy("samurai", get_spec("large")) == Samurai(kf_score_weight=0.15)
    assert make_policy("samurai", get_spec("large"), kf_score_weight=0.4) == Samurai(kf_score_weight=0.4)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("kalman", {}, "samurai, recency"),
        ("samurai", {"weight": 1}, "kf_score_weight"),
        ("recency", {"kf_score_weight": 1}, "max_prompt_frames"),
        (Recency(), {"max_prompt_frames": 1}, "ready policy"),
        ("samurai", {"kf_score_weight": 1.5}, "from 0 to 1"),
        ("samurai", {"kf_score_weight": math.nan}, "must be a number from 0 to 1, not nan"),
        ("samurai", {"stable_frames_threshold": 2.5}, "whole number"),
        ("samurai", {"min_obj_score_logits": "low"}, "must be a number, not 'low'"),
        ("recency", {"max_prompt_frames": 0}, "1 or more"),
        ("recency", {"max_prompt_frames": True}, "whole number"),
    ],
)
def test_names_and_settings_that_cannot_be(name: str | Policy, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_policy(name, NANO, **settings)
