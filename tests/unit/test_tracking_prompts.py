"""Prompts: what is taken, and what is refused with which words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import MaskletError, PromptError
from masklet.masks import rle
from masklet.models.prompt_encoder import input_points
from masklet.models.shape import InputShape
from masklet.prompts import Prompt, asked, prompts_after, waits
from masklet.results import ObjectMask

WIDTH, HEIGHT = 60, 40


def make(**given: Any) -> Prompt:
    return Prompt.make(**given, width=WIDTH, height=HEIGHT)


points_inside = st.lists(
    st.tuples(st.floats(0, WIDTH, width=32), st.floats(0, HEIGHT, width=32)), min_size=1, max_size=5
)


@settings(deadline=None)
@given(points_inside, st.data())
def test_points(points: list[tuple[float, float]], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(points), max_size=len(points)))
    prompt = make(points=points, labels=labels)
    assert prompt.points == tuple(points)
    assert prompt.labels == tuple(labels)
    assert prompt.point_count == len(points)

    scaled, said = input_points(prompt, WIDTH, HEIGHT, InputShape.of(256, 256))
    assert said.tolist() == [labels]
    expected = torch.tensor(points) * torch.tensor([256 / WIDTH, 256 / HEIGHT])
    torch.testing.assert_close(scaled, expected[None].float(), rtol=1e-5, atol=1e-3)


def test_labels_are_positive_by_default() -> None:
    assert make(points=[(1, 2), (3, 4)]).labels == (1, 1)


@pytest.mark.parametrize(
    "points", [(7, 9), [[7, 9]], np.array([7, 9]), torch.tensor([[7, 9]]).bfloat16(), np.array([[7, 9]], np.uint8)]
)
def test_points_in_many_shapes(points: Any) -> None:
    assert make(points=points).points == ((7, 9),)


@settings(deadline=None)
@given(
    st.floats(-100, 100, width=32),
    st.floats(-100, 100, width=32),
    st.floats(-100, 100, width=32),
    st.floats(-100, 100, width=32),
)
def test_a_box_is_taken_where_it_meets_the_frame(x1: float, y1: float, x2: float, y2: float) -> None:
    meets = x1 < x2 and y1 < y2 and x2 > 0 and y2 > 0 and x1 < WIDTH and y1 < HEIGHT
    if not meets:
        with pytest.raises(PromptError):
            make(box=(x1, y1, x2, y2))
        return
    assert make(box=(x1, y1, x2, y2)).box == (max(x1, 0), max(y1, 0), min(x2, WIDTH), min(y2, HEIGHT))


def test_a_box_is_two_points_in_front_of_the_clicks() -> None:
    prompt = make(box=(6, 4, 30, 20), points=[(12, 8)], labels=[0])
    points, labels = input_points(prompt, WIDTH, HEIGHT, InputShape.of(240, 240))
    assert labels.tolist() == [[2, 3, 0]]
    assert points.tolist() == [[[24, 24], [120, 120], [48, 48]]]
    assert prompt.point_count == 3


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_masks_of_many_kinds(kind: type) -> None:
    shape = np.zeros((HEIGHT, WIDTH), bool)
    shape[5:9, 7:20] = True
    for mask in (shape, shape[None], shape[..., None], np.asfortranarray(shape)):
        assert make(mask=mask.astype(kind)).mask == rle.encode(shape)
    assert make(mask=torch.from_numpy(shape.astype(kind))).mask == rle.encode(shape)
    assert make(mask=rle.encode(shape)).mask == rle.encode(shape)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({}, "empty prompt"),
        ({"points": []}, "empty prompt"),
        ({"points": np.zeros((0, 2))}, "empty prompt"),
        ({"labels": [1], "box": (1, 1, 5, 5)}, "labels need points"),
        ({"points": [(61, 5)]}, "outside the frame, which is 60x40"),
        ({"points": [(5, -1)]}, "outside the frame"),
        ({"points": [(NAN, 5)]}, "not a finite number"),
        ({"points": [(5, INF)]}, "not a finite number"),
        ({"points": [(1, 2, 3)]}, "x, y pairs"),
        ({"points": [[[1, 2]]]}, "x, y pairs"),
        ({"points": [(1, 2), (3,)]}, "points must be numbers"),
        ({"points": "1,2"}, "points must be numbers"),
        ({"points": [("a", "b")]}, "points must be numbers"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "1 points need 1 labels, but there are 2"),
        ({"points": [(1, 2)], "labels": [2]}, "labels are 1 .* or 0"),
        ({"points": [(1, 2)], "labels": [-1]}, "labels are 1 .* or 0"),
        ({"points": [(1, 2)], "labels": [NAN]}, "labels are 1 .* or 0"),
        ({"points": [(1, 2)], "labels": ["yes"]}, "labels are 1 .* or 0"),
        ({"box": (5, 5, 5, 9)}, "no area"),
        ({"box": (9, 5, 5, 9)}, "no area"),
        ({"box": (5, 9, 9, 5)}, "no area"),
        ({"box": (60, 5, 70, 9)}, "outside the frame"),
        ({"box": (-9, 5, 0, 9)}, "outside the frame"),
        ({"box": (1, 2, NAN, 9)}, "not a finite number"),
        ({"box": (1, 2, INF, 9)}, "not a finite number"),
        ({"box": (1, 2, 3)}, "x1, y1, x2, y2"),
        ({"box": "box"}, "box must be numbers"),
        ({"mask": np.ones((WIDTH, HEIGHT), bool)}, r"shape is \(60, 40\), but the frame has 40 rows"),
        ({"mask": np.ones((3, HEIGHT, WIDTH), bool)}, "shape"),
        ({"mask": "mask.png"}, "shape"),
        ({"mask": np.full((HEIGHT, WIDTH), NAN)}, "not finite"),
        ({"mask": np.full((HEIGHT, WIDTH), "x")}, "booleans or numbers"),
        ({"mask": np.full((HEIGHT, WIDTH), None)}, "booleans or numbers"),
        ({"mask": [[1, 0], [1]]}, "different lengths"),
        ({"mask": {"size": [4, 4], "counts": "0@"}}, "but the frame is 60x40"),
        ({"mask": np.ones((HEIGHT, WIDTH), bool), "points": [(1, 2)]}, "either a mask or points"),
        ({"mask": np.ones((HEIGHT, WIDTH), bool), "box": (1, 2, 3, 4)}, "either a mask or points"),
    ],
)
def test_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(PromptError, match=says) as raised:
        make(**given_)
    assert isinstance(raised.value, (MaskletError, ValueError))


def test_clicks_add_up_and_a_new_box_or_mask_takes_the_place_of_the_old() -> None:
    clicks = make(points=[(1, 2)])
    more = clicks.joined(make(points=[(3, 4)], labels=[0]))
    assert more.points == ((1, 2), (3, 4))
    assert more.labels == (1, 0)
    boxed = more.joined(make(box=(1, 1, 9, 9)))
    assert boxed.point_count == 4
    moved = boxed.joined(make(box=(2, 2, 8, 8), points=[(5, 5)]))
    assert moved.box == (2, 2, 8, 8)
    assert len(moved.points) == 3
    painted = make(mask=np.ones((HEIGHT, WIDTH), bool))
    assert moved.joined(painted) is painted
    assert painted.joined(clicks) is clicks


ANYTHING = st.one_of(
    st.builds(
        lambda points, label: make(points=points, labels=[label] * len(points)), points_inside, st.integers(0, 1)
    ),
    st.builds(lambda x, y: make(box=(x, y, x + 9, y + 9)), st.integers(0, 30), st.integers(0, 20)),
    st.builds(lambda x: make(mask=np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) < x), st.integers(0, 200)),
    st.builds(
        lambda x: make(mask=np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) < x, origin="tracked"), st.integers(1, 9)
    ),
)


@settings(deadline=None)
@given(ANYTHING)
def test_a_prompt_comes_back_from_json_and_equals_itself(prompt: Prompt) -> None:
    again = Prompt.from_json(json.loads(json.dumps(prompt.to_json())))
    assert again == prompt
    assert hash(again) == hash(prompt)
    assert again.fitted(WIDTH, HEIGHT) == prompt


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"points": 7},
        {"points": [[1]], "labels": [1]},
        {"points": [[1, 2]], "labels": []},
        {"points": [[1, "x"]], "labels": [1]},
        {"points": [[1, NAN]], "labels": [1]},
        {"points": [[1, 2]], "labels": [7]},
        {"box_xyxy": [1, 2, 3]},
        {"rle": {"size": [40, 60], "counts": "PPPP"}},
        {"rle": {"counts": "0"}},
        {"rle": [1, 2]},
        {"rle": rle.encode(np.ones((HEIGHT, WIDTH), bool)), "points": [[1, 2]], "labels": [1]},
        {"box_xyxy": [1, 2, 3, 4], "origin": "heaven"},
        7,
    ],
)
def test_damaged_json_is_refused(kept: Any) -> None:
    with pytest.raises(PromptError):
        Prompt.from_json(kept)


# --- what a further prompt means -----------------------------------------------------------------------------------

SEEN = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) < 99
TRACKED = make(mask=SEEN, origin="tracked")
THIS, NOT_THIS, BOXED = make(points=[(3, 3)]), make(points=[(5, 5)], labels=[0]), make(box=(1, 1, 9, 9))
PAINTED = make(mask=~SEEN)
CHOSEN, OTHER = (make(mask=SEEN.T.reshape(HEIGHT, WIDTH) ^ flip, origin="candidate") for flip in (False, True))


@pytest.mark.parametrize("new", [THIS, NOT_THIS, BOXED, PAINTED])
def test_the_mask_that_is_there_comes_before_the_first_prompt(new: Prompt) -> None:
    there = ObjectMask(1, 4, rle.encode(SEEN))
    assert prompts_after((), there, new) == (TRACKED, new)
    for nothing in (None, ObjectMask(1, 4, rle.encode(~SEEN & SEEN)), replace(there, lost=True)):
        assert prompts_after((), nothing, new) == (new,)
    # Only before the first: what clicks gave is no tracked mask.
    assert prompts_after((BOXED,), there, new)[0] == (new if new is PAINTED else BOXED)


def test_masks_replace_what_was_said_and_candidates_one_another() -> None:
    assert prompts_after((TRACKED, THIS, NOT_THIS), None, PAINTED) == (TRACKED, PAINTED)
    assert prompts_after((THIS, CHOSEN), None, PAINTED) == (PAINTED,)
    assert prompts_after((THIS,), None, CHOSEN) == (THIS, CHOSEN)
    assert prompts_after((THIS, CHOSEN), None, OTHER) == (THIS, OTHER)
    assert prompts_after((THIS, CHOSEN), None, NOT_THIS) == (THIS, CHOSEN, NOT_THIS)


def test_clicks_that_only_take_away_wait_and_are_one_prompt_with_what_shows_the_object() -> None:
    assert waits((NOT_THIS,)) and not waits((TRACKED, NOT_THIS)) and not waits((THIS,))
    waiting = prompts_after((NOT_THIS,), None, NOT_THIS)
    assert waits(waiting) and waiting == (make(points=[(5, 5), (5, 5)], labels=[0, 0]),)
    assert prompts_after(waiting, None, BOXED) == (asked((*waiting, BOXED)),)
