"""Tracking that goes on in another session, from bytes."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masklet.errors import InputError
from masklet.results import Scores
from masklet.tracking.session import Session
from masklet.tracking.state import export_state, import_state

FRAMES = 10


def open_session(video: np.ndarray, **settings: Any) -> Session:
    return Session(video, "nano", device="cpu", dtype="float32", resolution=128, **settings)


@pytest.fixture(scope="module")
def moving_clip() -> np.ndarray:
    """Ten frames of a ball that goes right over the demo clip's first frames: uint8 (10, 72, 128, 3)."""
    import av

    demo = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"
    images = []
    with av.open(str(demo)) as container:
        for frame in container.decode(video=0):
            images.append(frame.reformat(128, 72, format="rgb24").to_ndarray())
            if len(images) == FRAMES:
                break
    y, x = np.mgrid[:72, :128]
    for index, image in enumerate(images):
        image[((x - 20 - 6 * index) ** 2 + (y - 40) ** 2) < 144] = (250, 40, 30)
    return np.stack(images)


def session_with_prompts(video: np.ndarray, **settings: Any) -> Session:
    session = open_session(video, **settings)
    session.add_prompt(2, 1, points=[(32, 40)])
    session.add_prompt(2, 1, points=[(100, 10)], labels=[0])
    session.add_prompt(2, 2, box=(60, 5, 100, 30))
    session.add_prompt(6, 2, mask=np.pad(np.ones((20, 30), bool), ((10, 42), (60, 38))))
    return session


def all_masks(found: Iterator[Any]) -> list[tuple[int, dict[int, tuple[bytes, Scores]]]]:
    return [
        (
            masks.index,
            {one.object_id: (one.logits.tobytes(), one.scores) for one in masks},
        )
        for masks in found
    ]


@pytest.mark.parametrize(
    ("policy", "cut", "shape"),
    [
        ("samurai", 3, "square"),
        ("samurai", 7, "fit"),
        ("recency", 1, "square"),
        ("dam4sam", 4, "square"),
        ("sam2long", 5, "fit"),
    ],
)
def test_tracking_goes_on_with_the_same_masks_to_the_bit(
    moving_clip: np.ndarray, policy: str, cut: int, shape: str
) -> None:
    settings: dict[str, Any] = {
        "recency": {},
        "samurai": {"stable_frames_threshold": 3},  # so that motion has a say within a few frames
        "dam4sam": {"anchor_iou": 0.0, "anchor_gap": 1, "anchor_size_change": 1.0, "distractor_overlap": 1.0},
        "sam2long": {"sure_object_score": 100.0},  # so that there are several pathways
    }[policy] | {"policy": policy, "shape": shape}
    with session_with_prompts(moving_clip, **settings) as whole:
        wanted = all_masks(whole.propagate(2))
        whole_tracks = copy.deepcopy([*whole._tracks.values()])
        wanted += all_masks(whole.propagate(1, direction="backward"))
    with session_with_prompts(moving_clip, **settings) as first:
        run = first.propagate(2)
        begun = all_masks(next(run) for _ in range(cut))
        state = export_state(first, [(2 + cut, 1), (1, -1)])
    with open_session(moving_clip, **settings) as second:
        import_state(second, reversed(state.values()))
        rest = all_masks(second.propagate(2 + cut)) + all_masks(second.propagate(1, direction="backward"))
    assert begun + rest == wanted
    if policy == "samurai":
        assert any(one[1].motion_score is not None for _, objects in rest for one in objects.values())
    if policy == "sam2long":
        assert max(len(record.pointer_bc) for track in whole_tracks for record in track.bank.recent.values()) == 3
    if policy == "dam4sam":
        assert any(json.loads(track.state)["anchors"] for track in whole_tracks)


def test_a_state_of_another_version_of_masklet_is_refused(moving_clip: np.ndarray) -> None:
    with session_with_prompts(moving_clip) as session:
        [state, _] = export_state(session, [(3, 1)]).values()
        older = state.replace(b"masklet track 5", b"masklet track 4", 1)
        with pytest.raises(InputError, match="another version of masklet: track it anew"):
            import_state(session, [older])


def test_a_state_whose_policy_knows_nonsense_is_refused(moving_clip: np.ndarray) -> None:
    with session_with_prompts(moving_clip) as session:
        next(session.propagate(2))
        prompted = session._tracks[1].prompted
        prompted[2] = replace(prompted[2], state=b"no motion at all")
        states = export_state(session, [(3, 1)])
        with pytest.raises(InputError, match="damaged"):
            import_state(session, states.values())


def bytes_of(states: dict[int, bytes]) -> int:
    return sum(map(len, states.values()))


def test_a_state_holds_only_what_is_still_read(moving_clip: np.ndarray) -> None:
    with session_with_prompts(np.concatenate([moving_clip] * 2), policy="recency") as session:
        sizes = [bytes_of(export_state(session, [(3, 1)]))]
        for masks in session.propagate(2):
            sizes.append(bytes_of(export_state(session, [(masks.index + 1, 1)])))
    assert max(sizes) < 730_000  # with logits of two bytes; masks are copied by keys, which are kept with every memory
    assert sizes[-1] - sizes[-2] < 1000  # it stops growing once the oldest memories are out of reach


def test_a_state_of_other_settings_is_refused(moving_clip: np.ndarray) -> None:
    with session_with_prompts(moving_clip) as session:
        state = export_state(session, [(3, 1)])
    with open_session(moving_clip, policy="recency") as other:
        other.add_prompt(0, 5, points=[(20, 40)])
        with pytest.raises(InputError, match="policy: samurai then, recency now"):
            import_state(other, state.values())
        assert other.object_ids == [5]  # and what was there stays
    with (
        open_session(moving_clip, shape="fit") as narrow,
        pytest.raises(InputError, match="shape: square then, fit now"),
    ):
        import_state(narrow, state.values())
    with (
        open_session(moving_clip[:, ::2, ::2].copy()) as small,
        pytest.raises(InputError, match="frame"),
    ):
        import_state(small, state.values())


def test_a_state_of_other_weights_or_thresholds_is_refused(moving_clip: np.ndarray) -> None:
    with session_with_prompts(moving_clip, memory_bank_iou_threshold=0.6) as session:
        state = export_state(session, [(3, 1)])
        with (
            open_session(moving_clip) as other,
            pytest.raises(InputError, match=r"memory_bank_iou_threshold: 0\.6 then, 0\.5 now"),
        ):
            import_state(other, state.values())
        trained = copy.deepcopy(session.model)
        with torch.no_grad():
            next(trained.parameters()).add_(1e-3)
        with (
            Session(moving_clip, trained, resolution=128, memory_bank_iou_threshold=0.6) as other,
            pytest.raises(InputError, match=r"weights: \w+ then, \w+ now"),
        ):
            import_state(other, state.values())


def rewritten(state: bytes, change: Any) -> bytes:
    (length,) = struct.unpack_from("<Q", state, 16)
    header = json.loads(state[24 : 24 + length])
    change(header)
    packed = json.dumps(header).encode()
    return state[:16] + struct.pack("<Q", len(packed)) + packed + state[24 + length :]


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["lengths"].append(-5),
        lambda h: h["lengths"].__setitem__(0, h["lengths"][0] + 1),
        lambda h: h.update(prompted=[999]),
        lambda h: h.update(remembered=[]),
        lambda h: h.update(id="x"),
        lambda h: h.update(rank=None),
        lambda h: h.update(rank=[0, 2]),
        lambda h: h.update(rank=[1, 3]),
        lambda h: h["prompts"][0][1][0].update(box_xyxy=[1e9, 0, 2e9, 1]),
        lambda h: h["prompts"][1][1][0].update(rle={"size": [72, 128], "counts": "PPPP"}),
        lambda h: h["prompts"][0].__setitem__(1, []),
        lambda h: h.pop("prompts"),
        lambda h: h.update(prompts=7),
    ],
)
def test_damaged_states_are_refused(moving_clip: np.ndarray, change: Any) -> None:
    with session_with_prompts(moving_clip) as session:
        first, state = export_state(session, [(3, 1)]).values()
        with pytest.raises(InputError):
            import_state(session, [first, rewritten(state, change)])
        for cut in (0, 10, 20, len(state) // 2, len(state) - 1):
            with pytest.raises(InputError, match="damaged"):
                import_state(session, [first, state[:cut]])
        assert session.object_ids == [1, 2]
        import_state(session, [state, first])
        assert session.object_ids == [1, 2]
