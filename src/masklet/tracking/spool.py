"""Records of tracked frames on disk, so that a session's resident memory doesn't grow with the video."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import astuple, dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from masklet.errors import MaskletError
from masklet.results import Scores, Window
from masklet.tracking.memory import FrameMemory
from masklet.tracking.track import FrameRecord

#: Disk space after which the oldest records make room for new ones.
DEFAULT_LIMIT = 4 << 30

_HEADER = np.dtype(
    [
        ("frame", "<i8"),
        ("step", "<i8"),
        ("object_score", "<f8"),
        ("predicted_iou", "<f8"),
        ("motion_score", "<f8"),
        ("candidate", "<i8"),
        ("state_bytes", "<i8"),
        ("versions", "<i8"),
        ("low_res_size", "<i8", 2),
        ("low_res_bytes", "<i8"),
        ("memory_channels", "<i8"),
        ("memory_size", "<i8", 2),
        ("pointer_width", "<i8"),
        ("window", "<i8", 4),
        ("memory_window_side", "<i8"),
    ]
)


def pack(record: FrameRecord, *, half: bool = False) -> bytes:
    """Serialise what tracking needs of a record; explanations and prompts are left out.

    :func:`unpack` gives equal tensors, but for the mask's logits with ``half``: those are kept in two bytes each.
    """
    memory = record.memory
    if memory is None:
        raise ValueError("a record without a memory can't be packed")
    low_res = record.low_res_11hw.to(torch.float16 if half else torch.float32).cpu().numpy()
    features = memory.features_bchw.to(torch.bfloat16).cpu().contiguous()
    pointer = memory.pointer_bc.float().cpu().numpy()
    header = np.zeros((), _HEADER)
    header["frame"], header["step"] = record.frame, record.step
    for name, score in vars(record.scores).items():
        header[name] = np.nan if score is None else score
    header["candidate"], header["state_bytes"] = record.candidate, len(record.state)
    header["low_res_size"], header["low_res_bytes"] = low_res.shape[-2:], low_res.itemsize
    header["versions"], header["memory_channels"], header["memory_size"] = *features.shape[:2], features.shape[-2:]
    header["pointer_width"], header["memory_window_side"] = pointer.shape[-1], memory.window_side
    if record.window is not None:
        header["window"] = astuple(record.window)
    arrays = (header, low_res, features.view(torch.int16).numpy(), pointer)
    return b"".join((*(array.tobytes() for array in arrays), record.state))


def unpack(blob: bytes, device: torch.device, dtype: torch.dtype) -> FrameRecord:
    """Undo :func:`pack`; tensors go to ``device``, the pointer in the network's ``dtype``.

    Raises:
        ValueError: the bytes are not a record.
    """
    if len(blob) < _HEADER.itemsize:
        raise ValueError("a record is cut short")
    header = np.frombuffer(blob, _HEADER, count=1)[0]
    low_res_size, memory_size = header["low_res_size"].tolist(), header["memory_size"].tolist()
    channels, width = int(header["memory_channels"]), int(header["pointer_width"])
    bytes_each, state_bytes, versions = (int(header[name]) for name in ("low_res_bytes", "state_bytes", "versions"))
    sizes = (*low_res_size, *memory_size, channels, width, versions)
    if not all(0 < n <= 4096 for n in sizes) or bytes_each not in (2, 4) or state_bytes < 0:
        raise ValueError("a record has impossible sizes")
    cells = channels * math.prod(memory_size)
    counts = (math.prod(low_res_size) * bytes_each, versions * cells * 2, versions * width * 4, state_bytes)
    if len(blob) != _HEADER.itemsize + sum(counts):
        raise ValueError("a record is cut short")
    ends = np.cumsum((_HEADER.itemsize, *counts)).tolist()

    def tensor(part: int, kind: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(np.frombuffer(blob[ends[part] : ends[part + 1]], kind).reshape(shape).copy())

    low_res = tensor(0, f"<f{bytes_each}", (1, 1, *low_res_size)).float().to(device)
    features = tensor(1, "<i2", (versions, channels, *memory_size)).view(torch.bfloat16).to(device)
    pointer = tensor(2, "<f4", (versions, width)).to(device, dtype)
    scores = Scores.from_json({name: float(header[name]) for name in vars(Scores())})
    frame, step = int(header["frame"]), int(header["step"])
    memory = FrameMemory(frame, features, pointer, scores, step == 0, int(header["memory_window_side"]))
    window = Window(*header["window"].tolist()) if header["window"].any() else None
    candidate = int(header["candidate"])
    return FrameRecord(frame, step, low_res, scores, candidate, blob[ends[3] :], memory, window=window)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a record lies, and the scores by which a policy may want it."""

    offset: int
    length: int
    step: int
    scores: Scores


class Spool:
    """A temporary file of records by object and frame. It vanishes with the process.

    Args:
        limit: bytes on disk; beyond, the oldest records make room.
        folder: where the file lies (the system's temporary folder by default).
    """

    def __init__(self, limit: int = DEFAULT_LIMIT, folder: str | None = None) -> None:
        self.limit = limit
        self._folder = folder
        self._file: BinaryIO | None = None
        self._end = 0
        # Free places: how long they are by where they begin, and where they begin by where they end.
        self._free: dict[int, int] = {}
        self._free_ends: dict[int, int] = {}
        # Object, then frame; insertion order is age.
        self._entries: dict[int, dict[int, Entry]] = {}
        self._ages: dict[tuple[int, int], None] = {}

    def put(self, object_id: int, record: FrameRecord) -> None:
        """Keep a record; it takes the place of an older one of the same object and frame."""
        blob = pack(record)
        self.discard(object_id, record.frame)
        while self._ages and self._end + len(blob) > self.limit and self._fitting(len(blob)) is None:
            self.discard(*next(iter(self._ages)))
        offset = self._slot(len(blob))
        try:
            self._write(blob, offset)
        except OSError as error:
            raise MaskletError(
                f"tracking keeps its memories in a temporary file, and that can't be written: {error.strerror}. "
                "Make room in the temporary folder, or point TMPDIR to a roomier one"
            ) from error
        entry = Entry(offset, len(blob), record.step, record.scores)
        self._entries.setdefault(object_id, {})[record.frame] = entry
        self._ages[object_id, record.frame] = None

    def blob(self, object_id: int, frame: int) -> bytes | None:
        """The packed record, or None."""
        entry = self._entries.get(object_id, {}).get(frame)
        if entry is None or self._file is None:
            return None
        self._file.seek(entry.offset)
        return self._file.read(entry.length)

    def get(self, object_id: int, frame: int, device: torch.device, dtype: torch.dtype) -> FrameRecord | None:
        blob = self.blob(object_id, frame)
        return None if blob is None else unpack(blob, device, dtype)

    def entries(self, object_id: int) -> dict[int, Entry]:
        """All records of an object by frame; read only."""
        return self._entries.get(object_id, {})

    def discard(self, object_id: int, frame: int | None = None) -> None:
        """Forget one record, or all of an object's."""
        for t in list(self._entries.get(object_id, {})) if frame is None else [frame]:
            entry = self._entries.get(object_id, {}).pop(t, None)
            if entry is not None:
                self._release(entry.offset, entry.offset + entry.length)
                del self._ages[object_id, t]

    def clear(self) -> None:
        """Forget everything and give the disk space back."""
        if self._file is not None:
            self._file.close()
        self._file, self._end = None, 0
        self._free, self._free_ends, self._entries, self._ages = {}, {}, {}, {}

    def _fitting(self, length: int) -> int | None:
        """Where a free place of at least so many bytes begins."""
        return next((start for start, room in self._free.items() if room >= length), None)

    def _slot(self, length: int) -> int:
        start = self._fitting(length)
        if start is None:
            start, self._end = self._end, self._end + length
            return start
        end = start + self._free.pop(start)
        del self._free_ends[end]
        if start + length < end:
            self._release(start + length, end)
        return start

    def _release(self, start: int, end: int) -> None:
        """Make a place free, and one with the free places before and behind it."""
        start, end = self._free_ends.pop(start, start), end + self._free.pop(end, 0)
        self._free[start], self._free_ends[end] = end - start, start

    def _write(self, blob: bytes, offset: int) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 (it lives as long as the spool)
                prefix="masklet-", dir=self._folder, buffering=0
            )
        os.lseek(self._file.fileno(), offset, os.SEEK_SET)
        view = memoryview(blob)
        while view:
            view = view[os.write(self._file.fileno(), view) :]
