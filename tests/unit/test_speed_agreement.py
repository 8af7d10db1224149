"""The quick format gives the masks of the exact one: nano in bfloat16 and in float32 on the packaged clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.agreement import compare, find_clips, iou

from masklet import load_model

FRAMES = 12


def test_bfloat16_masks_are_those_of_float32() -> None:
    exact, quick = (load_model("nano", device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    [bunny] = find_clips(())
    own, led = np.array(list(compare(bunny, exact, quick, FRAMES))).T
    assert len(own) == FRAMES - 1
    assert own.mean() >= 0.99
    assert led.mean() >= 0.99
    assert not (own == 1).all()  # two formats were compared, not one with itself


def test_overlap() -> None:
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    half = full.copy()
    half[:2] = False
    assert (iou(empty, empty), iou(empty, full), iou(half, full)) == (1.0, 0.0, 0.5)


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not in DAVIS layout"):
        find_clips([tmp_path])
