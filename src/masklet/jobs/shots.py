"""Shots of a video: where it is cut, and which prompts belong to which shot, so that no memory crosses a cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import av

from masklet.errors import InputError
from masklet.jobs.job import VideoJob
from masklet.media import MediaReader, open_media, parse_position

#: How much a frame has to differ from the one before it to begin a shot, in per cent (FFmpeg's `scdet`).
CUT = 10.0
#: Frames are compared at about this width: quick, and grain doesn't count.
_WIDTH = 160


class SplitJob(NamedTuple):
    """A job for every shot that has a prompt, and the shots that have none."""

    jobs: list[VideoJob]
    unprompted: list[range]


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
        graph.add_buffer(width=info.width, height=info.height, format="rgb24", time_base="1/1000"),
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


def split_job(job: VideoJob, shots: Sequence[range]) -> SplitJob:
    """A job for every shot that has a prompt of its own, tracked within the shot alone.

    Prompts that say no frame are on the first frame of the job. Prompts and shots outside of the job's start and end are
    left out. Jobs are called `NAME_shot02` and so on; a video of one shot stays as it is.
    """
    if len(shots) <= 1:
        return SplitJob([job], [])
    settings = job.settings
    with open_media(job.source, rate=settings.rate) as reader:
        first = 0 if settings.start is None else parse_position(settings.start, reader)
        last = len(reader) - 1 if settings.end is None else parse_position(settings.end, reader)
        place = last if settings.direction == "backward" else first
        place = place if settings.frame is None else parse_position(settings.frame, reader)
        frames = [place if prompt.frame is None else parse_position(prompt.frame, reader) for prompt in job.prompts]
    jobs, unprompted = [], []
    for number, shot in enumerate(shots, 1):
        kept = range(max(shot.start, first), min(shot.stop, last + 1))
        if not kept:
            continue
        prompts = tuple(
            prompt.model_copy(update={"frame": str(frame)})
            for prompt, frame in zip(job.prompts, frames, strict=True)
            if frame in kept
        )
        if not prompts:
            unprompted.append(kept)
            continue
        own = settings.model_copy(update={"start": str(kept[0]), "end": str(kept[-1]), "frame": None})
        jobs.append(
            job.model_copy(update={"name": f"{job.name}_shot{number:02d}", "prompts": prompts, "settings": own})
        )
    return SplitJob(jobs, unprompted)
