"""`masklet train`: train a network on synthetic videos, and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.atomic import atomic_path
from masklet.cli.train_display import TrainDisplay
from masklet.errors import ExportError, InputError

if TYPE_CHECKING:
    from masklet.training.synthesis import Pictures

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: `masklet train runs/mine --sources packs/`, and the same again to go on after a stop; "
    "`masklet train preview --sources packs/ -o sheet.png`",
)


@app.callback()
def train(
    context: typer.Context,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", help="Folder of the run. A run that is there already goes on.")
    ] = None,
    sources: Annotated[
        list[Path] | None, typer.Option(help="Folder of packs (cutouts-, photos-, textures-*.npz).")
    ] = None,
    cutouts: Annotated[
        list[Path] | None, typer.Option(help="Pack, or folder of pictures with alpha; may be repeated.")
    ] = None,
    photos: Annotated[list[Path] | None, typer.Option(help="Pack, or folder of photographs; may be repeated.")] = None,
    model: Annotated[str | None, typer.Option(help="Size of network: nano, tiny, small, base_plus, large.")] = None,
    start: Annotated[Path | None, typer.Option(help="Weights to begin with, instead of from nothing.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="JSON file with any of the settings (see the run's settings.json).")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the run; may change when it goes on.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate at its highest.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; left out, the best there is.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that make clips.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None,
    validation: Annotated[int, typer.Option(min=0, max=100, help="Clips that are only validated on.")] = 6,
    seed: Annotated[int | None, typer.Option(help="Another number, other clips and first weights.")] = None,
) -> None:
    """Train a network on synthetic videos, from nothing or from weights.

    The run's folder holds everything: settings.json, the state to go on from, model.safetensors (averaged weights, for
    `masklet track --checkpoint`), best.safetensors (those that did best in validation) and events for TensorBoard.
    """
    if context.invoked_subcommand is not None:
        return
    if run is None:
        typer.echo(context.get_help())
        raise typer.Exit
    from masklet.training.start import synthetic_clips, train_run

    given = {"model": model, "steps": steps, "learning_rate": learning_rate, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    if start is not None:
        changes["start"] = str(start)
    clips = synthetic_clips(
        _pictures(cutouts, sources, "cutouts"),
        _pictures(photos, sources, "photos"),
        _pictures(None, sources, "textures"),
    )
    with TrainDisplay() as display:
        finished = train_run(
            run,
            clips,
            settings_file=settings,
            changes=changes,
            device=device,
            workers=workers,
            threads=threads,
            validation=validation,
            report=display.show,
            stop=lambda: display.stopped,
        )
    display.ended(run, finished)


@app.command(epilog="Example: `masklet train preview --cutouts my_logos/ --photos my_pictures/ -o sheet.png`")
def preview(
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write (.png, .jpg, .webp).")],
    sources: Annotated[
        list[Path] | None, typer.Option(help="Folder of packs (cutouts-, photos-, textures-*.npz).")
    ] = None,
    cutouts: Annotated[
        list[Path] | None, typer.Option(help="Pack, or folder of pictures with alpha; may be repeated.")
    ] = None,
    photos: Annotated[list[Path] | None, typer.Option(help="Pack, or folder of photographs; may be repeated.")] = None,
    clips: Annotated[int, typer.Option(min=1, max=400, help="Number of clips.")] = 12,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Frames in a clip.")] = 5,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of a frame in pixels.")] = 256,
    columns: Annotated[int, typer.Option(min=1, max=8, help="Clips side by side.")] = 2,
    seed: Annotated[int, typer.Option(help="Another number, other clips.")] = 0,
    masks: Annotated[bool, typer.Option("--masks/--no-masks", help="Draw the objects' masks.")] = True,
) -> None:
    """Draw a contact sheet of synthetic clips: one row of frames for each."""
    import cv2

    from masklet.training.synthesis import ClipGenerator, ClipSettings, Wardrobe, contact_sheet

    suffix = output.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"{output} must be named .png, .jpg or .webp, which say what is written.")
    wardrobe = Wardrobe(
        _pictures(cutouts, sources, "cutouts"),
        _pictures(photos, sources, "photos"),
        _pictures(None, sources, "textures"),
    )
    generator = ClipGenerator(wardrobe, ClipSettings(frames=frames, height=size, width=size), seed=seed)
    made = [generator.clip(number) for number in range(clips)]
    sheet = contact_sheet(made, masks=masks, columns=columns)
    coded = cv2.imencode(suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    with atomic_path(output, error=ExportError) as temporary:
        temporary.write_bytes(coded.tobytes())
    objects = sum(len(clip.objects) for clip in made)
    typer.echo(f"{output}: {clips} clips of {frames} frames, {objects} objects")


def _pictures(own: list[Path] | None, packs: list[Path] | None, kind: str) -> Pictures | None:
    """The pictures of a kind: the caller's own, else what the packs have of it, else none."""
    from masklet.training.synthesis import Pictures
    from masklet.training.synthesis.packs import find_packs

    if own:
        return Pictures(own, kind)
    missing = [place for place in packs or [] if not place.is_dir()]
    if missing:
        raise InputError(f"no folder at {missing[0]}")
    found = [path for place in packs or [] for path in find_packs(place, kind)]
    return Pictures(found, kind) if found else None
