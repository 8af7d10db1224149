"""A session's tracking as bytes: taken in one process, gone on with in another, with the same masks to the bit.

Prompts are kept, what they decided, and the tracked records that may still be read, some bytes for each object. Neither
pictures nor network are in it, and nothing in it is run: it may come out of a file from a stranger.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from masklet.errors import InputError
from masklet.prompts import Prompt
from masklet.tracking.spool import pack, unpack
from masklet.tracking.track import FrameRecord, FrameSize, ObjectTrack
from masklet.weights.identity import weights_hash

if TYPE_CHECKING:
    from masklet.tracking.session import Session

_MAGIC = b"masklet track 5\n"
_LARGEST_HEADER = 64 << 20
_CPU = torch.device("cpu")


def export_state(session: Session, places: Iterable[tuple[int, int]], again: Sequence[range] = ()) -> dict[int, bytes]:
    """What `import_state` needs of every object to track on from these places: (frame that comes next, direction).

    Give the place where tracking stands, and those where it will set out again later; `again` are frames that are
    tracked (again) before that, and nobody knows yet whether a policy will want to read them then.
    """
    places, fits = list(places), _fits(session)
    return {
        track.object_id: _pack_track(session, track, i, places, again, fits)
        for i, track in enumerate(session._tracks.values())
    }


def _pack_track(
    session: Session,
    track: ObjectTrack,
    rank: int,
    places: list[tuple[int, int]],
    again: Sequence[range],
    fits: dict[str, Any],
) -> bytes:
    needed = {t for frame, step in places for t in (*session._place(track, frame, step)[1], frame - step)}
    needed |= {t for frame, step in places[1:] for t in session._place(track, frame, step, again)[1]}
    tracked = [(frame, session._spool.get(track.object_id, frame, _CPU, torch.float32)) for frame in sorted(needed)]
    blobs = [pack(record) for record in track.prompted.values()]
    blobs += [pack(record, half=True) for _, record in tracked if record is not None]
    said = {**track.waiting, **{frame: record.prompts for frame, record in track.prompted.items()}}
    header = {
        "fits": fits,
        "id": track.object_id,
        "rank": [rank, len(session._tracks)],
        "prompts": [[frame, [prompt.to_json() for prompt in prompts]] for frame, prompts in said.items()],
        "prompted": list(track.prompted),
        "remembered": list(track.bank.prompts),
        "visited": list(track.visited.items()),
        "tracked": [frame for frame, record in tracked if record is not None],
        "lengths": [len(blob) for blob in blobs],
    }
    text = json.dumps(header, allow_nan=False).encode()
    return b"".join((_MAGIC, struct.pack("<Q", len(text)), text, *blobs))


def import_state(session: Session, states: Iterable[bytes]) -> None:
    """Puts a session where `export_state` was called, in place of all objects that it has; they may come in any order.

    Raises InputError where the bytes are damaged, or were made with another network, other weights, another resolution
    or policy.
    """
    try:
        found = [_track(session, *_open(data)) for data in states]
        found.sort(key=lambda entry: entry[0])
        if not found or [entry[:2] for entry in found] != [(rank, len(found)) for rank in range(len(found))]:
            raise ValueError("an object is missing")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, StopIteration, RecursionError, struct.error) as problem:
        raise InputError(f"the tracking state is damaged ({problem!r}), so it can't be gone on with") from problem
    session.reset()
    for *_, track, tracked in found:
        session._tracks[track.object_id] = track
        for record in tracked:
            session._spool.put(track.object_id, record)


def _track(
    session: Session, header: dict[str, Any], blobs: Iterator[bytes]
) -> tuple[int, int, ObjectTrack, list[FrameRecord]]:
    """An object's rank among how many, what is known about it, and its tracked records."""
    wanted, fits = _fits(session), header["fits"]
    if fits != wanted:
        differs = ", ".join(f"{k}: {fits.get(k)} then, {v} now" for k, v in wanted.items() if fits.get(k) != v)
        raise InputError(
            f"this tracking was begun with other settings ({differs or 'another policy'}), so it can't be gone on with"
        )
    object_id, (rank, count) = header["id"], header["rank"]
    if any(isinstance(number, bool) or not isinstance(number, int) for number in (object_id, rank, count)):
        raise ValueError("an object has no number")
    track = ObjectTrack(object_id)
    said = {int(frame): _prompts(session, kept) for frame, kept in header["prompts"]}
    for frame in header["prompted"]:
        track.prompted[frame] = replace(_record(session, next(blobs), frame), prompts=said.pop(frame))
    track.waiting = said
    track.visited = {int(frame): 1 if step > 0 else -1 for frame, step in header["visited"]}
    if set(header["remembered"]) != set(track.prompted) or not all(r.is_prompt for r in track.prompted.values()):
        raise ValueError("its prompts and what they decided don't belong together")
    for frame in header["remembered"]:  # in the order of prompting, which policies look at
        memory = track.prompted[frame].memory
        assert memory is not None
        track.bank.prompts[frame] = memory
    return rank, count, track, [_record(session, next(blobs), frame) for frame in header["tracked"]]


def _fits(session: Session) -> dict[str, Any]:
    """What must be the same for the masks to be the same."""
    info, policy = session.video.info, session.policy
    return {
        "model": session.model.spec.name,
        "weights": weights_hash(session.model),
        "resolution": session.engine.image_size,
        "dtype": str(session.model.dtype).removeprefix("torch."),
        "policy": policy.name,
        "frame": [info.width, info.height],
        "zoom": session.zoom,
        "shape": session.engine.shape,
        **policy.model_dump(),
    }


def _open(data: bytes) -> tuple[dict[str, Any], Iterator[bytes]]:
    """An object's header and records."""
    start = len(_MAGIC) + 8
    if data.startswith(_MAGIC[:14]) and not data.startswith(_MAGIC):
        raise InputError("this tracking was begun with another version of masklet: track it anew from its prompts")
    if len(data) < start or not data.startswith(_MAGIC):
        raise ValueError("it doesn't begin as one")
    (length,) = struct.unpack_from("<Q", data, len(_MAGIC))
    if length > min(_LARGEST_HEADER, len(data) - start):
        raise ValueError("it is cut short")
    header = json.loads(data[start : start + length])
    lengths: Sequence[int] = header["lengths"]
    ends = [*itertools.accumulate(lengths, initial=start + length)]
    if any(not isinstance(n, int) or n < 0 for n in lengths) or ends[-1] != len(data):
        raise ValueError("it is cut short")
    return header, (data[a:b] for a, b in itertools.pairwise(ends))


def _record(session: Session, blob: bytes, frame: int) -> FrameRecord:
    record = unpack(blob, session.model.device, session.model.dtype)
    spec, shape = session.model.spec, session.engine.input_shape(session.size)
    memory = record.memory
    assert memory is not None
    session.policy.check_state(record.state)
    size, window = session.size, record.window
    if window is not None and not (
        0 <= window.x <= size.width - window.width
        and 0 <= window.y <= size.height - window.height
        and min(window.width, window.height) > 0
    ):
        raise ValueError("a window of it lies outside the frame")
    shapes = (*record.low_res_11hw.shape[2:], *memory.features_bchw.shape[1:], memory.pointer_bc.shape[-1])
    cells = shape.height // spec.stride, shape.width // spec.stride
    seen = shape if window is None else session.engine.input_shape(FrameSize(window.width, window.height))
    if shapes != (*seen.low_res, spec.memory_channels, *cells, spec.width) or record.frame != frame:
        raise ValueError("a record of it belongs to another network or frame")
    if not 0 <= memory.window_side <= min(size.width, size.height):
        raise ValueError("a memory of it was made in an impossible window")
    if not 0 <= frame < session.frame_count or record.step not in (-1, 0, 1):
        raise ValueError(f"frame {frame} is not in the video")
    return record


def _prompts(session: Session, kept: Sequence[Any]) -> tuple[Prompt, ...]:
    size = session.size
    found = tuple(Prompt.from_json(prompt).fitted(size.width, size.height) for prompt in kept)
    if not found:
        raise ValueError("nothing is said on a frame that was prompted")
    return found
