"""Boxes against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.errors import InputError
from masklet.masks import boxes

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))
whole_boxes = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    min_size=1,
    max_size=9,
)


def painted(box: tuple[int, int, int, int]) -> np.ndarray:
    frame = np.zeros((20, 20), bool)
    frame[box[1] : box[3], box[0] : box[2]] = True
    return frame


@given(masks)
def test_mask_to_box(mask: np.ndarray) -> None:
    found = boxes.mask_to_box(mask)
    rows, columns = np.nonzero(mask)
    if not rows.size:
        assert found is None
        assert boxes.mask_slices(mask) is None
        assert boxes.masks_to_boxes([mask]).tolist() == [[0, 0, 0, 0]]
        return
    assert found is not None
    assert found.dtype == np.float32
    assert found.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    where = boxes.mask_slices(mask)
    assert where is not None
    assert mask[where].sum() == mask.sum()
    assert mask[where].any(0)[[0, -1]].all()
    assert mask[where].any(1)[[0, -1]].all()
    padded = boxes.mask_slices(mask, 2)
    assert padded is not None
    assert padded[0] == slice(max(rows.min() - 2, 0), min(rows.max() + 3, mask.shape[0]))


@given(whole_boxes, whole_boxes)
def test_iou_counts_pixels(first: list, second: list) -> None:
    found = boxes.box_iou_xyxy(np.array(first), np.array(second))
    expected = [[(painted(a) & painted(b)).sum() / (painted(a) | painted(b)).sum() for b in second] for a in first]
    assert found.dtype == np.float32
    assert np.allclose(found, expected)


@given(whole_boxes, st.data())
def test_nms_against_the_plain_loop(given_boxes: list, data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.integers(0, 5), min_size=len(given_boxes), max_size=len(given_boxes)))
    groups = data.draw(st.lists(st.integers(0, 1), min_size=len(given_boxes), max_size=len(given_boxes)))
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    for kinds in (None, groups):
        kept: list[int] = []
        for i in sorted(range(len(given_boxes)), key=lambda i: -scores[i]):
            rivals = [k for k in kept if kinds is None or kinds[k] == kinds[i]]
            if all(boxes.box_iou_xyxy(given_boxes[i], given_boxes[k])[0, 0] <= threshold for k in rivals):
                kept.append(i)
        assert boxes.nms_xyxy(given_boxes, scores, threshold, kinds).tolist() == kept


@given(whole_boxes)
def test_conversions_return(given_boxes: list) -> None:
    array = np.array(given_boxes, np.float32)
    assert np.array_equal(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(array)), array)
    assert boxes.xyxy_to_xywh(array[0]).shape == (4,)
    clipped = boxes.clip_boxes_xyxy(array, 7, 5)
    for box, cut in zip(given_boxes, clipped, strict=True):
        assert boxes.box_area_xyxy(cut)[0] == painted(box)[:7, :5].sum()


def test_no_boxes_and_wrong_boxes() -> None:
    assert boxes.nms_xyxy(np.zeros((0, 4)), [], 0.5).tolist() == []
    assert boxes.box_iou_xyxy(np.zeros((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)
    assert boxes.box_iou_xyxy([5, 5, 5, 9], [5, 5, 5, 9])[0, 0] == 0
    assert boxes.box_iou_xyxy([5, 5, 2, 2], [0, 0, 9, 9])[0, 0] == 0
    for wrong in ([1, 2, 3], [[1, 2, np.nan, 4]], np.zeros((2, 2, 4))):
        with pytest.raises(InputError):
            boxes.box_iou_xyxy(wrong, [0, 0, 1, 1])
    with pytest.raises(InputError):
        boxes.nms_xyxy([[0, 0, 1, 1]], [0.5, 0.4], 0.5)
    with pytest.raises(InputError):
        boxes.nms_xyxy([[0, 0, 1, 1]], [np.nan], 0.5)
    with pytest.raises(InputError):
        boxes.nms_xyxy([[0, 0, 1, 1]], [0.5], 2)
    with pytest.raises(InputError):
        boxes.mask_to_box(np.zeros((4, 4), np.float32))
