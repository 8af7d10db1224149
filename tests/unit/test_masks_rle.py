"""Run lengths against pycocotools, against plain numpy, and against damage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.masks import boxes, rle

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@given(masks)
def test_round_trip_and_the_same_text_as_pycocotools(mask: np.ndarray) -> None:
    packed = rle.encode(mask)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert packed == {"size": list(mask.shape), "counts": theirs["counts"].decode()}
    assert np.array_equal(rle.decode(packed), mask)
    assert rle.decode(packed).dtype == np.bool_
    assert rle.area(packed) == mask.sum()
    assert rle.is_empty(packed) == (not mask.any())


@given(masks)
def test_every_form_of_counts_is_read(mask: np.ndarray) -> None:
    packed = rle.encode(mask)
    plain = rle.counts(packed)
    for form in (packed["counts"].encode(), plain, plain.tolist()):
        other = {"size": tuple(mask.shape), "counts": form}
        assert np.array_equal(rle.decode(other), mask)
        assert rle.compress(other) == packed


@given(masks)
def test_box_is_that_of_the_mask(mask: np.ndarray) -> None:
    found, expected = rle.box(rle.encode(mask)), boxes.mask_to_box(mask)
    if expected is None:
        assert found is None
    else:
        assert np.array_equal(found, expected)


@given(masks)
def test_runs_of_length_zero_inside_do_not_mislead(mask: np.ndarray) -> None:
    runs = [part for run in rle.counts(rle.encode(mask)).tolist() for part in (run // 2, 0, run - run // 2)]
    stuttering = {"size": list(mask.shape), "counts": runs}
    assert np.array_equal(rle.decode(stuttering), mask)
    assert rle.compress(stuttering) == rle.encode(mask)
    expected = boxes.mask_to_box(mask)
    assert (rle.box(stuttering) is None) == (expected is None)
    assert expected is None or np.array_equal(rle.box(stuttering), expected)


@given(masks, st.data())
def test_crops(mask: np.ndarray, data: st.DataObject) -> None:
    height, width = mask.shape
    x1, y1 = data.draw(st.integers(-5, width + 4)), data.draw(st.integers(-5, height + 4))
    x2, y2 = data.draw(st.integers(x1 + 1, width + 6)), data.draw(st.integers(y1 + 1, height + 6))
    wide = np.pad(mask, 20)
    part = wide[y1 + 20 : y2 + 20, x1 + 20 : x2 + 20]  # a view with gaps between its rows
    assert np.array_equal(rle.decode(rle.encode(part)), part)
    back = rle.decode(rle.encode_crop(part, x1, y1, height, width))
    inside = np.zeros_like(mask)
    inside[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = True
    assert np.array_equal(back, mask & inside)


def test_any_layout_and_whole_number_type_is_taken() -> None:
    mask = np.random.default_rng(1).random((9, 13)) > 0.5
    for form in (mask.T.copy().T, mask.astype(np.int64) * 7, mask.astype(np.uint8) * 255, mask[::-1][::-1]):
        assert rle.encode(form) == rle.encode(mask)
    assert np.array_equal(rle.decode(rle.encode(mask[::2, ::3])), mask[::2, ::3])


@pytest.mark.parametrize(
    "damaged",
    [
        {"size": [4, 4], "counts": "0"},  # too short for 16 pixels
        {"size": [4, 4], "counts": rle.encode(np.eye(5, dtype=bool))["counts"]},
        {"size": [4, 4], "counts": rle.encode(np.eye(4, dtype=bool))["counts"][:-1] + "o"},  # cut in a number
        {"size": [4, 4], "counts": "\x00\x01"},
        {"size": [4, 4], "counts": "ä"},
        {"size": [4, 4], "counts": "o" * 40 + "0"},
        {"size": [4, 4], "counts": ""},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": [8.0, 8.0]},
        {"size": [4, 4], "counts": [[8, 8]]},
        {"size": [4, 4], "counts": None},
        {"size": [0, 4], "counts": []},
        {"size": [4], "counts": [4]},
        {"size": "44", "counts": None},
        {"size": [2**20, 2**20], "counts": [2**40]},
        {"counts": [4]},
        "0",
    ],
)
def test_damage_is_found(damaged: dict) -> None:
    for use in (rle.decode, rle.area, rle.box, rle.counts, rle.compress):
        with pytest.raises(InputError):
            use(damaged)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_random_text_is_an_error_or_a_mask_of_that_size(text: str) -> None:
    try:
        mask = rle.decode({"size": [6, 5], "counts": text})
    except InputError:
        return
    assert mask.shape == (6, 5)


def test_what_cannot_be_a_mask() -> None:
    for wrong in (np.zeros((3, 3)), np.zeros((2, 3, 3), bool), np.zeros((0, 3), bool), np.array(True)):
        with pytest.raises(InputError):
            rle.encode(wrong)


def test_a_frame_of_8k() -> None:
    mask = np.zeros((4320, 7680), bool)
    mask[100:4000, 7:7001] = True
    packed = rle.encode(mask)
    assert rle.area(packed) == mask.sum()
    assert np.array_equal(rle.box(packed), [7, 100, 7001, 4000])
    assert np.array_equal(rle.decode(packed), mask)
