"""Boxes against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from masklet.errors import InputError
from masklet.masks import boxes

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))


@given(masks)
def test_mask_to_box(mask: np.ndarray) -> None:
    found = boxes.mask_to_box(mask)
    rows, columns = np.nonzero(mask)
    if not rows.size:
        assert found is None
        assert boxes.mask_slices(mask) is None
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


def test_soft_masks_have_no_box() -> None:
    with pytest.raises(InputError):
        boxes.mask_to_box(np.zeros((4, 4), np.float32))
