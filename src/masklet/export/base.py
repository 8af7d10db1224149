"""What every export format is made of: a name, checked options, and one way of writing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masklet.errors import ExportError
from masklet.export.imaging import write_picture

if TYPE_CHECKING:
    from masklet.export.job import Job, Picture

Group = Literal["video", "sequence", "dataset", "still", "animation"]
Put = Callable[["Picture"], None]


class Options(BaseModel):
    """Options that a format takes. Unknown ones are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FrameOptions(Options):
    """Options of every format that goes through many frames."""

    every: int = Field(default=1, ge=1, description="Take every n-th frame")


class DatasetOptions(FrameOptions):
    """Options of every dataset format."""

    images: Literal["jpg", "png", "none"] = Field(default="jpg", description="Write the frames too, or not")
    jpeg_quality: int = Field(default=95, ge=1, le=100, description="Quality of the JPEG frames")

    @property
    def suffix(self) -> str:
        """Of the frames' names, also of those that aren't written."""
        return ".png" if self.images == "png" else ".jpg"


class Exporter(ABC):
    """One format. `write` gets a job (frames, objects, names, places for files) and checked options.

    `extensions` are the file suffixes that it can write, the first by default; none means that it writes a folder.
    `template` names the files in a folder, or one file per object. `soft` formats have soft edges; the others take the
    masks with hard ones, whatever the feather of the mask settings.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    group: ClassVar[Group]
    extensions: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[str] = "{clip}"
    soft: ClassVar[bool] = True
    options: ClassVar[type[Options]] = Options

    @abstractmethod
    def write(self, job: Job, options: Any) -> None:
        """Writes all files through `job.output`. Raises ExportError when nothing would be in them."""

    def splits(self, options: Any) -> bool:
        """Whether these options give one file per object, so that a folder is written."""
        return bool(getattr(options, "split", False))

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Options:
        """Checked options. Raises ExportError that names the option and what it may be."""
        try:
            return cls.options.model_validate(given)
        except ValidationError as problem:
            error = problem.errors()[0]
            name = ".".join(str(part) for part in error["loc"]) or "options"
            known = ", ".join(cls.options.model_fields) or "none"
            if error["type"] == "extra_forbidden":
                raise ExportError(f"The format {cls.name} has no option {name!r}; it has: {known}.") from None
            raise ExportError(f"Option {name!r} of the format {cls.name}: {error['msg']}.") from None


class StreamExporter(Exporter):
    """A format that takes finished frames one by one: out of a project, or of a run while it goes on."""

    @abstractmethod
    def stream(self, job: Job, options: Any) -> AbstractContextManager[Put]:
        """Gives the function that takes the frames, in order. Files are complete when the block ends well; when it
        doesn't, those that aren't are removed.
        """

    def needs_pixels(self, options: Any) -> bool:
        """Whether it looks at the source's pictures."""
        return True

    def write(self, job: Job, options: Any) -> None:
        with self.stream(job, options) as put:
            for picture in job.pictures(job.indices(getattr(options, "every", 1)), pixels=self.needs_pixels(options)):
                put(picture)


class DatasetExporter(Exporter):
    """A format with the frames beside their annotation."""

    group = "dataset"
    soft = False

    @staticmethod
    def pictures(job: Job, options: Any, *, tracked_only: bool = False) -> Iterator[Picture]:
        """The frames that the options ask for."""
        return job.pictures(job.indices(options.every, tracked_only), pixels=options.images != "none")

    @staticmethod
    def write_frame(job: Job, options: Any, picture: Picture, name: PurePosixPath) -> None:
        """The frame itself as a file, unless the options leave frames out."""
        if options.images != "none":
            write_picture(job.output.file(name), picture.image_hwc, options.jpeg_quality)


def nothing_seen() -> ExportError:
    return ExportError("Nothing to export: no object can be seen on the frames that were taken.")


def nothing_left(frames: int, min_area: float) -> ExportError:
    return ExportError(
        f"Nothing to export: none of the masks in {frames} frames has {min_area:g} pixels or more after the mask "
        "settings were applied."
    )
