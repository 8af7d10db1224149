"""J, F, their statistics and the box measures against slow implementations written from the definitions."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from masklet.errors import InputError
from masklet.evaluation.boundary import boundary_accuracy, boundary_map, tolerance_pixels
from masklet.evaluation.boxes import (
    BoxProtocol,
    center_errors,
    overlap_xywh,
    score_boxes,
    summarize_boxes,
)
from masklet.evaluation.masks import ObjectScorer, ObjectScores, summarize_masks
from masklet.evaluation.region import region_similarity
from masklet.evaluation.report import detail_rows, difference_rows, summary_rows
from masklet.evaluation.score import BoxEvaluation, MaskEvaluation
from masklet.evaluation.statistics import paired_difference, statistics

masks = st.tuples(st.integers(3, 24), st.integers(3, 24)).flatmap(lambda hw: arrays(np.bool_, (2, *hw)))


def slow_region(truth, mask):
    shared = either = 0
    for y in range(truth.shape[0]):
        for x in range(truth.shape[1]):
            shared += bool(truth[y, x] and mask[y, x])
            either += bool(truth[y, x] or mask[y, x])
    return 1.0 if either == 0 else shared / either


def slow_outline(mask):
    height, width = mask.shape
    points = []
    for y in range(height):
        for x in range(width):
            right = mask[y, x + 1] if x + 1 < width else None
            below = mask[y + 1, x] if y + 1 < height else None
            across = mask[y + 1, x + 1] if x + 1 < width and y + 1 < height else None
            if any(other is not None and other != mask[y, x] for other in (right, below, across)):
                points.append((y, x))
    return points


def slow_boundary(truth, mask, fraction=0.008):
    reach = math.ceil(fraction * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    a, b = slow_outline(truth), slow_outline(mask)

    def matched(points, others):
        return sum(
            any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in others) for y, x in points
        )  # a disk of that radius, pixel centres

    if not a and not b:
        return 1.0
    if not a or not b:
        return 0.0
    precision, recall = matched(b, a) / len(b), matched(a, b) / len(a)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@given(masks)
@settings(max_examples=60, deadline=None)
def test_region_equals_counting(pair):
    truth, mask = pair
    assert region_similarity(truth, mask) == pytest.approx(slow_region(truth, mask), abs=1e-12)


@given(masks, st.sampled_from([0.008, 0.05, 0.2]))
@settings(max_examples=60, deadline=None)
def test_boundary_equals_matching_every_pair_of_pixels(pair, fraction):
    truth, mask = pair
    expected = slow_boundary(truth, mask, fraction)
    assert boundary_accuracy(truth, mask, tolerance=fraction) == pytest.approx(expected, abs=1e-12)


@given(arrays(np.bool_, (9, 14)))
@settings(max_examples=60, deadline=None)
def test_outline_pixels_are_the_ones_of_the_definition(mask):
    assert [tuple(p) for p in np.argwhere(boundary_map(mask)).tolist()] == slow_outline(mask)


def blob(rng, height, width):
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(3):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(4, height / 3), rng.uniform(4, width / 3)
        mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return mask


def test_boundary_equals_a_disk_dilation_on_blobs_that_touch_the_frame():
    rng = np.random.default_rng(4)
    radius = math.ceil(0.008 * math.hypot(120, 190))
    disk = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius
    for _ in range(12):
        truth, mask = blob(rng, 120, 190), blob(rng, 120, 190)
        mask = np.where(rng.random() < 0.5, np.roll(truth, 3, axis=1), mask)
        a, b = boundary_map(truth), boundary_map(mask)
        precision = (b & ndimage.binary_dilation(a, disk)).sum() / b.sum()
        recall = (a & ndimage.binary_dilation(b, disk)).sum() / a.sum()
        assert boundary_accuracy(truth, mask) == pytest.approx(2 * precision * recall / (precision + recall))


def test_tolerance_at_480p_is_eight_pixels():
    assert tolerance_pixels(480, 854) == 8
    assert tolerance_pixels(480, 854, 3) == 3


def test_empty_masks_and_void():
    none, some = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    some[5:15, 5:15] = True
    assert region_similarity(none, none) == boundary_accuracy(none, none) == 1
    assert region_similarity(some, none) == boundary_accuracy(some, none) == boundary_accuracy(none, some) == 0
    assert boundary_accuracy(some, some) == 1
    void = np.zeros_like(some)
    void[5:15, 10:15] = True  # the right half doesn't count
    half = some & ~void
    assert region_similarity(some, half, void) == 1
    assert boundary_accuracy(some, half, void) == 1
    assert region_similarity(some, half) == 0.5


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"\(4, 4\), \(4, 5\)"):
        region_similarity(np.zeros((4, 4), bool), np.zeros((4, 5), bool))
    with pytest.raises(InputError):
        boundary_accuracy(np.zeros((4, 4), bool), np.zeros((4, 4), bool), np.zeros((3, 4), bool))
    with pytest.raises(InputError, match="tolerance"):
        boundary_accuracy(np.zeros((4, 4), bool), np.zeros((4, 4), bool), tolerance=0)


def test_statistics_by_hand():
    # eight frames: seams at 1, 2.75, 4.5, 6.25, 8 -> 1 3 4 6 8 (half to even), each quarter with both seams
    scores = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.0]
    result = statistics(scores)
    assert result.mean == pytest.approx(4.9 / 8)
    assert result.recall == pytest.approx(5 / 8)  # 0.5 itself is not above one half
    assert result.decay == pytest.approx((1.0 + 0.9 + 0.8) / 3 - (0.5 + 0.4 + 0.0) / 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=400))
@settings(max_examples=80, deadline=None)
def test_statistics_against_loops(scores):
    count = len(scores)
    seams = []
    for part in range(5):
        position = 1 + (count - 1) * part / 4 + 1e-10
        whole = math.floor(position)
        rest = position - whole
        up = rest > 0.5 or (rest == 0.5 and whole % 2 == 1)
        seams.append(whole + up - 1)
    first, last = scores[seams[0] : seams[1] + 1], scores[seams[3] : seams[4] + 1]
    result = statistics(scores)
    assert result.mean == pytest.approx(sum(scores) / count)
    assert result.recall == pytest.approx(sum(s > 0.5 for s in scores) / count)
    assert result.decay == pytest.approx(sum(first) / len(first) - sum(last) / len(last), abs=1e-9)


def test_decay_of_a_long_sequence_compares_its_own_quarters():
    scores = np.linspace(1, 0, 1001)
    assert statistics(scores).decay == pytest.approx(0.75, abs=0.01)


def test_every_object_weighs_the_same_and_groups_are_reported():
    long, short = ObjectScorer("a", 1, "seen"), ObjectScorer("b", 1, "unseen")
    full = np.ones((10, 10), bool)
    full[:, 0] = False
    for index in range(9):
        long.add(str(index), full, full)
    short.add("0", full, ~full)
    summary = summarize_masks([long.scores(), short.scores()])
    assert summary.objects == 2
    assert summary.j.mean == pytest.approx(0.5)
    assert summary.groups["seen"] == (1.0, 1.0)
    assert summary.groups["unseen"][0] == 0
    assert summary.overall == pytest.approx((1 + 1 + 0 + summary.groups["unseen"][1]) / 4)


def test_frames_before_an_object_appears_are_left_out_on_request():
    nothing, something = np.zeros((6, 6), bool), np.eye(6, dtype=bool)
    scorer = ObjectScorer("v", 3, skip_before_appearance=True)
    for name, truth, mask in (("0", nothing, nothing), ("1", something, something), ("2", nothing, nothing)):
        scorer.add(name, truth, mask)
    assert scorer.scores().frames == ("1", "2")
    assert scorer.ever_visible


# ---------------------------------------------------------------------------------------------- boxes


def slow_overlap(a, b):
    shared = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])) * max(
        0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    )
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else 0.0


boxes = st.lists(
    st.tuples(st.floats(-20, 90), st.floats(-20, 90), st.floats(0.5, 60), st.floats(0.5, 60)),
    min_size=2,
    max_size=30,
)


@given(boxes, boxes)
@settings(max_examples=80, deadline=None)
def test_overlap_and_center_error_against_loops(first, second):
    count = min(len(first), len(second))
    a, b = np.array(first[:count]), np.array(second[:count])
    assert overlap_xywh(a, b) == pytest.approx([slow_overlap(p, q) for p, q in zip(a, b, strict=True)], abs=1e-9)
    shift = (b[:, :2] + b[:, 2:] / 2 - a[:, :2] - a[:, 2:] / 2).tolist()
    expected = [math.hypot(dx, dy) for dx, dy in shift]
    assert center_errors(a, b) == pytest.approx(expected, abs=1e-9)


def slow_one_pass(truth, predicted, visible, absent_center_hit, absent_normalised_hit):
    """Success AUC, precision at 20 px and at 0.2 box sizes, frame by frame."""
    predicted = [list(p) for p in predicted]
    for i in range(1, len(predicted)):
        if 0 in predicted[i][2:] and not any(math.isnan(v) for v in truth[i]):
            predicted[i] = predicted[i - 1]
    predicted[0] = list(truth[0])
    thresholds = [k / 20 for k in range(21)]
    success, near, near_normalised = [0] * 21, 0, 0
    for t, p, seen in zip(truth, predicted, visible, strict=True):
        if not seen or any(math.isnan(v) for v in t) or t[2] <= 0 or t[3] <= 0:
            near += absent_center_hit
            near_normalised += absent_normalised_hit
            continue
        for k, threshold in enumerate(thresholds):
            success[k] += min(1.0, slow_overlap(t, p)) > threshold  # rounding may lift equal boxes above one
        dx, dy = p[0] + (p[2] - 1) / 2 - t[0] - (t[2] - 1) / 2, p[1] + (p[3] - 1) / 2 - t[1] - (t[3] - 1) / 2
        near += math.hypot(dx, dy) <= 20
        near_normalised += math.hypot(dx / t[2], dy / t[3]) <= 0.2
    count = len(truth)
    return sum(success) / 21 / count, near / count, near_normalised / count


@given(boxes, st.integers(0, 2**32 - 1).map(Random), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_one_pass_evaluation_against_loops(annotated, random, center_hit, normalised_hit):
    truth = [list(row) for row in annotated]
    visible = [True] * len(truth)
    for i in range(1, len(truth)):
        if random.random() < 0.15:
            truth[i] = [math.nan] * 4 if random.random() < 0.5 else [0, 0, 0, 0]
        elif random.random() < 0.15:
            visible[i] = False
    predicted = [
        [t[0] + random.uniform(-9, 9), t[1] + random.uniform(-9, 9), t[2] * random.uniform(0.6, 1.5), t[3]]
        if t[0] == t[0]
        else [1.0, 2.0, 3.0, 4.0]
        for t in truth
    ]
    if len(truth) > 2:
        predicted[2] = [0.0, 0.0, 0.0, 0.0]
    protocol = BoxProtocol(absent_center_hit=center_hit, absent_normalised_hit=normalised_hit)
    scores = score_boxes("s", np.array(truth), np.array(predicted), visible=np.array(visible), protocol=protocol)
    expected = slow_one_pass(truth, predicted, visible, center_hit, normalised_hit)
    got = scores.success_auc, scores.precision, scores.normalised_precision
    assert got == pytest.approx(expected, abs=1e-9)


def test_average_overlap_leaves_out_the_first_frame_and_hidden_ones():
    truth = np.array([[10, 10, 20, 20], [10, 10, 20, 20], [10, 10, 20, 20], [90, 90, 20, 20]], float)
    predicted = np.array([[0, 0, 1, 1], [10, 10, 20, 20], [500, 500, 5, 5], [90, 90, 40, 40]], float)
    protocol = BoxProtocol(average_overlap=True)
    scores = score_boxes(
        "s",
        truth,
        predicted,
        visible=np.array([1, 1, 0, 1]),
        protocol=protocol,
        frame_size=(100, 100),
    )
    # the last boxes both end at the frame's edge after clipping
    assert scores.overlap == pytest.approx([1.0, 1.0])
    other = score_boxes("t", truth[:3], predicted[:3], protocol=protocol, frame_size=(100, 100))
    assert other.overlap == pytest.approx([1.0, 0.0])
    summary = summarize_boxes([scores, other], protocol)
    assert summary.average_overlap == pytest.approx(3 / 4)  # frames, not sequences
    assert summary.success_rate_50 == summary.success_rate_75 == pytest.approx(3 / 4)


def test_frames_without_a_target_are_left_out_of_ao_and_sr_in_details_and_summary():
    truth = np.tile([[10.0, 10, 20, 20]], (4, 1))
    predicted = np.array([[10, 10, 20, 20], [10, 10, 20, 10], [10, 10, 20, 20], [10, 10, 20, 20]], float)
    scores = score_boxes("s", truth, predicted, visible=np.array([1, 1, 0, 0]))
    evaluation = BoxEvaluation("run", (scores,), summarize_boxes([scores]))
    [details], [summary] = detail_rows([evaluation]), summary_rows([evaluation])
    for row in (details, summary):
        assert (row["AO"], row["SR50"], row["SR75"]) == (75, 50, 50)
    assert details["AUC"] == summary["AUC"] < 50  # for success such frames are missed


def test_short_predictions_miss_the_rest_and_bad_ones_are_refused():
    truth = np.tile([[10.0, 10, 20, 20]], (4, 1))
    scores = score_boxes("s", truth, truth[:2])
    assert scores.overlap.tolist() == [1, 1, 0, 0]
    assert scores.success_auc == pytest.approx(20 / 21 * 0.5)  # nothing is above an overlap of 1
    with pytest.raises(InputError, match="frame 1"):
        score_boxes("s", truth, np.array([[0, 0, 1, 1], [0, 0, math.nan, 1], [0, 0, 1, 1], [0, 0, 1, 1]]))
    with pytest.raises(InputError, match="visibility"):
        score_boxes("s", truth, truth, visible=np.ones(3))


def test_paired_differences_tell_progress_from_noise():
    names = [f"s{i}" for i in range(10)]
    base = {name: 0.5 + 0.04 * i for i, name in enumerate(names)}
    better = paired_difference(base, {name: score + 0.02 + 0.001 * i for i, (name, score) in enumerate(base.items())})
    assert better.mean == pytest.approx(0.0245)
    assert 0.02 < better.low < better.mean < better.high < 0.029
    assert (better.better, better.worse) == (10, 0)
    mixed = paired_difference(base, {name: score + (-1) ** i * 0.1 for i, (name, score) in enumerate(base.items())})
    assert mixed.low < 0 < mixed.high and (mixed.better, mixed.worse) == (5, 5)
    assert paired_difference(base, {**better_of(base), "another": 1.0}).mean == pytest.approx(0.1), "in common"
    assert mixed == paired_difference(base, {name: base[name] + (-1) ** i * 0.1 for i, name in enumerate(names)})
    assert np.isnan(paired_difference(base, {"another": 1.0}).mean)


def better_of(base):
    return {name: score + 0.1 for name, score in base.items()}


def evaluation_of(name, scores):
    objects = [
        ObjectScores(sequence, 1, ("a", "b"), np.full(2, score), np.full(2, score))
        for sequence, score in scores.items()
    ]
    return MaskEvaluation(name, tuple(objects), summarize_masks(objects))


def test_runs_are_compared_with_the_first_of_their_turn():
    runs = [
        evaluation_of(name, {"s": score, "t": score})
        for name, score in (("a mask", 0.5), ("b mask", 0.6), ("a box", 0.2), ("b box", 0.1))
    ]
    rows = difference_rows(runs, 2)
    assert [(row["run"], row["against"]) for row in rows] == [("b mask", "a mask"), ("b box", "a box")]
    assert [row["difference"] for row in rows] == pytest.approx([10, -10])
    assert [row["sure"] for row in rows] == ["yes", "yes"]
    assert [row["against"] for row in difference_rows(runs)] == ["a mask"] * 3
    assert difference_rows(runs[:1]) == difference_rows([]) == []
