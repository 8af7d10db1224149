"""Work creeps back in call by call: what a steady frame costs is counted here, and may not grow unnoticed.

The bounds are what a frame needed when they were written, plus about 3 %. Where a change makes a frame cheaper, lower
them; where one really needs more, raise them and say in the commit what it buys.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from benchmarks.counts import Counts, count
from benchmarks.network import Frame, random_model

from masklet.models import products


@dataclass(frozen=True)
class Bound:
    """Most that a frame may take: operators, those that only copy, KiB that these write, millions of operations of
    matrix products and convolutions."""

    operations: int
    copies: int
    copied_kib: int
    megaflops: float


BOUNDS = {
    ("nano", 256, "plain"): Bound(830, 94, 14142, 2950),
    ("nano", 256, "float32"): Bound(775, 94, 14142, 2950),
    ("nano", 256, "bfloat16"): Bound(830, 147, 14184, 2950),
    ("tiny", 256, "plain"): Bound(618, 76, 26342, 22991),
    ("tiny", 256, "float32"): Bound(602, 76, 26342, 22991),
    ("tiny", 256, "bfloat16"): Bound(750, 143, 45902, 22991),
}


def steady_frame(name: str, size: int, dtype: torch.dtype) -> Counts:
    model = random_model(name, dtype)
    with torch.inference_mode():
        frame = Frame(model, size)
        frame.whole()  # tables are made, weights are packed
    return count(frame.whole)


@pytest.mark.parametrize(("name", "size", "path"), BOUNDS)
def test_a_steady_frame_does_no_more_than_it_did(
    name: str, size: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = torch.bfloat16 if path == "bfloat16" else torch.float32
    if path == "plain":  # the path of CPUs on which PyTorch's own products are the best there is
        monkeypatch.setattr(products, "_quick", lambda x: False)
    else:
        with torch.inference_mode():
            if not products._quick(torch.zeros(1, 1, dtype=dtype)):
                pytest.skip(f"this CPU has no special path for {path}")
    bound, counts = BOUNDS[name, size, path], steady_frame(name, size, dtype)
    total = sum(counts.operations.values())
    assert total <= bound.operations, counts.operations.most_common()
    assert counts.copies <= bound.copies, counts.operations.most_common()
    assert counts.copied_bytes <= bound.copied_kib * 1024
    assert counts.flops <= bound.megaflops * 1e6


def test_the_count_sees_a_copy_and_a_product() -> None:
    a = torch.randn(8, 16)
    lean = count(lambda: a @ a.t())
    assert lean.flops == 2 * 8 * 8 * 16
    assert (lean.copies, lean.copied_bytes) == (0, 0)
    wasteful = count(lambda: a.clone() @ a.t().contiguous())
    assert wasteful.flops == lean.flops
    assert (wasteful.copies, wasteful.copied_bytes) == (2, 2 * 8 * 16 * 4)


def test_objects_share_the_image_encoder() -> None:
    """The second object adds about half of what the first one cost, and the third as much as the second."""
    model = random_model("nano", torch.float32)
    with torch.inference_mode():
        frames = [Frame(model, 256, objects) for objects in (1, 2, 3)]
        for frame in frames:
            frame.whole()
    single, two, three = (count(frame.whole).flops for frame in frames)
    assert two - single < 0.55 * single
    assert three - two == pytest.approx(two - single, rel=0.01)
