"""What a training run is made of; kept as ``settings.json`` in the run's folder."""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from masklet.settings import DEFAULT_MODEL, RESOLUTION_STEP, Resolution, Share


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(_Strict):
    """A part of the run with clips of one length and size.

    Attributes:
        share: of the run's steps.
        frames: in a clip; 1 trains on pictures.
        clips: in a step.
        objects: masklets taken from each clip; an object may come up more than once, with different prompts.
        size: side of the square frames in pixels; None is the run's resolution. A network learns most of what it
            needs on small pictures, in a fraction of the time.
    """

    share: float = Field(gt=0)
    frames: int = Field(ge=1, le=64)
    clips: int = Field(ge=1, le=256)
    objects: int = Field(default=2, ge=1, le=16)
    size: Annotated[Resolution, Field(multiple_of=RESOLUTION_STEP)] | None = None


class Prompting(_Strict):
    """How clips are prompted.

    Attributes:
        mask, box: shares of the first prompts that are masks and boxes; the rest are clicks.
        corrections: most corrective clicks that follow on a prompted frame.
        later: how often a second frame of the clip gets corrective clicks.
    """

    mask: Share = 0.5
    box: Share = 0.25
    corrections: int = Field(default=3, ge=0, le=7)
    later: Share = 0.25

    @model_validator(mode="after")
    def _shares(self) -> Prompting:
        if self.mask + self.box > 1:
            raise ValueError("mask and box are shares of one whole: together at most 1")
        return self


class Losses(_Strict):
    """Weights of the loss terms; masks are compared on a grid of every ``stride``-th pixel of the input."""

    focal: float = Field(default=20.0, ge=0)
    dice: float = Field(default=1.0, ge=0)
    iou: float = Field(default=1.0, ge=0)
    object_score: float = Field(default=1.0, ge=0)
    stride: Literal[1, 2, 4] = 2


class TrainSettings(_Strict):
    """Everything that decides how a run goes, but not what it learns from.

    Attributes:
        model: name of the network's spec.
        start: weights to begin with; None begins from nothing.
        start_trunk: published weights that the trunk of a network from nothing begins with, see
            :mod:`masklet.training.published_trunks`.
        resolution: side of the network's square input; None is the model's own.
        steps: how long.
        stages: one after the other.
        learning_rate: at its highest. It rises for ``warm_up`` steps and falls along a cosine.
        encoder_rate: the trunk's share of the learning rate.
        layer_decay: how much less each block of the trunk learns than the one after it.
        matrix_rate: with ``muon``, how much larger the matrices' learning rate is.
        optimiser: ``muon`` for the matrices and AdamW for the rest, or ``adamw`` for everything.
        ema: memory of the moving average of the weights.
        aid: share of the run during which terms help a network that starts from nothing: a balanced cross-entropy, an
            auxiliary foreground head on the pyramid levels, and the truth's word on visibility in memories. The focal
            loss, which at first only teaches that most of a picture is background, comes in as they go out.
        echo: how many steps see a clip, each time mirrored, reversed and coloured anew.
        precision: number format of the network's products; weights and losses stay float32.
        freeze: parts that don't learn, see :data:`masklet.training.optimisation.PARTS`.
        save_minutes: how often the run is saved.
        validate_every: steps between two validations.
    """

    model: str = DEFAULT_MODEL
    start: str | None = None
    start_trunk: str | None = None
    resolution: int | None = None
    steps: int = Field(default=5_000, ge=1)
    stages: tuple[Stage, ...] = (
        Stage(share=0.44, frames=1, clips=12, objects=3, size=192),
        Stage(share=0.43, frames=5, clips=4, objects=3, size=192),
        Stage(share=0.13, frames=6, clips=3, objects=3),
    )
    prompts: Prompting = Prompting()
    losses: Losses = Losses()
    learning_rate: float = Field(default=5e-4, gt=0)
    warm_up: int = Field(default=100, ge=0)
    matrix_rate: float = Field(default=2.0, gt=0)
    encoder_rate: Share = 1.0
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    optimiser: Literal["adamw", "muon"] = "muon"
    clip_norm: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    aid: Share = 0.75
    echo: int = Field(default=2, ge=1, le=16)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    freeze: tuple[str, ...] = ()
    seed: int = 0
    save_minutes: float = Field(default=5.0, gt=0)
    validate_every: int = Field(default=500, ge=1)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """The number of the stage that a step (0 …) belongs to, and the stage."""
        passed = sum(step >= end for end in self._ends()[:-1])
        return passed, self.stages[passed]

    def batches_before(self, step: int) -> int:
        """How many batches of its stage came before a step."""
        number, _ = self.stage_at(step)
        return max(0, step - round((0.0, *self._ends())[number]))

    def _ends(self) -> list[float]:
        whole = sum(stage.share for stage in self.stages)
        return list(accumulate(stage.share / whole * self.steps for stage in self.stages))
