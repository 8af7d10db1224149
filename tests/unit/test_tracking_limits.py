"""What a session refuses, what it says about a mask, and what it does when memory is short."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from masklet.errors import DeviceMemoryError, InputError, MaskletError, PromptError, UnknownObjectError
from masklet.models.sam2 import SAM2, ImageFeatures
from masklet.results import FrameMasks
from masklet.tracking.session import Session
from masklet.weights.loading import load_model

BOX = (28, 78, 120, 208)
P, Q, R = (110, 130), (24, 120), (200, 40)


@pytest.fixture(scope="module")
def nano() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def frames(clip_256_frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(clip_256_frames)


@pytest.fixture
def make_session(nano: SAM2, frames: np.ndarray) -> Any:
    def make(count: int = 16, **settings: Any) -> Session:
        return Session(frames[:count], nano, **{"resolution": 128, **settings})

    return make


def run(session: Session) -> dict[int, FrameMasks]:
    return {masks.index: masks for masks in session.propagate()}


def equal_logits(a: FrameMasks, b: FrameMasks, atol: float = 0.0) -> bool:
    return list(a.objects) == list(b.objects) and all(
        torch.allclose(x.low_res_logits_hw, y.low_res_logits_hw, rtol=0, atol=atol) for x, y in zip(a, b, strict=True)
    )


# --- memory --------------------------------------------------------------------------------------------------------


def test_memory_is_bounded(nano: SAM2, frames: np.ndarray) -> None:
    """Over 70 frames: banks and features stay small, and the file on disk, beyond its limit, as it was after 35."""
    small = np.concatenate([frames[:, ::4, ::4]] * 2)[:70].copy()
    session = Session(small, nano, resolution=64, spool_limit=50_000)
    session.add_prompt(0, 1, box=[v / 4 for v in BOX])
    session.add_prompt(0, 2, points=[(6, 30)])
    banks, files = [], []
    for _ in session.propagate():
        banks.append(max(len(track.bank.recent) for track in session._tracks.values()))
        file = session._spool._file
        files.append(0 if file is None else file.seek(0, 2))
        assert len(session._features) <= 2
    assert max(banks) <= nano.spec.max_pointers + nano.spec.num_memories
    assert max(files) <= 50_000
    assert max(files) == files[-1] == files[35], "the limit was met, and the file did not grow after that"
    # What was tracked last is still there; the oldest made room.
    assert 69 in session.tracked_frames(1)
    assert 1 not in session.tracked_frames(1)
    assert 0 in session.tracked_frames(1), "prompts stay"


def test_a_full_spool_does_not_change_tracking(make_session: Any) -> None:
    roomy, narrow = make_session(16), make_session(16, spool_limit=1)
    for session in (roomy, narrow):
        session.add_prompt(0, 1, box=BOX)
    expected = run(roomy)
    assert all(equal_logits(masks, expected[i]) for i, masks in run(narrow).items())


# --- results -------------------------------------------------------------------------------------------------------


def test_what_a_mask_says(make_session: Any) -> None:
    session = make_session(20, resolution=256)
    session.add_prompt(0, 1, box=BOX)
    for masks in session.propagate():
        mask = masks[1]
        assert mask.logits.shape == mask.mask.shape == (256, 256)
        assert mask.logits.dtype == np.float32
        assert mask.mask.dtype == bool
        np.testing.assert_array_equal(mask.mask, mask.logits > 0)
        np.testing.assert_array_equal(masks.logits_bnhw[0, 0].numpy(), mask.logits)
        np.testing.assert_array_equal(masks.masks[1], mask.mask)
        assert mask.box_xyxy is not None
        x1, y1, x2, y2 = mask.box_xyxy.astype(int)
        inside = np.zeros_like(mask.mask)
        inside[y1:y2, x1:x2] = True
        assert not (mask.mask & ~inside).any()
        assert mask.mask[y1].any() and mask.mask[y2 - 1].any() and mask.mask[:, x1].any() and mask.mask[:, x2 - 1].any()
        assert mask.lost == (mask.scores.object_score < 0)
        assert 0 <= mask.scores.predicted_iou <= 1
        assert mask.is_prompt == (masks.index == 0)
        if masks.index > 0:
            assert len(mask.explanation.ious) == 3
            assert mask.scores.predicted_iou == mask.explanation.ious[mask.candidate]
            assert (0, nano_slots(session)) in mask.explanation.memory_frames
    with pytest.raises(InputError, match="no object has a mask"):
        FrameMasks(3, {}).logits_bnhw  # noqa: B018


def nano_slots(session: Session) -> int:
    return session.model.spec.num_memories - 1


# --- bad input and odd pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda s: s.add_prompt(8, 1, points=[P]), InputError, "frames 0 to 7"),
        (lambda s: s.add_prompt(-1, 1, points=[P]), InputError, "frames 0 to 7"),
        (lambda s: s.add_prompt(1.5, 1, points=[P]), InputError, "whole number"),
        (lambda s: s.add_prompt("0", 1, points=[P]), InputError, "whole number"),
        (lambda s: s.add_prompt(True, 1, points=[P]), InputError, "whole number"),
        (lambda s: s.add_prompt(0, "cat", points=[P]), InputError, "whole number"),
        (lambda s: s.add_prompt(0, 2.0, points=[P]), InputError, "whole number"),
        (lambda s: s.add_prompt(0, 2), PromptError, "empty prompt"),
        (lambda s: s.add_prompt(0, 2, points=[(256.5, 3)]), PromptError, "256x256"),
        (lambda s: s.add_prompt(0, 2, box=(9, 9, 3, 12)), PromptError, "no area"),
        (lambda s: s.add_prompt(0, 2, points=[(float("nan"), 3)]), PromptError, "finite"),
        (lambda s: s.add_prompt(0, 2, mask=np.zeros((4, 4), bool)), PromptError, "256 rows"),
        (lambda s: s.add_prompt(0, 2, mask=np.zeros((256, 256), bool)), PromptError, "empty"),
        (lambda s: s.clear_prompts(0, 2), UnknownObjectError, "the objects are: 1"),
        (lambda s: s.clear_prompts(99, 1), InputError, "frames 0 to 7"),
        (lambda s: s.remove_object(2), UnknownObjectError, "the objects are: 1"),
        (lambda s: s.prompts(0, 2), UnknownObjectError, "the objects are: 1"),
        (lambda s: s.masks(8), InputError, "frames 0 to 7"),
        (lambda s: s.propagate(8), InputError, "frames 0 to 7"),
        (lambda s: s.propagate(0, 8), InputError, "frames 0 to 7"),
        (lambda s: s.propagate(4, 2), InputError, "does not lie forward"),
        (lambda s: s.propagate(2, 4, direction="backward"), InputError, "does not lie backward"),
        (lambda s: s.propagate(2, 4, direction="both"), InputError, "no single stop"),
        (lambda s: s.propagate(direction="up"), InputError, "forward, backward, both"),
        (lambda s: s.propagate(objects=[1, 2]), UnknownObjectError, "the objects are: 1"),
        (lambda s: s.propagate(objects=[]), InputError, "nothing to track"),
    ],
)
def test_refusals(make_session: Any, call: Any, kind: type[Exception], says: str) -> None:
    """At once, with a message for people, and without a trace in the session."""
    session = make_session(8, resolution=64)
    prompted = session.add_prompt(0, 1, box=BOX)
    with pytest.raises(kind, match=says) as raised:
        call(session)
    assert isinstance(raised.value, MaskletError)
    assert session.object_ids == [1]
    assert equal_logits(session.masks(0), prompted)


@pytest.mark.parametrize("resolution", [0, -64, 100, 63, 8192, 96.0, "256"])
def test_impossible_resolutions(make_session: Any, resolution: Any) -> None:
    if resolution == 0:
        resolution = 32
    with pytest.raises(InputError, match="multiple of 32"):
        make_session(2, resolution=resolution)


@pytest.mark.parametrize("size", [(1, 1), (37, 23), (640, 3), (2, 501)])
def test_odd_sizes(nano: SAM2, frames: np.ndarray, size: tuple[int, int]) -> None:
    width, height = size
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames[:3]])
    session = Session(small, nano, resolution=64)
    session.add_prompt(0, 1, points=[(width / 2, height / 2)])
    session.add_prompt(0, 2, box=(0, 0, width, height))
    session.add_prompt(0, 3, mask=np.ones((height, width), bool))
    for masks in session.propagate():
        assert {mask.mask.shape for mask in masks} == {(height, width)}
    assert session.masks(0)[3].mask.all()


def test_an_8k_frame(nano: SAM2, frames: np.ndarray) -> None:
    large = cv2.resize(frames[0], (7680, 4320))[None]
    session = Session(large, nano)
    scale = np.array([30, 4320 / 256, 30, 4320 / 256])
    mask = session.add_prompt(0, 1, box=BOX * scale)[1].mask
    assert mask.shape == (4320, 7680)
    small = Session(frames[:1], nano).add_prompt(0, 1, box=BOX)[1].mask
    shrunk = cv2.resize(mask.astype(np.uint8), (256, 256), interpolation=cv2.INTER_AREA) > 0
    assert (small & shrunk).sum() > 0.9 * (small | shrunk).sum()


# --- out of memory -------------------------------------------------------------------------------------------------


def test_objects_go_in_smaller_batches_when_memory_runs_out(
    make_session: Any, nano: SAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prompted() -> Session:
        session = make_session(4)
        for object_id, point in enumerate((P, Q, R)):
            session.add_prompt(0, object_id, points=[point])
        return session

    expected = run(prompted())
    attend, sizes = nano.attend_to_memory, []

    def with_little_memory(features: ImageFeatures, memories: Any) -> torch.Tensor:
        sizes.append(memories.slots_bm.shape[0])
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("out of memory")
        return attend(features, memories)

    monkeypatch.setattr(nano, "attend_to_memory", with_little_memory)
    found = run(prompted())
    assert sizes[0] == 3
    assert set(sizes[2:]) == {1}, "it isn't tried again on every frame"
    for index, masks in found.items():
        assert equal_logits(masks, expected[index], atol=0.1)


@pytest.mark.parametrize("part", ["encode_image", "attend_to_memory", "decode_masks", "encode_memory"])
def test_what_to_do_when_memory_does_not_suffice_at_all(
    make_session: Any, nano: SAM2, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    session = make_session(4)
    if part == "attend_to_memory":
        session.add_prompt(0, 1, box=BOX)
    monkeypatch.setattr(nano, part, fail)
    with pytest.raises(DeviceMemoryError, match="--resolution 64"):
        list(session.propagate()) if part == "attend_to_memory" else session.add_prompt(0, 1, box=BOX)
    assert session.object_ids == ([1] if part == "attend_to_memory" else [])
