"""A stream gives the masks of the same file tracked offline, bit for bit, and keeps only what it may read again."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.models.sam2 import SAM2
from masklet.results import FrameMasks
from masklet.tracking.session import Session
from masklet.tracking.tracker import VideoTracker
from masklet.weights.loading import load_model

BOX = (28, 78, 120, 208)
P, Q = (110, 130), (24, 120)
SIZE = 128  # quicker than 256; equality does not depend on it


@pytest.fixture(scope="module")
def nano() -> SAM2:
    return load_model("nano", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def frames(clip_256_frames: list[np.ndarray]) -> np.ndarray:
    return np.stack(clip_256_frames)


def same(a: FrameMasks, b: FrameMasks) -> None:
    assert a.index == b.index
    assert list(a.objects) == list(b.objects)
    for ours, theirs in zip(a, b, strict=True):
        assert torch.equal(ours.low_res_logits_hw, theirs.low_res_logits_hw), (a.index, ours.object_id)
        for name in ("scores", "candidate", "lost", "is_prompt", "painted"):
            assert getattr(ours, name) == getattr(theirs, name), (a.index, name)


@pytest.mark.parametrize("policy", ["samurai", "recency"])
def test_stream_equals_file(nano: SAM2, frames: np.ndarray, policy: str) -> None:
    settings: dict[str, Any] = {"stable_frames_threshold": 3} if policy == "samurai" else {}
    session = Session(frames[:12], nano, resolution=SIZE, policy=policy, **settings)
    session.add_prompt(0, 1, box=BOX)
    session.add_prompt(0, 2, points=[Q])
    tracker = VideoTracker(nano, resolution=SIZE, policy=policy, **settings)
    first = {1: {"box": BOX}, 2: {"points": [Q]}}
    scored = 0
    for masks in session.propagate():
        same(tracker.push(frames[masks.index], first if masks.index == 0 else None), masks)
        scored += masks[1].scores.motion_score is not None
    assert (scored > 0) == (policy == "samurai")


@pytest.mark.parametrize("policy", ["samurai", "recency"])
@pytest.mark.parametrize("correction", [{"points": [Q], "labels": [0]}, {"box": (70, 80, 160, 200)}])
def test_corrections_equal_those_of_a_file(
    nano: SAM2, frames: np.ndarray, policy: str, correction: dict[str, Any]
) -> None:
    """Frame 14 is late enough that the tracker has begun to forget."""
    session = Session(frames[:18], nano, resolution=SIZE, policy=policy)
    session.add_prompt(0, 1, box=BOX)
    for _ in session.propagate(stop=14):
        pass
    corrected = session.add_prompt(14, 1, **correction)

    tracker = VideoTracker(nano, resolution=SIZE, policy=policy)
    with_push = VideoTracker(nano, resolution=SIZE, policy=policy)
    for index in range(15):
        prompts = {1: {"box": BOX}} if index == 0 else None
        tracker.push(frames[index], prompts)
        with_push.push(frames[index], {1: correction} if index == 14 else prompts)
    same(tracker.prompt(1, **correction), corrected)
    for masks in session.propagate(15):
        same(tracker.push(frames[masks.index]), masks)
        same(with_push.push(frames[masks.index]), masks)


def test_objects_come_and_go(nano: SAM2, frames: np.ndarray) -> None:
    """Added at frame 4, removed at frame 8, and added again at frame 10 as a new object."""
    session = Session(frames[:12], nano, resolution=SIZE)
    session.add_prompt(0, 1, box=BOX)
    offline = {masks.index: masks for masks in session.propagate(stop=3)}
    offline |= {4: session.add_prompt(4, 9, points=[Q])}
    offline |= {masks.index: masks for masks in session.propagate(4, 7)}
    session.remove_object(9)
    offline |= {masks.index: masks for masks in session.propagate(8, 9)}
    session.add_prompt(10, 9, points=[P])
    offline |= {masks.index: masks for masks in session.propagate(10)}

    tracker = VideoTracker(nano, resolution=SIZE)
    for index in range(12):
        if index == 8:
            tracker.remove_object(9)
        prompts = {0: {1: {"box": BOX}}, 4: {9: {"points": [Q]}}, 10: {9: {"points": [P]}}}.get(index)
        same(tracker.push(frames[index], prompts), offline[index])
        assert tracker.object_ids == ([1, 9] if 4 <= index < 8 or index >= 10 else [1])


def test_clicks_on_one_frame_add_up(nano: SAM2, frames: np.ndarray) -> None:
    session = Session(frames[:3], nano, resolution=SIZE)
    session.add_prompt(0, 1, points=[P])
    twice = session.add_prompt(0, 1, points=[Q], labels=[0])
    tracker = VideoTracker(nano, resolution=SIZE)
    tracker.push(frames[0], {1: {"points": [P]}})
    same(tracker.prompt(1, points=[Q], labels=[0]), twice)
    for masks in session.propagate(1):
        same(tracker.push(frames[masks.index]), masks)


def test_reset_starts_a_new_stream(nano: SAM2, frames: np.ndarray) -> None:
    fresh = VideoTracker(nano, resolution=SIZE)
    expected = [fresh.push(frame, {3: {"box": BOX}} if i == 0 else None) for i, frame in enumerate(frames[:4])]
    used = VideoTracker(nano, resolution=SIZE)
    for frame in frames[30:36]:
        used.push(frame, {1: {"points": [Q]}} if used.frame_index < 0 else None)
    used.reset()
    assert used.frame_index == -1
    assert used.object_ids == []
    small = used.push(frames[0, ::2, ::2])  # another size is fine after a reset
    assert len(small) == 0
    used.reset()
    for i, masks in enumerate(expected):
        same(used.push(frames[i], {3: {"box": BOX}} if i == 0 else None), masks)


def test_memory_of_a_long_stream_is_bounded(nano: SAM2, frames: np.ndarray) -> None:
    """Over 70 frames nothing grows: no more memories than the policy may read, of one object or of several."""
    tracker = VideoTracker(nano, resolution=64)
    small = frames[:, ::4, ::4].copy()
    sizes = []
    for index in range(70):
        prompts = {1: {"box": [v / 4 for v in BOX]}, 2: {"points": [(6, 30)]}} if index == 0 else None
        tracker.push(small[index % len(small)], prompts)
        sizes.append([len(track.bank.recent) for track in tracker._tracks.values()])
    limit = nano.spec.max_pointers + nano.spec.num_memories
    assert max(max(size) for size in sizes) <= limit
    assert max(sizes[45:]) <= max(sizes[20:45])
    assert all(len(track.bank.prompts) == len(track.prompted) == 1 for track in tracker._tracks.values())


def test_a_detector_that_prompts_again_and_again_fills_no_memory(nano: SAM2, frames: np.ndarray) -> None:
    """With only the two nearest prompts read, those that can't be read any more are dropped, and nothing changes."""
    small = frames[:, ::4, ::4].copy()
    session = Session(small, nano, resolution=64, max_prompt_frames=2)
    tracker = VideoTracker(nano, resolution=64, max_prompt_frames=2)
    box, sizes = [v / 4 for v in BOX], []
    for index in range(len(small)):
        prompts = {1: {"box": [v + index % 3 for v in box]}} if index % 2 == 0 else {}
        found = tracker.push(small[index], prompts)
        for masks in session.propagate(index, index) if index else ():
            expected = masks
        for prompt in prompts.values():
            expected = session.add_prompt(index, 1, **prompt)
        same(found, expected)
        sizes.append(len(tracker._tracks[1].bank.prompts))
    assert len(session.prompt_frames(1)) == len(small) / 2
    assert max(sizes) <= nano.spec.max_pointers / 2 + 2
    assert max(sizes[-16:]) <= max(sizes[:32]), "it stops growing"


def test_frames_without_objects_cost_no_network(nano: SAM2, frames: np.ndarray) -> None:
    tracker = VideoTracker(nano, resolution=SIZE)
    masks = tracker.push(frames[0], time=Fraction(3, 25))
    assert len(masks) == 0
    assert masks.time == Fraction(3, 25)
    assert not tracker._features


def test_refusals_leave_the_stream_as_it_was(nano: SAM2, frames: np.ndarray) -> None:
    tracker = VideoTracker(nano, resolution=SIZE)
    with pytest.raises(InputError, match="no frame was pushed"):
        tracker.prompt(1, points=[P])
    tracker.push(frames[0], {1: {"box": BOX}})
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (frames[1, :100], None, InputError, "began with 256x256"),
        (frames[1].astype(np.float32), None, InputError, "uint8"),
        (frames[1, ..., 0], None, InputError, "shape"),
        (frames[1, :0], None, InputError, r"shape \(0, 256, 3\)"),
        ("frame.png", None, InputError, "RGB array"),
        (frames[1], {1: {"points": [(300, 5)]}}, PromptError, "outside"),
        (frames[1], {1: {"box": (5, 5, 2, 9)}}, PromptError, "no area"),
        (frames[1], {1: {"clicks": [P]}}, PromptError, "clicks"),
        (frames[1], {"a": {"points": [P]}}, InputError, "whole number"),
        (frames[1], {2: {"mask": np.zeros((256, 256), bool)}}, PromptError, "object 2 is new, but its mask is empty"),
        (frames[1], {2: {"points": [P], "labels": [0]}}, PromptError, "object 2 is new, but its clicks only take away"),
    ]
    for image, prompts, kind, says in bad:
        with pytest.raises(kind, match=says):
            tracker.push(image, prompts)
    with pytest.raises(UnknownObjectError, match="the objects are: 1"):
        tracker.remove_object(5)
    assert tracker.frame_index == 0
    session = Session(frames[:2], nano, resolution=SIZE)
    session.add_prompt(0, 1, box=BOX)
    same(tracker.push(frames[1]), list(session.propagate())[1])
