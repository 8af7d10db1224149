"""What can be asked of a tracking run, and what it says while it goes on and when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masklet.runs.prompt_text import PromptText

DEFAULT_DIRECTION = "forward"


@dataclass(frozen=True)
class TrackRequest:
    """What to track, and how. Positions are texts such as `120`, `4.8s` or `00:00:04:20`.

    Attributes:
        source: a video, a folder or pattern of pictures.
        prompts: at least one, unless a run is gone on with.
        frame: where prompts belong that name no frame; by default where tracking starts.
        start, end: first and last frame to keep (all by default); a run that is gone on with tracks again from `start`.
        direction: `forward` (default), `backward` or `both`, from the prompts.
        model, checkpoint, device, dtype, resolution, shape, zoom, policy, policy_settings: see `masklet.Session`.
        rate: frames per second of an image sequence.
        finish: how masks are finished (fields of `masklet.masks.settings.MaskSettings`).
        masks, overlay: whether to write them into a folder; masklets.json is always written there.
        overwrite: replace what an earlier run wrote.
    """

    source: str
    prompts: Sequence[PromptText] = ()
    frame: str | None = None
    start: str | None = None
    end: str | None = None
    direction: str | None = None
    model: str | None = None
    checkpoint: Path | None = None
    policy: str | None = None
    policy_settings: Mapping[str, Any] = field(default_factory=dict)
    resolution: int | None = None
    shape: str | None = None
    zoom: bool | None = None
    device: str | None = None
    dtype: str | None = None
    rate: str | None = None
    finish: Mapping[str, Any] = field(default_factory=dict)
    masks: bool = True
    overlay: bool = True
    overwrite: bool = False


@dataclass(frozen=True)
class TrackProgress:
    """How far a run is: `done` frames of `total`; `lost` are the names of objects that can't be seen right now.

    `stage` is `track`, or `overlay` where that is made after tracking.
    """

    stage: str
    done: int
    total: int
    lost: tuple[str, ...] = ()


@dataclass
class ObjectReport:
    """What became of an object: `lost` are first and last frame of every stretch on which it could not be seen."""

    name: str
    lost: list[tuple[int, int]] = field(default_factory=list)

    def add_lost(self, frame: int) -> None:
        """Note a frame; frames come in either direction."""
        if self.lost and self.lost[-1][0] - 1 <= frame <= self.lost[-1][1] + 1:
            first, last = self.lost[-1]
            self.lost[-1] = (min(first, frame), max(last, frame))
        else:
            self.lost.append((frame, frame))


@dataclass
class RunReport:
    """What a run did.

    Attributes:
        model: name of the network.
        frames: frames that went through the network in this run, in `seconds`.
        objects: by id.
        complete: whether nothing is left of the run.
        problem: what ended the run early, if it wasn't the caller.
        notes: what a user should know about source and files.
        kept: frames that have a mask now, where files were written.
        files: those files, and folders with one file a frame.
    """

    model: str
    frames: int = 0
    seconds: float = 0.0
    objects: dict[int, ObjectReport] = field(default_factory=dict)
    complete: bool = False
    problem: Exception | None = None
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    files: list[Path] = field(default_factory=list)
