"""Records on disk: exact, bounded, and gone when they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import MaskletError
from masklet.results import Scores
from masklet.tracking.memory import FrameMemory
from masklet.tracking.spool import Spool, pack, unpack
from masklet.tracking.track import FrameRecord

CPU = torch.device("cpu")


def make(
    frame: int = 3,
    step: int = 1,
    side: int = 8,
    motion_score: float | None = None,
    count: int = 0,
    seed: int = 0,
    versions: int = 1,
) -> FrameRecord:
    noise = torch.Generator().manual_seed(seed)
    low_res = torch.randn(1, 1, side, side, generator=noise) * 10
    features = torch.randn(versions, 4, side // 4, side // 4, generator=noise).bfloat16()
    pointer = torch.randn(versions, 16, generator=noise)
    scores = Scores(1.5, 0.75, motion_score)
    memory = FrameMemory(frame, features, pointer, scores, is_prompt=step == 0)
    return FrameRecord(frame, step, low_res, scores, 2, bytes(range(count)), memory)


def assert_equal(a: FrameRecord | None, b: FrameRecord) -> None:
    assert a is not None
    assert a.memory is not None
    assert b.memory is not None
    for name in ("frame", "step", "scores", "candidate", "state", "is_prompt"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("frame", "scores", "is_prompt"):
        assert getattr(a.memory, name) == getattr(b.memory, name)
    assert torch.equal(a.low_res_11hw, b.low_res_11hw)
    assert torch.equal(a.memory.features_bchw, b.memory.features_bchw)
    assert torch.equal(a.memory.pointer_bc, b.memory.pointer_bc)


records = st.builds(
    make,
    st.integers(0, 10**6),
    st.sampled_from((1, -1)),
    st.sampled_from((8, 16, 64)),
    st.none() | st.floats(0, 1),
    st.integers(0, 20),
    st.integers(0, 100),
    st.integers(1, 3),
)


@settings(deadline=None)
@given(records)
def test_a_record_comes_back_exactly(record: FrameRecord) -> None:
    assert_equal(unpack(pack(record), CPU, torch.float32), record)


@settings(deadline=None)
@given(records)
def test_half_the_bytes_for_logits_change_nothing_that_later_frames_read(record: FrameRecord) -> None:
    whole, blob = pack(record), pack(record, half=True)
    assert len(whole) - len(blob) == 2 * record.low_res_11hw.numel()
    found = unpack(blob, CPU, torch.float32)
    assert torch.equal(found.low_res_11hw, record.low_res_11hw.half().float())
    assert_equal(replace(found, low_res_11hw=record.low_res_11hw), record)


@settings(deadline=None)
@given(records, st.data())
def test_a_damaged_record_is_noticed(record: FrameRecord, data: st.DataObject) -> None:
    blob = pack(record)
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(ValueError, match="record"):
        unpack(blob[:cut], CPU, torch.float32)
    with pytest.raises(ValueError, match="record"):
        unpack(blob + b"x", CPU, torch.float32)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.sampled_from(("put", "drop", "all"))), max_size=40))
def test_behaves_like_a_dictionary(steps: list[tuple[int, int, str]]) -> None:
    spool, model = Spool(), {}
    for number, (object_id, frame, what) in enumerate(steps):
        if what == "put":
            model[object_id, frame] = record = make(frame, seed=number, count=number % 3)
            spool.put(object_id, record)
        elif what == "drop":
            model.pop((object_id, frame), None)
            spool.discard(object_id, frame)
        else:
            model = {key: value for key, value in model.items() if key[0] != object_id}
            spool.discard(object_id)
    for object_id in range(1, 4):
        expected = {frame for owner, frame in model if owner == object_id}
        assert set(spool.entries(object_id)) == expected
        for frame in range(10):
            found = spool.get(object_id, frame, CPU, torch.float32)
            if frame in expected:
                assert_equal(found, model[object_id, frame])
            else:
                assert found is None
    spool.clear()


def test_space_is_used_again(tmp_path: Path) -> None:
    spool = Spool(folder=str(tmp_path))
    length = len(pack(make()))
    for turn in range(5):
        for frame in range(4):
            spool.put(1, make(frame, seed=turn))
        spool.discard(1, 2)
        spool.put(2, make(2, seed=turn))
        spool.discard(2)
    assert spool._file is not None
    spool._file.seek(0, 2)
    assert spool._file.tell() <= 5 * length


def test_the_oldest_make_room() -> None:
    length = len(pack(make()))
    spool = Spool(limit=4 * length)
    for frame in range(10):
        spool.put(frame % 2, make(frame, seed=frame))
        if frame == 7:
            spool.put(0, make(4, seed=70))  # renewed, so no longer the oldest
    kept = {object_id: sorted(spool.entries(object_id)) for object_id in (0, 1)}
    assert kept == {0: [4, 8], 1: [7, 9]}
    assert_equal(spool.get(0, 4, CPU, torch.float32), make(4, seed=70))
    assert spool._file is not None
    spool._file.seek(0, 2)
    assert spool._file.tell() <= spool.limit
    spool.clear()
    assert spool.entries(0) == {}
    spool.put(0, make(1))
    assert sorted(spool.entries(0)) == [1]


def test_records_of_many_lengths_stay_within_the_limit() -> None:
    """Policies keep states of any length, and frames have one version or several."""
    limit = 6 * len(pack(make(versions=3, count=20)))
    spool = Spool(limit=limit)
    for frame in range(200):
        spool.put(1, make(frame, count=frame % 20, versions=1 + frame * 7 % 3))
        assert_equal(spool.get(1, frame, CPU, torch.float32), make(frame, count=frame % 20, versions=1 + frame * 7 % 3))
    assert spool._file is not None
    spool._file.seek(0, 2)
    assert spool._file.tell() <= limit and len(spool.entries(1)) >= 5


def test_its_file_has_no_name(tmp_path: Path) -> None:
    spool = Spool(folder=str(tmp_path))
    spool.put(1, make())
    assert list(tmp_path.iterdir()) == [], "nothing stays behind, whatever happens to the process"


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    spool = Spool(folder=str(tmp_path / "missing"))
    with pytest.raises(MaskletError, match="TMPDIR"):
        spool.put(1, make())
    assert spool.entries(1) == {}


def test_a_record_without_memory_is_refused() -> None:
    record = FrameRecord(0, 1, torch.zeros(1, 1, 8, 8), Scores(0.0, 0.0), 0)
    with pytest.raises(ValueError, match="without a memory"):
        pack(record)
