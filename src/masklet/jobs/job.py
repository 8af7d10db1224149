"""What a batch asks of one video, and what became of it: small frozen records with their own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from masklet.runs.prompt_text import PromptText
from masklet.runs.request import TrackRequest


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


#: A text that may be written as a number, such as a frame.
Text = Annotated[str, BeforeValidator(_as_text)]


class JobPrompt(BaseModel):
    """One prompt in pixels of the source frame: points, a box or a mask. `masklet.prompts.Prompt`'s JSON is one, too.

    Attributes:
        object: name or number of the object; None is object 1.
        frame: position in the video, such as `120`, `4.8s` or `00:00:04:20`; None is where tracking starts.
        points: x, y of every click.
        labels: for every click 1 ("this") or 0 ("not this"); left out, all are 1.
        box: x1, y1, x2, y2.
        mask: a picture that shows the object in white.
        rle: a mask as run lengths.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    object: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    frame: Text | None = None
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = Field(default=None, validation_alias="box_xyxy")
    mask: Path | None = None
    rle: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> JobPrompt:
        if not self.points and self.box is None and self.mask is None and self.rle is None:
            raise ValueError("a prompt needs points, a box or a mask")
        if self.labels and len(self.labels) != len(self.points):
            raise ValueError(f"{len(self.points)} points need {len(self.points)} labels, not {len(self.labels)}")
        if any(label not in (0, 1) for label in self.labels):
            raise ValueError("labels are 1 (this) or 0 (not this)")
        return self

    def texts(self) -> list[PromptText]:
        """The same as a run takes it."""
        labels = self.labels or (1,) * len(self.points)
        found = [
            PromptText(self.object, self.frame, point=point, positive=bool(label))
            for point, label in zip(self.points, labels, strict=True)
        ]
        if self.box is not None:
            found.append(PromptText(self.object, self.frame, box=self.box))
        for mask in (self.mask, self.rle):
            if mask is not None:
                found.append(PromptText(self.object, self.frame, mask=mask))
        return found


class JobSettings(BaseModel):
    """How one video is tracked; what is None is as `masklet track` has it. See `masklet.runs.request.TrackRequest`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame: Text | None = None
    start: Text | None = None
    end: Text | None = None
    direction: str | None = None
    rate: Text | None = None
    model: str | None = None
    checkpoint: Path | None = None
    resolution: int | None = None
    shape: str | None = None
    zoom: bool | None = None
    device: str | None = None
    dtype: str | None = None
    policy: str | None = None
    policy_settings: dict[str, Any] = {}
    finish: dict[str, Any] = {}


class JobExport(BaseModel):
    """One format that is written of every video: its name and its own options (`masklet formats NAME`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    options: dict[str, Any] = {}


class DetectorSettings(BaseModel):
    """Which detector looks at which frames, and what is made of its boxes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str = Field(description="package.module:function, a name of the group masklet.detectors, or text:WORDS")
    every: str = Field(default="2s", description="How often it looks: 2s, or 50 for every 50th frame")
    min_score: float = Field(default=0.3, ge=0, le=1, description="Leave out boxes of a lower score")
    min_iou: float = Field(default=0.3, gt=0, le=1, description="From which overlap on a box is of a known object")
    max_objects: int = Field(default=20, ge=1, description="Most objects that there may be")


class VideoJob(BaseModel):
    """One video of a batch.

    Attributes:
        name: names its project and its files; no two jobs of a batch have the same.
        source: a video, a folder or pattern of pictures, or the address of one (`s3://…`).
        prompts: what is to be tracked.
        classes: the class of objects by name, for data sets.
        settings: how.
        detector: what looks for objects while tracking goes on (`masklet.jobs.detectors`).
        exports: formats that are written once it is tracked.
        unprompted: shots of the same video that nothing is prompted in, by name: first and last frame. They are told in
            the report.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200)
    source: str
    prompts: tuple[JobPrompt, ...] = ()
    classes: dict[str, str] = {}
    settings: JobSettings = JobSettings()
    detector: DetectorSettings | None = None
    exports: tuple[JobExport, ...] = ()
    unprompted: dict[str, tuple[int, int]] = {}

    def request(self, defaults: Mapping[str, Any] | None = None) -> TrackRequest:
        """What the run engine is asked for; `defaults` are settings for those that this video leaves open."""
        own = {name: value for name, value in self.settings if value not in (None, {})}
        prompts = [text for prompt in self.prompts for text in prompt.texts()]
        return TrackRequest(source=self.source, prompts=prompts, **{**(defaults or {}), **own})


class JobResult(BaseModel):
    """What became of a video.

    Attributes:
        model: name of the network.
        frames: that have a mask.
        seconds: that tracking took, in the worker that ended it.
        lost: by object, first and last frame of every stretch on which it could not be seen.
        notes: what the user should know about source and files.
        stamp: of its project's file when the exports were written (`masklet.jobs.work.stamp_of`).
    """

    model_config = ConfigDict(frozen=True)

    model: str
    frames: int
    seconds: float
    lost: dict[str, list[tuple[int, int]]] = {}
    notes: list[str] = []
    stamp: str = ""
