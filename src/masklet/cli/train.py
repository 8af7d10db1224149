"""`masklet train`: look at what a model is trained on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.errors import ExportError, InputError

if TYPE_CHECKING:
    from masklet.training.synthesis import Pictures

app = typer.Typer(
    help="Train on synthetic videos.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: `masklet train preview --sources packs/ -o sheet.png`",
)


@app.callback()
def train() -> None:
    """Train on synthetic videos."""


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
    temporary = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(coded.tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(output)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ExportError(f"{output} can't be written: {error}") from error
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
