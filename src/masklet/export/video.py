"""Video files out of an export's frames: rate, time stamps, colour tags, pixel shape and sound of the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from masklet.export.base import Options

if TYPE_CHECKING:
    from contextlib import ExitStack
    from fractions import Fraction

    from masklet.export.job import Job, Picture
    from masklet.media import VideoWriter


class VideoOptions(Options):
    """Options of every video format."""

    quality: int = Field(default=75, ge=0, le=100, description="Higher is better and larger")
    speed: Literal["fast", "balanced", "small"] = Field(default="fast", description="Faster writing or smaller files")
    audio: bool = Field(default=True, description="Keep the sound of the source")


def open_writer(job: Job, path: Path, codec: str, options: VideoOptions, *, alpha: bool = False) -> VideoWriter:
    """A writer for frames like those of the source. Raises MediaError where the file can't be made."""
    from masklet.media import VideoWriter

    source, reader = job.source, job.reader
    color = reader.info.color
    if codec.startswith("prores"):
        color = replace(color, range="limited")  # players take ProRes for that, whatever its tags say
    sound = options.audio and source.kind == "video" and source.has_audio
    return VideoWriter(
        path,
        source.width,
        source.height,
        source.rate,
        codec=codec,
        alpha=alpha,
        quality=options.quality,
        speed=options.speed,
        time_base=reader.time_base if source.variable_rate else None,
        color=color,
        pixel_aspect=source.pixel_aspect,
        audio_from=reader.info.path if sound else None,
        audio_start=source.time_of(job.start),
    )


def open_writers(
    job: Job, stack: ExitStack, codec: str, suffix: str, options: Any, *, alpha: bool = False
) -> list[tuple[VideoWriter, list[int]]]:
    """(writer, ids of the objects in it): one for all objects, or with `options.split` one for each.

    The stack gives up what isn't finished when it closes.
    """
    if options.split and len(job.objects) > 1:
        targets = [(job.output.file(job.path(None, chosen, suffix)), [chosen.id]) for chosen in job.objects]
    else:
        targets = [(job.output.file(), job.ids)]
    writers = []
    for path, ids in targets:
        writer = open_writer(job, path, codec, options, alpha=alpha)
        stack.callback(writer.abort)
        writers.append((writer, ids))
    return writers


def stamp(job: Job, picture: Picture) -> Fraction | None:
    """When a frame is shown, where frames don't simply follow each other."""
    return picture.time if job.source.variable_rate else None


def finish(job: Job, writer: Any) -> None:
    """Completes a file and passes on what the user should know about it."""
    writer.commit()
    job.notes.extend(note for note in writer.notes if note not in job.notes)
