"""`masklet finetune`: go on training a model on annotated videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.lazy import say
from masklet.cli.options import Checkpoint, ModelName, Resolution, grouped
from masklet.cli.train import Training
from masklet.errors import InputError
from masklet.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from masklet.training.footage import Footage
    from masklet.training.settings import TrainSettings

#: So many videos are looked at before a run begins.
_CHECKED = 50


@grouped
def finetune(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", "-d", help="Annotated videos: a data set, COCO or SA-V JSON, masklet projects; may be repeated."
        ),
    ],
    *,
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of the run; one that is there already goes on.", show_default="tuned-MODEL-DATA"),
    ] = None,
    model: ModelName = None,
    checkpoint: Checkpoint = None,
    resolution: Resolution = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the data, where it isn't recognised (see docs/training-data.md).")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data set: train, val …")] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="Parts that don't learn, with commas or repeated: image-encoder (trunk, neck), memory-attention, "
            "memory-encoder, prompt-encoder, mask-decoder; or none.",
            show_default="trunk; of a released network on a CPU all but the mask decoder",
        ),
    ] = None,
    validate_on: Annotated[
        list[Path] | None,
        typer.Option("--validate-on", help="Videos to validate on, instead of a tenth of the data; may be repeated."),
    ] = None,
    validation: Annotated[
        int, typer.Option(min=0, max=100, help="Clips to validate on; 0 learns from all videos.")
    ] = 4,
    frames: Annotated[int | None, typer.Option(min=1, max=64, help="Frames in a clip.", show_default="4")] = None,
    objects: Annotated[
        int | None, typer.Option(min=1, max=16, help="Masklets taken from a clip at most.", show_default="2")
    ] = None,
    training: Training,
) -> None:
    """Go on training a model on your own annotated videos.

    Give the same command again to go on after a stop. The run's folder gets model.safetensors (averaged weights, for
    `masklet track --checkpoint`), best.safetensors (those that did best on the videos kept for validation),
    settings.json and events for TensorBoard. A run takes 200 steps unless you say otherwise, at a learning rate of
    0.0001, or 0.0003 if it begins with nano. How long a step takes is shown; a lower resolution, fewer frames and
    fewer objects take less.

    Examples:

    `masklet finetune --data clip.masklet`

    `masklet finetune --model tiny --data my_videos/`

    `masklet finetune runs/cells --model small --data cells.json --freeze trunk,prompt-encoder --steps 2000`
    """
    if model is not None and checkpoint is not None:
        raise InputError("--model and --checkpoint both say what to begin with: give one of them")
    from masklet.models.specs import get_spec
    from masklet.training.start import footage_clips, tuning_settings, tuning_stages

    learned, held = _footage(data, validate_on, layout, split, validation)

    def defaults() -> TrainSettings:
        name, start = _start(model, checkpoint)
        return tuning_settings(model=name, start=start, device=training.device, steps=training.steps)

    training.run(
        run or Path(f"tuned-{checkpoint.stem if checkpoint else model or 'nano'}-{data[0].resolve().stem}"),
        footage_clips(learned, held),
        validation,
        defaults=defaults,
        model=get_spec(model).name if model else None,
        resolution=resolution,
        stages=tuning_stages(frames, objects) if frames or objects else None,
        freeze=_names(freeze),
    )


def _names(freeze: list[str] | None) -> tuple[str, ...] | None:
    """The parts to freeze: None where nothing was said, () for ``none``."""
    if freeze is None:
        return None
    names = tuple(name.strip() for words in freeze for name in words.split(",") if name.strip())
    return () if names == ("none",) else names


def _start(model: str | None, checkpoint: Path | None) -> tuple[str, Path]:
    """The name of the network to begin with, and its weights."""
    from masklet.models.specs import get_spec
    from masklet.weights.checkpoints import read_checkpoint
    from masklet.weights.loading import find_weights

    if checkpoint is not None:
        return read_checkpoint(checkpoint).spec.name, checkpoint.expanduser()
    name = get_spec(model or DEFAULT_MODEL).name
    return name, find_weights(name)


def _footage(
    data: list[Path], validate_on: list[Path] | None, layout: str | None, split: str | None, validation: int
) -> tuple[Footage, Footage | None]:
    """The videos to learn from, looked through, and those to validate on."""
    from masklet.training.footage import Footage

    footage = Footage(data, layout=layout, split=split)
    footage.check(most=_CHECKED)
    if validate_on:
        held = Footage(validate_on)
        held.check(most=_CHECKED)
        return footage, held
    if not validation:
        return footage, None
    if len(footage.videos) < 2:
        say(
            "note",
            "there is one video only, so nothing is kept to validate on; name other videos with --validate-on",
            "yellow",
        )
        return footage, None
    return footage.divided()
