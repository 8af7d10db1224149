"""Masks with their scores and explanations: pixels made when they are asked for, one JSON form, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from masklet.errors import InputError
from masklet.masks import rle
from masklet.masks.boxes import mask_to_box
from masklet.results import Explanation, ObjectMask, Scores, found_again

scores = st.none() | st.floats(-30, 30).map(lambda value: round(value, 4))
made_scores = st.builds(Scores, scores, scores, scores)


@settings(deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)), made_scores, st.integers(0, 3), st.data())
def test_a_mask_comes_back_from_json(mask_hw: np.ndarray, given_scores: Scores, candidate: int, data: Any) -> None:
    lost, is_prompt, painted = (data.draw(st.booleans()) for _ in range(3))
    mask = ObjectMask(3, 7, rle.encode(mask_hw), None, (0, 0), given_scores, candidate, lost, is_prompt, painted)
    kept = json.loads(json.dumps(mask.to_json(), allow_nan=False))
    again = ObjectMask.from_json(kept, 7)
    assert again == mask and again.to_json() == kept
    np.testing.assert_array_equal(again.mask, mask_hw)
    assert kept["area"] == mask.area == mask_hw.sum()
    box = mask_to_box(mask_hw)
    assert kept["box_xyxy"] == (None if box is None else box.tolist())
    assert mask != ObjectMask(
        3, 8, rle.encode(mask_hw), None, (0, 0), given_scores, candidate, lost, is_prompt, painted
    )


def test_pixels_are_the_same_from_logits_and_from_run_lengths() -> None:
    y, x = np.mgrid[:16, :16]
    low = torch.from_numpy(30.0 - (x - 7) ** 2 - (y - 9) ** 2).float()
    seen = ObjectMask(1, 0, low_res_logits_hw=low, size=(90, 160), scores=Scores(2.0, 0.9))
    assert seen.mask.shape == (90, 160)
    np.testing.assert_array_equal(seen.mask, seen.logits > 0)
    kept = ObjectMask(1, 0, seen.rle, scores=Scores(2.0, 0.9))
    assert kept == seen
    np.testing.assert_array_equal(kept.mask, seen.mask)
    np.testing.assert_array_equal(kept.box_xyxy, seen.box_xyxy)
    with pytest.raises(InputError, match="no logits"):
        kept.logits  # noqa: B018
    # Given pixels count, not the network's grid of them.
    painted = ObjectMask(1, 0, rle.encode(np.eye(90, 160, dtype=bool)), low, painted=True)
    assert painted.area == 90
    nothing = ObjectMask(1, 0, low_res_logits_hw=low - 99, size=(90, 160))
    assert not nothing.area and nothing.box_xyxy is None


def test_painted_masks_come_before_the_surest() -> None:
    ordered = [Scores(-2.0), Scores(), Scores(7.5)]
    masks = [ObjectMask(1, 0, rle.encode(np.ones((4, 4), bool)), scores=one) for one in ordered]
    masks.append(ObjectMask(1, 0, masks[0].rle, painted=True))
    assert sorted(masks, key=lambda mask: mask.precedence) == masks


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop("id"),
        lambda kept: kept.pop("rle"),
        lambda kept: kept["rle"].update(counts="PPPP"),
        lambda kept: kept["rle"].update(size=[4]),
        lambda kept: kept.update(rle=7),
        lambda kept: kept.update(object_score="high"),
    ],
)
def test_damaged_masks_are_refused(change: Any) -> None:
    kept = ObjectMask(1, 0, rle.encode(np.ones((4, 4), bool))).to_json()
    kept = json.loads(json.dumps(kept))
    change(kept)
    with pytest.raises(InputError):
        ObjectMask.from_json(kept, 0)
    with pytest.raises(InputError, match="neither run lengths nor logits"):
        ObjectMask(1, 0)


BOX = (1.0, 2.5, 30.0, 40.0)
FOUND = Explanation(1, (0.9, 0.25), (0.5, 0.0), (0.8, 0.1), (BOX, None), BOX, ((0, 3), (4, 0)), (0, 4, 3))


@pytest.mark.parametrize("found", [Explanation(), Explanation(-1, (0.5,), final_scores=(0.5,)), FOUND])
def test_an_explanation_comes_back_from_json(found: Explanation) -> None:
    assert Explanation.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    "change",
    [
        {"step": 2},
        {"ious": None},
        {"final": [0.5]},
        {"motion": [0.1]},
        {"boxes": [[1, 2, 3], None]},
        {"memory": [[1]]},
        {"pointers": ["x"]},
    ],
)
def test_damaged_explanations_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="damaged"):
        Explanation.from_json({**FOUND.to_json(), **change})


def test_an_object_is_found_again_that_was_lost_and_seen_before_that() -> None:
    seen = {3: True, 4: False, 5: True, 6: True, 7: False, 8: False, 9: True, 10: False}
    assert found_again(seen) == {7, 10}, "on frame 4 it was seen for the first time"
    assert found_again(dict(reversed(seen.items()))) == {7, 10}
    del seen[5]
    assert found_again(seen) == {10}, "nobody knows what was on frame 5"
    assert found_again({}) == set()
