"""A session's tracking as bytes: taken in one process, gone on with in another, with the same masks to the bit.

Prompts are kept, what they decided, and the tracked records that may still be read. Neither pictures nor network are in
it, and nothing in it is run: it may come out of a file from a stranger.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.masks import rle
from masklet.tracking.memory import FrameMemory, MemoryBank
from masklet.tracking.prompts import Prompt
from masklet.tracking.spool import pack, unpack
from masklet.tracking.track import FrameRecord, ObjectTrack

if TYPE_CHECKING:
    from masklet.tracking.session import Session

_MAGIC = b"masklet track 1\n"
_LARGEST_HEADER = 64 << 20


def export_state(session: Session, places: Iterable[tuple[int, int]]) -> bytes:
    """What `import_state` needs to track on from these places: (frame that comes next, direction +1 or -1) each.

    Give the place where tracking stands, and those where it will set out again later.
    """
    places = list(places)
    objects, blobs = [], []
    for object_id in session.object_ids:
        track = session._tracks[object_id]
        needed = sorted({frame for place in places for frame in _needed(session, track, *place)})
        stored = [(frame, session._spool.blob(object_id, frame)) for frame in needed]
        tracked = [(frame, blob) for frame, blob in stored if blob is not None]
        blobs += [pack(record) for record in track.prompted.values()] + [blob for _, blob in tracked]
        objects.append(
            {
                "id": object_id,
                "prompts": [_prompt_to_json(frame, prompt) for frame, prompt in track.prompts.items()],
                "prompted": list(track.prompted),
                "remembered": list(track.bank.prompts),
                "visited": list(track.visited.items()),
                "tracked": [frame for frame, _ in tracked],
            }
        )
    header = json.dumps(
        {"fits": _fits(session), "objects": objects, "lengths": [len(blob) for blob in blobs]}, allow_nan=False
    ).encode()
    return b"".join((_MAGIC, struct.pack("<Q", len(header)), header, *blobs))


def import_state(session: Session, data: bytes) -> None:
    """Puts a session where `export_state` was called, in place of all objects that it has.

    Raises InputError where the bytes are damaged, or were made with another network, resolution or policy.
    """
    try:
        header, blobs = _open(data)
        fits = header["fits"]
        if fits != _fits(session):
            differs = ", ".join(
                f"{k}: {fits.get(k)} then, {v} now" for k, v in _fits(session).items() if fits.get(k) != v
            )
            raise InputError(f"this tracking was begun with other settings ({differs}), so it can't be gone on with")
        tracks = []
        for kept in header["objects"]:
            prompted = [_record(session, next(blobs), frame) for frame in kept["prompted"]]
            tracked = [_record(session, next(blobs), frame) for frame in kept["tracked"]]
            tracks.append((_track(session, kept, prompted), tracked))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, StopIteration, RecursionError, struct.error) as problem:
        raise InputError(f"the tracking state is damaged ({problem!r}), so it can't be gone on with") from problem
    session.reset()
    for track, tracked in tracks:
        session._tracks[track.object_id] = track
        for record in tracked:
            session._spool.put(track.object_id, record)


def _needed(session: Session, track: ObjectTrack, frame: int, step: int) -> set[int]:
    """Tracked frames that `frame` or one after it may read, and the one just before it, for its motion."""
    entries = session._spool.entries(track.object_id)
    behind = MemoryBank(
        track.bank.prompts,
        {
            t: FrameMemory(t, None, None, e.object_score, e.predicted_iou, e.motion_score)  # type: ignore[arg-type]
            for t, e in entries.items()
            if (frame - t) * step > 0 and t not in track.bank.prompts
        },
    )
    wanted = session.policy.reach(behind, frame, step, session.model.spec, session.engine.max_pointers)
    return {t for t in {*wanted, frame - step} if t in entries}


def _fits(session: Session) -> dict[str, Any]:
    """What must be the same for the masks to be the same."""
    info = session.video.info
    return {
        "model": session.model.spec.name,
        "resolution": session.engine.image_size,
        "dtype": str(session.model.dtype).removeprefix("torch."),
        "policy": session.policy.name,
        "frame": [info.width, info.height],
    }


def _open(data: bytes) -> tuple[dict[str, Any], Any]:
    start = len(_MAGIC) + 8
    if len(data) < start or not data.startswith(_MAGIC):
        raise ValueError("it doesn't begin as one")
    (length,) = struct.unpack_from("<Q", data, len(_MAGIC))
    if length > min(_LARGEST_HEADER, len(data) - start):
        raise ValueError("it is cut short")
    header = json.loads(data[start : start + length])
    lengths: Sequence[int] = header["lengths"]
    if any(not isinstance(n, int) or n < 0 for n in lengths) or start + length + sum(lengths) != len(data):
        raise ValueError("it is cut short")
    ends = np.cumsum([start + length, *lengths]).tolist()
    return header, (data[a:b] for a, b in itertools.pairwise(ends))


def _record(session: Session, blob: bytes, frame: int) -> FrameRecord:
    record = unpack(blob, session.model.device, session.model.dtype)
    spec, side = session.model.spec, session.engine.image_size
    memory = record.memory
    assert memory is not None
    shapes = (record.low_res_11hw.shape[-1], *memory.features_bchw.shape[1:3], memory.pointer_bc.shape[-1])
    if shapes != (side // 4, spec.memory_width, side // spec.stride, spec.width) or record.frame != frame:
        raise ValueError("a record of it belongs to another network or frame")
    if not 0 <= frame < session.frame_count or record.step not in (-1, 0, 1):
        raise ValueError(f"frame {frame} is not in the video")
    return record


def _track(session: Session, kept: dict[str, Any], prompted: list[FrameRecord]) -> ObjectTrack:
    object_id = kept["id"]
    if isinstance(object_id, bool) or not isinstance(object_id, int):
        raise ValueError("an object has no number")
    track = ObjectTrack(object_id)
    track.prompted = {record.frame: record for record in prompted}
    track.prompts = {int(one["frame"]): _prompt_from_json(session, one) for one in kept["prompts"]}
    track.visited = {int(frame): 1 if step > 0 else -1 for frame, step in kept["visited"]}
    if set(track.prompts) != set(track.prompted) or set(kept["remembered"]) != set(track.prompted):
        raise ValueError("its prompts and what they decided don't belong together")
    for frame in kept["remembered"]:  # in the order of prompting, which policies look at
        memory = track.prompted[frame].memory
        assert memory is not None
        track.bank.prompts[frame] = memory
    return track


def _prompt_to_json(frame: int, prompt: Prompt) -> dict[str, Any]:
    kept: dict[str, Any] = {"frame": frame}
    if prompt.mask_hw is not None:
        return kept | {"mask": rle.encode(prompt.mask_hw)}
    if len(prompt.points_n2):
        kept |= {"points": prompt.points_n2.tolist(), "labels": prompt.labels_n.tolist()}
    if prompt.box_xyxy is not None:
        kept["box"] = prompt.box_xyxy.tolist()
    return kept


def _prompt_from_json(session: Session, kept: dict[str, Any]) -> Prompt:
    mask = kept.get("mask")
    return Prompt.make(
        kept.get("points"),
        kept.get("labels"),
        kept.get("box"),
        None if mask is None else rle.decode(mask),
        width=session.size.width,
        height=session.size.height,
    )
