"""Shots of a video: where it is cut, and which prompts belong to which shot, so that no memory crosses a cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import av

from masklet.errors import InputError
from masklet.jobs.job import VideoJob
from masklet.media import MediaReader, open_media, parse_position
from masklet.runs.actions import places_of
from masklet.runs.request import TrackRequest

#: How much a frame has to differ from the one before it to begin a shot, in per cent (FFmpeg's `scdet`).
CUT = 10.0
#: Frames are compared at about this width: quick, and grain doesn't count.
_WIDTH = 160


class SplitRequest(NamedTuple):
    """A request for every shot that has a prompt, by its name (`shot02`), and the shots that have none."""

    requests: dict[str, TrackRequest]
    unprompted: dict[str, range]


def find_shots(source: str, *, threshold: float = CUT, rate: str | None = None) -> list[range]:
    """The shots of a video in order; together they are all of its frames.

    Args:
        threshold: how much the picture has to change at a cut, from 0 to 100.

    Raises MediaError: it can't be read; InputError: a threshold that makes no sense.
    """
    with open_media(source, rate=rate) as reader:
        return shots_of(reader, threshold)


def shots_of(reader: MediaReader, threshold: float = CUT) -> list[range]:
    """The shots of a video that is open. See `find_shots`."""
    if not 0 < threshold <= 100:
        raise InputError(f"the threshold of a cut lies above 0 and at most at 100, not {threshold:g}")
    info = reader.info
    width = min(_WIDTH, info.width)
    height = max(2, round(info.height * width / info.width))
    graph = av.filter.Graph()
    parts = [
        graph.add_buffer(
            width=info.width, height=info.height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 1000)
        ),
        graph.add("scale", f"{width}:{height}:flags=area"),
        graph.add("format", "yuv420p"),
        graph.add("scdet", f"threshold={threshold}"),
        graph.add("buffersink"),
    ]
    for before, after in pairwise(parts):
        before.link_to(after)
    graph.configure()
    starts = [0]
    for shown in reader:
        index, frame = shown.index, av.VideoFrame.from_ndarray(shown.image_hwc, format="rgb24")
        frame.pts = index
        graph.push(frame)
        # A cut is told by a time in the frame's metadata.
        if "lavfi.scd.time" in graph.pull().metadata and index:
            starts.append(index)
    return [range(first, after) for first, after in pairwise([*starts, len(reader)])]


def split_request(request: TrackRequest, shots: Sequence[range], *, every: bool = False) -> SplitRequest:
    """A request for every shot that has a prompt of its own, to be tracked within the shot alone.

    Prompts that say no frame are where tracking starts. Prompts and shots outside of the request's start and end are
    left out. `every`: also for shots that have none. Raises InputError for a position that isn't in the video, and
    where no shot has a prompt.
    """
    kept, frames = _places(request)
    split = SplitRequest({}, {})
    for number, shot in enumerate(shots, 1):
        inside = range(max(shot.start, kept.start), min(shot.stop, kept.stop))
        prompts = [
            replace(text, frame=str(frame))
            for text, frame in zip(request.prompts, frames, strict=True)
            if frame in inside
        ]
        if prompts or (every and inside):
            own = replace(request, prompts=prompts, start=str(inside[0]), end=str(inside[-1]), frame=None)
            split.requests[f"shot{number:02d}"] = own
        elif inside:
            split.unprompted[f"shot{number:02d}"] = inside
    if not split.requests:
        raise InputError("no shot has a prompt: say what to track in each of them")
    return split


def split_job(job: VideoJob, shots: Sequence[range]) -> list[VideoJob]:
    """The same for a job of a batch; a detector looks at every shot. Jobs are called `NAME_shot02` and so on, and the
    first one knows which shots have no prompt. A video of one shot stays as it is."""
    if len(shots) <= 1:
        return [job]
    request = job.request()
    split = split_request(request, shots, every=job.detector is not None)
    owners = [index for index, prompt in enumerate(job.prompts) for _ in prompt.texts()]
    frames = dict(zip(owners, _places(request)[1], strict=True))
    prompts = [prompt.model_copy(update={"frame": str(frames[i])}) for i, prompt in enumerate(job.prompts)]
    unprompted = {f"{job.name}_{name}": (shot[0], shot[-1]) for name, shot in split.unprompted.items()}
    jobs: list[VideoJob] = []
    for name, own in split.requests.items():
        inside = {text.frame for text in own.prompts}
        update = {
            "name": f"{job.name}_{name}",
            "prompts": tuple(prompt for prompt in prompts if prompt.frame in inside),
            "settings": job.settings.model_copy(update={"start": own.start, "end": own.end, "frame": None}),
            "unprompted": {} if jobs else unprompted,
        }
        jobs.append(job.model_copy(update=update))
    return jobs


def _places(request: TrackRequest) -> tuple[range, list[int]]:
    """The frames that a request keeps, and the frame of each of its prompts."""
    with open_media(request.source, rate=request.rate) as reader:
        kept, place = places_of(request, reader)
        return kept, [place if text.frame is None else parse_position(text.frame, reader) for text in request.prompts]
