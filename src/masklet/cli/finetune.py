"""`masklet finetune`: go on training a model on annotated videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.lazy import say
from masklet.cli.train_display import TrainDisplay
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.training.footage import Footage

#: So many videos are looked at before a run begins.
_CHECKED = 50


def finetune(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", "-d", help="Annotated videos: a data set, COCO or SA-V JSON, masklet projects; may be repeated."
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of the run; one that is there already goes on.", show_default="tuned-MODEL-DATA"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to begin with: nano, tiny, small, base_plus, large, sam2-tiny …")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights file to begin with instead.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the data, where it isn't recognised (see docs/training-data.md).")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data set: train, val …")] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="Parts that don't learn, with commas or repeated: image-encoder (trunk, neck), memory-attention, "
            "memory-encoder, prompt-encoder, mask-decoder; or none.",
            show_default="CPU: all but the mask decoder; GPU: trunk",
        ),
    ] = None,
    validate_on: Annotated[
        list[Path] | None,
        typer.Option("--validate-on", help="Videos to validate on, instead of a tenth of the data; may be repeated."),
    ] = None,
    validation: Annotated[
        int, typer.Option(min=0, max=100, help="Clips to validate on; 0 learns from all videos.")
    ] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of the run; may change when it goes on.", show_default="500")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Side of the network's input in pixels.", show_default="the model's own")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, max=64, help="Frames in a clip.", show_default="4")] = None,
    objects: Annotated[
        int | None, typer.Option(min=1, max=16, help="Masklets taken from a clip at most.", show_default="2")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate at its highest.", show_default="0.0001")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="JSON file with any of the settings (see the run's settings.json).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; left out, the best there is.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that make clips.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another number, other clips.")] = None,
) -> None:
    """Go on training a model on your own annotated videos.

    Give the same command again to go on after a stop. The run's folder gets model.safetensors (averaged weights, for
    `masklet track --checkpoint`), best.safetensors (those that did best on the videos kept for validation),
    settings.json and events for TensorBoard. How long a step takes is shown; a lower resolution, fewer frames and fewer
    objects take less.

    Examples:

    `masklet finetune --model tiny --data my_videos/`

    `masklet finetune runs/cells --model small --data cells.json --freeze trunk,prompt-encoder --steps 2000`
    """
    if model is not None and checkpoint is not None:
        raise InputError("--model and --checkpoint both say what to begin with: give one of them")
    from masklet.models import get_spec
    from masklet.training.settings import TrainSettings
    from masklet.training.start import footage_clips, train_run, tuning_settings, tuning_stages

    path = run or Path(f"tuned-{checkpoint.stem if checkpoint else model or 'nano'}-{data[0].resolve().stem}")
    learned, held = _footage(data, validate_on, layout, split, validation)

    def defaults() -> TrainSettings:
        name, start = _start(model, checkpoint)
        return tuning_settings(model=name, start=start, device=device, steps=steps)

    changes = _changes(
        model=get_spec(model).name if model else None,
        steps=steps,
        resolution=resolution,
        stages=tuning_stages(frames, objects) if frames or objects else None,
        learning_rate=learning_rate,
        seed=seed,
        freeze=_names(freeze),
    )
    with TrainDisplay() as display:
        finished = train_run(
            path,
            footage_clips(learned, held),
            settings_file=settings,
            changes=changes,
            defaults=defaults,
            device=device,
            workers=workers,
            threads=threads,
            validation=validation,
            report=display.show,
            stop=lambda: display.stopped,
        )
    display.ended(path, finished)


def _changes(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _names(freeze: list[str] | None) -> tuple[str, ...] | None:
    """The parts to freeze: None where nothing was said, () for ``none``."""
    if freeze is None:
        return None
    names = tuple(name.strip() for words in freeze for name in words.split(",") if name.strip())
    return () if names == ("none",) else names


def _start(model: str | None, checkpoint: Path | None) -> tuple[str, Path]:
    """The name of the network to begin with, and its weights."""
    from masklet.models import get_spec
    from masklet.weights.checkpoints import read_checkpoint
    from masklet.weights.loading import find_weights

    if checkpoint is not None:
        return read_checkpoint(checkpoint).spec.name, checkpoint.expanduser()
    name = get_spec(model or "nano").name
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
