"""Prompts drawn for training: clicks are where they should be, boxes cover the object, corrections lie in the fault."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from masklet.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NEGATIVE, POSITIVE
from masklet.training.prompting import BOX_NOISE, BOX_NOISE_PIXELS, LOOSE, boxes, click, corrections, first_clicks

MASKS = arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))
SEEDS = st.integers(0, 2**32 - 1)


@given(MASKS.filter(lambda mask: mask.any()), SEEDS, st.sampled_from([0.0, 0.5, 1.0]))
def test_clicks_lie_inside(mask_hw: np.ndarray, seed: int, share: float) -> None:
    x, y = click(np.random.default_rng(seed), mask_hw, share)
    assert mask_hw[int(y), int(x)] and x == int(x) and y == int(y)


def test_the_centre_is_as_far_from_the_edge_as_can_be() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:16, 20:40] = True  # the picture's edge counts as an edge
    x, y = click(np.random.default_rng(0), mask, 1.0)
    assert y == 10 and 24 < x < 36


@given(MASKS.filter(lambda mask: mask.any()), SEEDS)
def test_boxes_are_the_objects_but_for_the_hand_that_drew_them(mask_hw: np.ndarray, seed: int) -> None:
    points, labels = boxes(np.random.default_rng(seed), mask_hw[None])
    height, width = mask_hw.shape
    rows, columns = np.nonzero(mask_hw)
    tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    sides = np.array([tight[2] - tight[0], tight[3] - tight[1]] * 2)
    # the noise is cut at two deviations; a loose box is larger all around
    reach = 2 * np.minimum(BOX_NOISE * sides, BOX_NOISE_PIXELS)
    larger = (points.numpy().reshape(4) - tight) * [-1, -1, 1, 1]
    assert (larger >= -reach - 1e-4).all() and (larger <= reach + LOOSE * sides + 1e-4).all()
    drawn = points.numpy().reshape(4)
    assert (drawn >= 0).all() and (drawn <= [width, height, width, height]).all()
    assert labels.tolist() == [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]]


@given(MASKS.flatmap(lambda mask: st.tuples(st.just(mask), arrays(bool, mask.shape))), SEEDS)
def test_corrections_lie_in_the_larger_fault(masks: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    truth, found = masks
    points, labels = corrections(np.random.default_rng(seed), found[None], truth[None], anywhere=0.0)
    (x, y), label = points[0, 0].int().tolist(), int(labels[0, 0])
    missed, extra = truth & ~found, found & ~truth
    assert truth[y, x] == (label == POSITIVE)
    if missed.any() or extra.any():
        assert found[y, x] != truth[y, x]
        assert label == (POSITIVE if missed.sum() >= extra.sum() else NEGATIVE)


def test_corrections_without_a_fault_say_what_is_right() -> None:
    rng = np.random.default_rng(0)
    nothing, everything = np.zeros((1, 6, 6), bool), np.ones((1, 6, 6), bool)
    assert corrections(rng, nothing, nothing)[1].item() == NEGATIVE
    assert corrections(rng, everything, everything)[1].item() == POSITIVE


def test_anywhere_means_on_the_object() -> None:
    truth = np.zeros((1, 20, 20), bool)
    truth[:, :5, :5] = True
    rng = np.random.default_rng(1)
    for _ in range(20):
        points, labels = corrections(rng, ~truth, truth, anywhere=1.0)
        x, y = points[0, 0].int().tolist()
        assert labels.item() == POSITIVE and truth[0, y, x]


def test_first_clicks_are_one_for_each_object() -> None:
    masks = np.zeros((3, 10, 10), bool)
    for number in range(3):
        masks[number, 3 * number : 3 * number + 3] = True
    points, labels = first_clicks(np.random.default_rng(2), masks)
    assert points.shape == (3, 1, 2) and labels.tolist() == [[POSITIVE]] * 3
    assert [int(y) // 3 for y in points[:, 0, 1]] == [0, 1, 2]
