"""SAM2Long: every rule of the paper on made-up candidates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from masklet.models.specs import get_spec
from masklet.results import Scores
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.policies import SAM2Long, make_policy
from masklet.tracking.policies.base import Choice, Moment, Offer, PastFrame
from masklet.tracking.policies.sam2long import STATE, Pathway, PathwayStep

POLICY = SAM2Long()


def moment(frame: int, step: int = 1) -> Moment:
    return Moment(frame, step, num_memories=7, max_pointers=16)


def versions(frame: int, count: int = 1, iou: float = 0.9, score: float = 5.0, is_prompt: bool = False) -> FrameMemory:
    """A memory whose version i holds the number i everywhere."""
    numbers = torch.arange(count, dtype=torch.float32)
    return FrameMemory(frame, numbers[:, None, None, None], numbers[:, None], Scores(score, iou), is_prompt)


def bank_of(*memories: FrameMemory) -> MemoryBank:
    bank = MemoryBank()
    for memory in (versions(0, is_prompt=True), *memories):
        bank.add(memory)
    return bank


def never(index: int) -> Any:
    raise AssertionError("nobody needs candidates' pixels")


def offer(*ious: float, score: float = 5.0) -> Offer:
    return Offer(ious, score, never, never)


def choose(pathways: list[Pathway], *offers: Offer, policy: SAM2Long = POLICY, frame: int = 9) -> Choice:
    return policy.choose(offers, MemoryBank(), STATE.dump_json(pathways), moment(frame))


def paths(*scores: float, copies: int = 1) -> list[Pathway]:
    return [Pathway(score, (PathwayStep(8, i, 0.9, 5.0),), copies) for i, score in enumerate(scores)]


def read(bank: MemoryBank, pathway: Pathway, at: Moment) -> dict[int, tuple[int, int]]:
    """Slot and version of every frame that a pathway reads."""
    [selection] = POLICY.select(bank, STATE.dump_json([pathway]), at)
    return {memory.frame: (slot, int(memory.pointer_bc)) for slot, memory in selection.frames}


# --- the tree (section 3.2) ----------------------------------------------------------------------------------------


def test_a_prompt_decides_alone() -> None:
    choice = POLICY.choose([offer(0.2, 0.9, 0.3)], MemoryBank(), b"", moment(5, 0))
    assert choice.kept == ((0, 1),) and choice.state == b""


def test_all_pathways_set_out_from_the_best_mask_of_the_first_frame() -> None:
    choice = POLICY.choose([offer(0.6, 0.9, 0.8)], bank_of(), b"", moment(1))
    assert choice.kept == ((0, 1),)
    assert STATE.validate_json(choice.state) == [Pathway(0.0, (PathwayStep(1, 0, 0.9, 5.0),), copies=3)]


def test_scores_are_sums_of_logarithms() -> None:
    choice = choose(paths(-0.1, -0.2, -0.3), offer(0.9, 0.1, 0.1), offer(0.8, 0.1, 0.1), offer(0.7, 0.1, 0.1))
    assert choice.kept == ((0, 0), (1, 0), (2, 0))
    expected = [-0.1 + math.log(0.9), -0.2 + math.log(0.8), -0.3 + math.log(0.7)]
    assert [p.score for p in STATE.validate_json(choice.state)] == pytest.approx(expected, abs=1e-4)
    assert choice.final_scores == pytest.approx([-0.1 + math.log(x) for x in (0.9, 0.1, 0.1)], abs=1e-3)


def test_the_best_of_all_candidates_go_on_and_the_best_is_shown() -> None:
    choice = choose(paths(-0.5, -0.6, -3.0), offer(0.5, 0.4, 0.1), offer(0.9, 0.8, 0.2), offer(0.9, 0.9, 0.9))
    assert choice.kept == ((1, 0), (1, 1), (0, 0)), "the third pathway has died out"
    assert [p.steps[0] for p in STATE.validate_json(choice.state)] == [
        PathwayStep(9, version, iou, 5.0) for version, iou in enumerate((0.9, 0.8, 0.5))
    ]
    assert [p.steps[1].version for p in STATE.validate_json(choice.state)] == [1, 1, 0], "a fork copies a reference"


def test_equal_pathways_are_one_and_stay_so_while_all_is_sure() -> None:
    choice = choose(paths(0.0, copies=3), offer(0.9, 0.8, 0.7, score=2.1))
    assert choice.kept == ((0, 0),)
    [pathway] = STATE.validate_json(choice.state)
    assert pathway.copies == 3


def test_two_equal_pathways_beside_another() -> None:
    pathways = [*paths(-0.1, copies=2), Pathway(-0.2, (PathwayStep(8, 1, 0.9, 5.0),))]
    choice = choose(pathways, offer(0.9, 0.85, 0.1), offer(0.2, 0.1, 0.1))
    assert choice.kept == ((0, 0), (0, 1))
    assert [p.copies for p in STATE.validate_json(choice.state)] == [2, 1]


@pytest.mark.parametrize("score", [2.0, -2.0, 0.5])
def test_where_nothing_is_sure_masks_of_different_iou_go_on(score: float) -> None:
    choice = choose(paths(0.0, copies=3), offer(0.9, 0.8, 0.7, score=score))
    assert choice.kept == ((0, 0), (0, 1), (0, 2))
    choice = choose(paths(-0.1, -0.2), offer(0.9, 0.901, 0.5, score=score), offer(0.899, 0.7, 0.1, score=score))
    assert choice.kept == ((0, 1), (1, 1), (0, 2)), "what rounds to 0.90 is one mask"


def test_one_sure_pathway_is_enough() -> None:
    choice = choose(paths(0.0, -0.1), offer(0.9, 0.9, 0.9, score=-3.0), offer(0.5, 0.5, 0.5, score=1.0))
    assert choice.kept == ((0, 0), (0, 1), (0, 2))


def test_seen_and_not_seen_are_different_masks() -> None:
    choice = choose(paths(0.0, -0.1), offer(0.9, 0.9, 0.9, score=1.0), offer(0.9, 0.9, 0.9, score=-1.0))
    assert choice.kept == ((0, 0), (1, 0))


def test_too_few_different_masks_leave_every_pathway_its_best() -> None:
    doubtful = offer(0.9, 0.9, 0.9, score=1.0)
    assert choose(paths(0.0, -0.1, -0.2), doubtful, doubtful, doubtful).kept == ((0, 0), (1, 0), (2, 0))


def test_as_many_pathways_as_are_asked_for() -> None:
    policy = SAM2Long(pathways=2)
    assert choose(paths(0.0, -0.1), offer(0.9, 0.8), offer(0.9, 0.8), policy=policy).kept == ((0, 0), (1, 0))
    alone = SAM2Long(pathways=1)
    assert choose(paths(0.0), offer(0.9, 0.8, score=0.1), policy=alone).kept == ((0, 0),)


# --- memory (section 3.3) ------------------------------------------------------------------------------------------


def test_a_pathway_reads_its_own_versions_by_rank() -> None:
    bank = bank_of(*(versions(t, 3) for t in range(1, 12)))
    steps = tuple(PathwayStep(t, t % 3, 0.9, 5.0) for t in (11, 10, 8, 7, 5, 4, 3, 1))
    expected = {0: (6, 0)} | {t: (rank, t % 3) for rank, t in enumerate((11, 10, 8, 7, 5, 4))}
    assert read(bank, Pathway(steps=steps), moment(12)) == expected
    [selection] = POLICY.select(bank, STATE.dump_json([Pathway(steps=steps)]), moment(12))
    assert [(d, m.frame) for d, m in selection.pointers] == [(12, 0), *enumerate((11, 10, 8, 7, 5, 4, 3, 1), 1)]


def test_only_good_frames_stay_and_the_one_just_before() -> None:
    steps = (PathwayStep(8, 0, 0.9, -1.0), PathwayStep(7, 0, 0.9, 5.0), PathwayStep(6, 0, 0.9, 0.1))
    [after] = STATE.validate_json(choose([Pathway(0.0, steps, 3)], offer(0.3)).state)
    assert [step.frame for step in after.steps] == [9, 7, 6]
    [after] = STATE.validate_json(choose([after], offer(0.31), frame=10).state)
    assert [step.frame for step in after.steps] == [10, 7, 6], "frame 9's predicted IoU was not above 0.3"


def test_a_new_pathway_goes_on_from_what_was_shown() -> None:
    """After a correction, and where tracking begins far from the prompt."""
    bank = bank_of(*(versions(t, 2, iou=0.2 if t == 5 else 0.9) for t in range(1, 8)))
    [selection] = POLICY.select(bank, b"", moment(8))
    assert {m.frame: int(m.pointer_bc) for _, m in selection.frames} == dict.fromkeys((0, 7, 6, 4, 3, 2, 1), 0)
    [pathway] = STATE.validate_json(POLICY.choose([offer(0.9)], bank, b"", moment(8)).state)
    assert [step.frame for step in pathway.steps] == [8, 7, 6, 4, 3, 2, 1]


def test_what_was_prompted_or_tracked_anew_since_then_is_read_as_it_is() -> None:
    bank = bank_of(versions(1), versions(2), versions(3, is_prompt=True))
    steps = (PathwayStep(3, 2, 0.9, 5.0), PathwayStep(2, 2, 0.9, 5.0), PathwayStep(1, 0, 0.9, 5.0))
    assert read(bank, Pathway(steps=steps), moment(4)) == {0: (6, 0), 3: (6, 0), 2: (0, 0), 1: (1, 0)}


def test_surer_memories_count_more() -> None:
    bank = bank_of(*(versions(t) for t in (1, 2, 3)))
    steps = (PathwayStep(3, 0, 0.9, 1.0), PathwayStep(2, 0, 0.9, 4.0), PathwayStep(1, 0, 0.9, 2.0))
    [selection] = POLICY.select(bank, STATE.dump_json([Pathway(steps=steps)]), moment(4))
    assert [m.frame for _, m in selection.frames] == [0, 1, 2, 3]
    third = 0.1 / 3
    assert selection.weights[:4] == pytest.approx([1.05, 0.95 + third, 1.05 - third, 0.95])
    assert [m.frame for _, m in selection.pointers] == [0, 3, 2, 1]
    assert selection.weights[4:] == pytest.approx([1.05, 0.95, 1.05 - third, 0.95 + third])
    [selection] = POLICY.select(bank_of(), b"", moment(1))
    assert selection.weights == (), "a single memory is read as it is"


def test_backwards_is_forwards_mirrored() -> None:
    forwards = bank_of(*(versions(t, 3, iou=0.1 * (t % 10)) for t in range(1, 20)))
    backwards = MemoryBank()
    for memory in (*forwards.prompts.values(), *forwards.recent.values()):
        backwards.add(versions(100 - memory.frame, 3, memory.scores.predicted_iou or 0.0, 5.0, memory.is_prompt))
    [a], [b] = POLICY.select(forwards, b"", moment(20)), POLICY.select(backwards, b"", moment(80, -1))
    assert [(slot, 100 - memory.frame) for slot, memory in b.frames] == [(slot, m.frame) for slot, m in a.frames]
    assert [d for d, _ in a.pointers] == [d for d, _ in b.pointers]


@pytest.mark.parametrize("step", [1, -1])
def test_what_is_out_of_reach_is_never_read_and_memory_is_bounded(step: int) -> None:
    rng = np.random.default_rng(0)
    start, state = (0 if step > 0 else 400), b""
    whole, trimmed = MemoryBank(), MemoryBank()
    for bank in (whole, trimmed):
        bank.add(versions(start, is_prompt=True))
    for passed in range(1, 300):
        at = moment(start + step * passed, step)
        if passed == 150:  # as if a prompt had been passed
            state = b""
        trimmed.keep(POLICY.reach([start], trimmed.recent_scores, state, at))
        selections = POLICY.select(trimmed, state, at)
        for a, b in zip(selections, POLICY.select(whole, state, at), strict=True):
            assert [(slot, m.frame, float(m.pointer_bc)) for slot, m in a.frames] == [
                (slot, m.frame, float(m.pointer_bc)) for slot, m in b.frames
            ]
            assert [(d, m.frame) for d, m in a.pointers] == [(d, m.frame) for d, m in b.pointers]
        assert len(trimmed.recent) <= 4 * 16 and len(state) < 6000
        offers = [offer(*rng.random(3).tolist(), score=float(rng.normal(0, 2))) for _ in selections]
        choice = POLICY.choose(offers, trimmed, state, at)
        assert choice == POLICY.choose(offers, whole, state, at)
        state, (row, index) = choice.state, choice.kept[0]
        POLICY.check_state(state)
        for bank in (whole, trimmed):
            bank.add(versions(at.frame, len(choice.kept), offers[row].ious[index], offers[row].object_score))
    assert sum(pathway.copies for pathway in STATE.validate_json(state)) <= 3


def test_defaults_and_words() -> None:
    assert make_policy("sam2long", get_spec("nano")) == POLICY
    assert "add up best" in POLICY.explain_choice(1, [0.9, 0.8], None, False)[0]
    assert "highest predicted IoU" in POLICY.explain_choice(0, [0.9, 0.8], None, True)[0]
    assert "just before" in POLICY.why_read(PastFrame(1)) and "good" in POLICY.why_read(PastFrame(2))
    assert "not above 0.3" in POLICY.why_not_read(PastFrame(2, scores=Scores(4.0, 0.3)))
    assert "not above 0." in POLICY.why_not_read(PastFrame(2, scores=Scores(0.0, 0.9)))
    assert "later frames" in POLICY.why_not_read(PastFrame(2, scores=Scores(1.0, 0.9), crowded_out=True))
    assert "did not go through" in POLICY.why_not_read(PastFrame(2, scores=Scores(1.0, 0.9)))


@pytest.mark.parametrize(
    "state", [b"x", b"7", b"[]", b'[{"copies": 0}]', b'[{"steps": [[1, -1, 0.5, 1]]}]', b'[{"steps": [[1]]}]']
)
def test_a_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        POLICY.check_state(state)
