"""Video files out of an export's frames: rate, time stamps, colour tags, pixel shape and sound of the source."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from masklet.export.base import Options, Put, StreamExporter
from masklet.export.job import Job, Picture

if TYPE_CHECKING:
    from masklet.media import VideoWriter

Maker = Callable[[Picture, list[int]], np.ndarray]


class VideoOptions(Options):
    """Options of every video format."""

    quality: int = Field(default=75, ge=0, le=100, description="Higher is better and larger")
    speed: Literal["fast", "balanced", "small"] = Field(default="fast", description="Faster writing or smaller files")
    audio: bool = Field(default=True, description="Keep the sound of the source")


def _open_writer(job: Job, path: Path, codec: str, options: VideoOptions, *, alpha: bool = False) -> VideoWriter:
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


class VideoExporter(StreamExporter):
    """A video of finished pictures: one file for all objects or, where the options split it, one for each."""

    group = "video"
    codec: ClassVar[str] = ""  # where the options don't choose one
    alpha: ClassVar[bool] = False
    pixels: ClassVar[bool] = True

    def needs_pixels(self, options: Any) -> bool:
        return self.pixels

    @contextmanager
    def stream(self, job: Job, options: Any) -> Iterator[Put]:
        targets: list[tuple[PurePosixPath | None, list[int]]] = [(None, job.ids)]
        if self.splits(options) and len(job.objects) > 1:
            targets = [(job.path(None, chosen, self.extensions[0]), [chosen.id]) for chosen in job.objects]
        with ExitStack() as stack:
            make = self.maker(job, options, stack)
            writers = []
            for name, ids in targets:
                writer = _open_writer(
                    job, job.output.file(name), self.codec or options.codec, options, alpha=self.alpha
                )
                stack.callback(writer.abort)
                writers.append((writer, ids))

            def put(picture: Picture) -> None:
                # Frames have times of their own where they don't simply follow each other.
                time = picture.time if job.source.variable_rate else None
                for writer, ids in writers:
                    writer.write(make(picture, ids), time)

            yield put
            for writer, _ in writers:
                writer.commit()
                job.notes.extend(note for note in writer.notes if note not in job.notes)

    @abstractmethod
    def maker(self, job: Job, options: Any, stack: ExitStack) -> Maker:
        """A function from a frame and ids of objects to the picture for it, uint8 RGB or RGBA; what it opens is closed
        by `stack`."""
