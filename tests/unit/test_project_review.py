"""The review queue: what deserves a look and why, where a click helps most, and what verdicts do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.unit.test_project_cli import run

from masklet.errors import InputError, ProjectError
from masklet.masks import rle
from masklet.project import Project
from masklet.project.review import (
    FrameFacts,
    expected_errors,
    gains,
    heat_map,
    hottest,
    judge,
    next_click,
    queue,
    reasons_of,
    review_objects,
    reviewed,
    stretches,
    usual_iou,
)
from masklet.results import Explanation, ObjectMask, Scores

BUNNY, ROCK = 1, 2
SIZE = (72, 128)
SURE = Scores(object_score=6.0, predicted_iou=0.9, motion_score=0.9)


def square(x: int, side: int = 20, y: int = 20) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.fixture
def project(make_project) -> Project:
    """The bunny is tracked well; on frame 5 it is not sure, on frame 6 lost. The rock is painted everywhere."""
    made: Project = make_project()
    with made.edit("Masks"):
        for frame in range(8):
            scores = {5: Scores(0.4, 0.3, 0.9), 6: Scores(-4.0, 0.1)}.get(frame, SURE)
            mask = square(20 + 2 * frame) if frame != 6 else np.zeros(SIZE, bool)
            made.put_masks(
                [
                    ObjectMask(BUNNY, frame, rle.encode(mask), scores=scores, lost=frame == 6, is_prompt=frame == 0),
                    ObjectMask(ROCK, frame, rle.encode(square(90)), painted=True),
                ]
            )
    return made


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        ({"lost": True}, "lost", "lost"),
        ({"scores": Scores(0.4, 0.9)}, "low score", "low object score (0.4)"),
        ({"scores": Scores(6.0, 0.5)}, "score drop", "predicted IoU drops to 0.50 (usually 0.90)"),
        ({"scores": Scores(6.0, 0.9, 0.1)}, "motion", "not where its motion led"),
        ({"area": 250}, "area jump", "area jumps to 250% in one frame"),
        ({"rival": 0.97}, "two near candidates", "two candidates are almost equally good"),
        ({"box": (0.0, 20.0, 20.0, 40.0)}, "edge", "reaches the edge of the frame"),
    ],
)
def test_every_reason_is_found_and_said(facts: dict[str, Any], reason: str, words: str) -> None:
    before = FrameFacts(3, SURE, 100, (10.0, 20.0, 30.0, 40.0))
    plain: dict[str, Any] = {"scores": SURE, "area": 100, "box": (10.0, 20.0, 30.0, 40.0)}
    assert reasons_of(FrameFacts(4, **plain), before, 0.9, SIZE) == {}
    assert reasons_of(FrameFacts(4, **plain | facts), before, 0.9, SIZE) == {reason: words}
    assert reasons_of(FrameFacts(4, decided=True, **plain | facts), before, 0.9, SIZE) == {}


def test_a_score_drop_is_measured_by_what_is_usual_for_the_object() -> None:
    shy = [FrameFacts(frame, Scores(6.0, 0.5)) for frame in range(9)]
    assert usual_iou(shy) == 0.5
    assert not reasons_of(shy[4], shy[3], usual_iou(shy), SIZE)
    assert usual_iou([FrameFacts(0, decided=True)]) is None


def test_the_queue_is_worst_first_and_says_why(project: Project) -> None:
    [worst] = queue(review_objects(project))
    assert (worst.object_id, worst.first, worst.last, worst.worst) == (BUNNY, 5, 6, 6)
    assert worst.reasons == ("lost", "low score", "score drop")
    assert worst.words == "lost, low object score (0.4), predicted IoU drops to 0.30 (usually 0.90)"
    far = [FrameFacts(frame, SURE, lost=frame in (2, 20, 21, 22)) for frame in range(30)]
    reasons = [reasons_of(known, None, 0.9, SIZE) for known in far]
    found = stretches(BUNNY, far, reasons, expected_errors(far, reasons))
    assert [(stretch.first, stretch.last) for stretch in found] == [(20, 22), (2, 2)]


@pytest.mark.parametrize("step", [1, -1])
def test_a_correction_is_wanted_where_an_error_begins_in_the_direction_of_tracking(step: int) -> None:
    facts = [
        FrameFacts(t, Scores(6.0, 0.2 if 20 <= t < 40 else 0.9), decided=t in (0, 60), step=step) for t in range(61)
    ]
    gained = gains(facts, expected_errors(facts, [{}] * 61))
    assert int(gained.argmax()) in (range(20, 27) if step > 0 else range(33, 40))
    assert gained[0] == gained[60] == 0


def test_a_correction_helps_up_to_what_was_decided() -> None:
    bad = [FrameFacts(t, Scores(6.0, 0.2), decided=t in (0, 20, 60)) for t in range(61)]
    gained = gains(bad, expected_errors(bad, [{}] * 61))
    assert 21 < int(gained.argmax()) < 50  # the longer stretch, and not next to what is known
    assert gained[:20].max() < gained[21:].max()
    with_good_end = [*bad[:21], *(FrameFacts(t, SURE) for t in range(21, 61))]
    same = gains(with_good_end, expected_errors(with_good_end, [{}] * 61))
    assert same[:20] == pytest.approx(gained[:20])


def test_masks_are_doubted_more_the_farther_they_are_from_what_was_decided() -> None:
    even = [FrameFacts(t, SURE, decided=t in (0, 30)) for t in range(41)]
    errors = expected_errors(even, [{}] * 41)
    assert errors[0] == errors[30] == 0 and int(errors.argmax()) == 15 and errors[1] < errors[8] < errors[15]
    assert errors[40] == pytest.approx(errors[10])
    nothing = expected_errors([FrameFacts(t, SURE) for t in range(5)], [{}] * 5)
    assert len(set(nothing)) == 1 and nothing[0] > errors.max()


def test_an_object_whose_masks_were_right_when_looked_at_is_asked_about_less(project: Project) -> None:
    unsure = Scores(6.0, 0.5)
    bunny = [ObjectMask(BUNNY, t, rle.encode(square(20)), scores=unsure, is_prompt=t == 0) for t in range(8)]
    rock = [ObjectMask(ROCK, t, rle.encode(square(90)), scores=unsure, is_prompt=t == 0) for t in range(7)]
    project.clear_masks(ROCK)
    project.put_masks([*bunny, *rock])  # more of the bunny is doubtful
    click = next_click(project, review_objects(project))
    assert click is not None and click.object_id == BUNNY
    judge(project, BUNNY, 1, 1, "accepted")
    asked = next_click(project, review_objects(project))
    assert asked is not None and asked.object_id == ROCK
    again = next_click(project, review_objects(project, [BUNNY]))
    assert again is not None and 0 < again.gain < click.gain


def test_accepted_stretches_leave_the_queue_until_their_masks_change(project: Project) -> None:
    judge(project, BUNNY, 5, 6, "accepted")
    assert queue(review_objects(project)) == [] and len(reviewed(project, BUNNY, "accepted")) == 1
    click = next_click(project, review_objects(project))
    assert click is not None and click.frame not in (0, 5, 6)
    project.put_masks([ObjectMask(BUNNY, 7, rle.encode(square(50)), scores=SURE)])
    assert queue(review_objects(project)) == []  # another frame: the verdict holds
    project.put_masks([ObjectMask(BUNNY, 5, rle.encode(square(31)), scores=Scores(0.4, 0.3))])
    assert [(stretch.first, stretch.last) for stretch in queue(review_objects(project))] == [(5, 6)]
    project.undo()
    assert queue(review_objects(project)) == []
    project.undo()
    assert project.undo() == "Accept bunny, frames 5 to 6"
    assert len(queue(review_objects(project))) == 1


def test_rejected_stretches_come_first_and_the_last_word_counts(project: Project) -> None:
    judge(project, BUNNY, 2, 3, "rejected")
    first = queue(review_objects(project))[0]
    assert (first.first, first.last, first.words) == (2, 6, "rejected by you, lost, low object score (0.4), "
                                                       "predicted IoU drops to 0.30 (usually 0.90)")  # fmt: skip
    judge(project, BUNNY, 3, 6, "accepted")
    assert queue(review_objects(project)) == []
    judge(project, BUNNY, 3, 6, None)
    assert reviewed(project, BUNNY) == []
    with pytest.raises(InputError, match="no mask on frames 90 to 99"):
        judge(project, BUNNY, 90, 99, "accepted")


def test_verdicts_that_are_damaged_are_refused(project: Project) -> None:
    for row in ({"object_id": 1}, {"object_id": 1, "first": "x", "last": 5, "verdict": "accepted", "masks": ""}, 7):
        project.set_verdicts([row])  # type: ignore[list-item]
        with pytest.raises(ProjectError, match="damaged"):
            queue(review_objects(project))


def test_the_next_click_is_where_neighbours_and_candidates_disagree(project: Project) -> None:
    mask, missing = square(40), square(40)
    missing[20:40, 50:60] = False  # the right half is gone on this frame only
    heat = heat_map(missing, [mask, mask], None)
    x, y = map(int, hottest(heat))
    assert heat.max() == 1 and heat[60, 110] < 0.01
    assert mask[y, x] or abs(x - 40) < 8
    why = Explanation(1, (0.9, 0.88), final_scores=(0.9, 0.88), candidate_boxes=((40, 20, 60, 40), (90, 20, 110, 40)))
    x, y = map(int, hottest(heat_map(mask, [], why)))
    assert 90 <= x < 110 and 20 <= y < 40
    assert hottest(heat_map(mask, [mask], None)) is None


def test_near_candidates_come_from_what_tracking_kept(project: Project) -> None:
    why = Explanation(1, (0.9, 0.88), final_scores=(0.9, 0.88), candidate_boxes=((24, 20, 44, 40), (90, 20, 110, 40)))
    project.put_masks([ObjectMask(BUNNY, 2, rle.encode(square(24)), scores=SURE, explanation=why)])
    assert "two near candidates" in {
        reason for stretch in queue(review_objects(project, [BUNNY])) for reason in stretch.reasons
    }


def test_the_command_prints_the_queue(project: Project) -> None:
    project.close()
    shown = run("review", project.path).stdout
    assert "5–6" in shown and "lost, low object score (0.4)" in shown and "Correct here next: bunny on frame" in shown
    told = json.loads(run("review", project.path, "--json", "--object", "bunny").stdout)
    assert told["queue"][0]["name"] == "bunny" and told["next"]["object_id"] == BUNNY
    assert "Nothing deserves a look" in run("review", project.path, "--object", "rock").stdout
    assert "There is no object 'cat'" in run("review", project.path, "--object", "cat", code=2).output
