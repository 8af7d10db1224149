"""What every export format is made of: options that check themselves, and one way of writing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from masklet.errors import ExportError
from masklet.export.imaging import write_picture

if TYPE_CHECKING:
    from typing_extensions import Self

    from masklet.export.job import Job, Picture

#: Options that several formats have.
Tolerance = Annotated[
    float, Field(ge=0, le=100, description="How far in pixels outlines may be off; 0 follows every pixel")
]
MinArea = Annotated[float, Field(ge=0, description="Leave out masks of fewer pixels")]
Split = Annotated[bool, Field(description="One file per object instead of one for all")]
Group = Literal["video", "sequence", "dataset", "still", "animation"]
Put = Callable[["Picture"], None]


class Exporter(BaseModel, ABC):
    """One format. Its fields are its options, and an object of it is ready to write. Unknown options are an error.

    `name` is given by the registry. `extensions` are the file suffixes that it can write, the first by default; none
    means that it writes a folder. `template` names the files in a folder, or one file per object. Formats with
    `soft_edges` have those; the others take the masks with hard ones, whatever the feather of the mask settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    group: ClassVar[Group]
    extensions: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[str] = "{clip}"
    soft_edges: ClassVar[bool] = True

    @abstractmethod
    def write(self, job: Job) -> None:
        """Writes all files through `job.output`. Raises ExportError when nothing would be in them."""

    @property
    def splits(self) -> bool:
        """Whether these options give one file per object, so that a folder is written."""
        return bool(getattr(self, "split", False))

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Self:
        """The format with these options. Raises ExportError that names the option and what it may be."""
        try:
            return cls.model_validate(given)
        except ValidationError as problem:
            error = problem.errors()[0]
            name = ".".join(str(part) for part in error["loc"]) or "options"
            known = ", ".join(cls.model_fields) or "none"
            if error["type"] == "extra_forbidden":
                raise ExportError(f"The format {cls.name} has no option {name!r}; it has: {known}.") from None
            raise ExportError(f"Option {name!r} of the format {cls.name}: {error['msg']}.") from None


class FramesExporter(Exporter):
    """A format that goes through many frames."""

    every: int = Field(default=1, ge=1, description="Take every n-th frame")


class StreamExporter(Exporter):
    """A format that takes finished frames one by one: out of a project, or of a run while it goes on."""

    pixels: ClassVar[bool] = True

    @property
    def needs_pixels(self) -> bool:
        """Whether it looks at the source's pictures."""
        return self.pixels

    @abstractmethod
    def stream(self, job: Job) -> AbstractContextManager[Put]:
        """Gives the function that takes the frames, in order. Files are complete when the block ends well; when it
        doesn't, those that aren't are removed.
        """

    def write(self, job: Job) -> None:
        with self.stream(job) as put:
            for picture in job.pictures(job.indices(getattr(self, "every", 1)), pixels=self.needs_pixels):
                put(picture)


class DatasetExporter(FramesExporter):
    """A format with the frames beside their annotation."""

    group = "dataset"
    soft_edges = False

    images: Literal["jpg", "png", "none"] = Field(default="jpg", description="Write the frames too, or not")
    jpeg_quality: int = Field(default=95, ge=1, le=100, description="Quality of the JPEG frames")

    @property
    def suffix(self) -> str:
        """Of the frames' names, also of those that aren't written."""
        return ".png" if self.images == "png" else ".jpg"

    def pictures(self, job: Job, *, tracked_only: bool = False) -> Iterator[Picture]:
        """The frames that the options ask for."""
        return job.pictures(job.indices(self.every, tracked_only), pixels=self.images != "none")

    def write_frame(self, job: Job, picture: Picture, name: PurePosixPath) -> None:
        """The frame itself as a file, unless the options leave frames out."""
        if self.images != "none":
            write_picture(job.output.file(name), picture.image_hwc, self.jpeg_quality)


def nothing_seen() -> ExportError:
    return ExportError("Nothing to export: no object can be seen on the frames that were taken.")


def nothing_left(frames: int, min_area: float) -> ExportError:
    return ExportError(
        f"Nothing to export: none of the masks in {frames} frames has {min_area:g} pixels or more after the mask "
        "settings were applied."
    )
