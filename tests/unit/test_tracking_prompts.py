"""Prompts: what is taken, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import MaskletError, PromptError
from masklet.tracking import Prompt

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
    np.testing.assert_array_equal(prompt.points_n2, np.array(points, np.float32))
    assert prompt.labels_n.tolist() == labels
    assert prompt.points_n2.dtype == np.float32
    assert prompt.labels_n.dtype == np.int64
    assert prompt.point_count == len(points)

    scaled, said = prompt.input_points(WIDTH, HEIGHT, 256)
    assert said.tolist() == [labels]
    expected = torch.tensor(points) * torch.tensor([256 / WIDTH, 256 / HEIGHT])
    torch.testing.assert_close(scaled, expected[None].float(), rtol=1e-5, atol=1e-3)


def test_labels_are_positive_by_default() -> None:
    assert make(points=[(1, 2), (3, 4)]).labels_n.tolist() == [1, 1]


@pytest.mark.parametrize(
    "points", [(7, 9), [[7, 9]], np.array([7, 9]), torch.tensor([[7, 9]]).bfloat16(), np.array([[7, 9]], np.uint8)]
)
def test_points_in_many_shapes(points: Any) -> None:
    assert make(points=points).points_n2.tolist() == [[7, 9]]


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
    box = make(box=(x1, y1, x2, y2)).box_xyxy
    assert box is not None
    assert box.tolist() == [max(x1, 0), max(y1, 0), min(x2, WIDTH), min(y2, HEIGHT)]


def test_a_box_is_two_points_in_front_of_the_clicks() -> None:
    prompt = make(box=(6, 4, 30, 20), points=[(12, 8)], labels=[0])
    points, labels = prompt.input_points(WIDTH, HEIGHT, 240)
    assert labels.tolist() == [[2, 3, 0]]
    assert points.tolist() == [[[24, 24], [120, 120], [48, 48]]]
    assert prompt.point_count == 3


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_masks_of_many_kinds(kind: type) -> None:
    shape = np.zeros((HEIGHT, WIDTH), bool)
    shape[5:9, 7:20] = True
    for mask in (shape, shape[None], shape[..., None], np.asfortranarray(shape)):
        taken = make(mask=mask.astype(kind)).mask_hw
        assert taken is not None
        assert taken.dtype == bool
        np.testing.assert_array_equal(taken, shape)
    taken = make(mask=torch.from_numpy(shape.astype(kind))).mask_hw
    np.testing.assert_array_equal(taken, shape)


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
    assert more.points_n2.tolist() == [[1, 2], [3, 4]]
    assert more.labels_n.tolist() == [1, 0]
    boxed = more.joined(make(box=(1, 1, 9, 9)))
    assert boxed.point_count == 4
    moved = boxed.joined(make(box=(2, 2, 8, 8), points=[(5, 5)]))
    assert moved.box_xyxy is not None
    assert moved.box_xyxy.tolist() == [2, 2, 8, 8]
    assert len(moved.points_n2) == 3
    painted = make(mask=np.ones((HEIGHT, WIDTH), bool))
    assert moved.joined(painted) is painted
    assert painted.joined(clicks) is clicks
