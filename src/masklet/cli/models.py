"""`masklet models`: the weights that there are, and those that are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from masklet.cli.options import AsJson
from masklet.errors import InputError
from masklet.models.specs import SPECS, get_spec
from masklet.weights import cache
from masklet.weights.inventory import describe, weights_path
from masklet.weights.registry import RELEASED, ReleasedCheckpoint

app = typer.Typer(
    help="List, fetch, convert and remove model weights. Without a command: the list.",
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Examples: `masklet models`, `masklet models pull tiny`, `masklet models pull sam2-large`",
)

_Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Models, such as tiny, base_plus, sam2-large.")]


@app.callback()
def models(
    context: typer.Context,
    as_json: AsJson = False,
) -> None:
    """List the models: parameters, size of the file, whether it is here."""
    if context.invoked_subcommand is not None:
        return
    rows = [describe(name) for name in SPECS]
    if as_json:
        typer.echo(json.dumps({"folder": str(cache.cache_folder()), "models": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("short", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("file", justify="right", no_wrap=True)
    table.add_column("here", overflow="fold")
    for row in rows:
        size = decimal(row["bytes"]) if row["bytes"] else "unknown"
        table.add_row(row["name"], row["short"], f"{row['parameters'] / 1e6:.2f} M", size, _state_text(row))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\nReleased weights are kept in {cache.cache_folder()}", soft_wrap=True, markup=False)
    console.print("`masklet models pull tiny` fetches one; $MASKLET_HOME sets another place.", markup=False)
    if strangers := cache.leftovers():
        names = ", ".join(path.name for path in strangers)
        console.print(f"Also there, and used by nothing: {names}", soft_wrap=True, markup=False)


@app.command(epilog="Examples: `masklet models pull tiny`, `masklet models pull small sam2-small`")
def pull(names: _Names) -> None:
    """Fetch released weights into the cache; goes on where an earlier try stopped."""
    released = [_released(name) for name in names]
    from masklet.weights.download_bar import fetch_with_bar

    for checkpoint in released:
        if cache.find_cached(checkpoint) is not None:
            typer.echo(f"{checkpoint.name} is here already: {cache.cached_path(checkpoint)}")
            continue
        try:
            fetch_with_bar(checkpoint)
        except KeyboardInterrupt:
            kept = cache.part_path(checkpoint)
            if kept.is_file():
                typer.echo(
                    f"\n{decimal(kept.stat().st_size)} are kept; the same command goes on from there.",
                    err=True,
                )
            raise


@app.command(epilog="Example: `masklet models remove large`")
def remove(names: _Names) -> None:
    """Delete released weights, and unfinished downloads of them, from the cache."""
    for checkpoint in [_released(name) for name in names]:
        removed = cache.remove(checkpoint)
        if removed.files:
            typer.echo(f"Removed {checkpoint.name}: {decimal(removed.freed)} are free again.")
        else:
            typer.echo(f"{checkpoint.name} isn't here.")


@app.command(epilog="Example: `cp sam2.1_hiera_tiny.pt $(masklet models where)/`")
def where(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A model; without it, the folder.")] = None,
) -> None:
    """Print the folder of released weights, or where one model's weights are (or have to be put)."""
    typer.echo(str(cache.cache_folder() if name is None else weights_path(get_spec(name).name)))


@app.command(epilog="Example: `masklet models check finetuned.pt`")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .pt or .safetensors file.")],
) -> None:
    """Say which model a weights file holds, or why it can't be used."""
    from masklet.weights.checkpoints import read_checkpoint

    checkpoint = read_checkpoint(file)
    values = sum(tensor.numel() for tensor in checkpoint.state.values())
    formats = ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.state.values()}))
    typer.echo(f"{file}: {checkpoint.spec.name}, {values / 1e6:.2f} M values in {formats}. Use it with --checkpoint.")


@app.command(epilog="Example: `masklet models convert finetuned.pt finetuned.safetensors --half`")
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A .pt or .safetensors file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The .safetensors file to write.")],
    half: Annotated[
        bool, typer.Option("--half", help="Keep 16 bits a value: half the size, nearly the same masks.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over OUT if it exists.")] = False,
) -> None:
    """Write weights as safetensors: opens at once, holds no pickle."""
    if target.suffix != ".safetensors":
        raise InputError(f"{target} must be named .safetensors, which is what is written.")
    if target.exists() and not force:
        raise InputError(f"{target} exists already; --force writes over it.")
    from masklet.weights import checkpoints

    checkpoint = checkpoints.convert(source, target, half=half)
    typer.echo(f"{target}: {checkpoint.spec.name}, {decimal(target.stat().st_size)}")


def _released(name: str) -> ReleasedCheckpoint:
    spec = get_spec(name)
    if spec.name not in RELEASED:
        raise InputError(f"{spec.name} is part of the package: there is nothing to fetch or to remove.")
    return RELEASED[spec.name]


def _state_text(row: dict[str, Any]) -> str:
    if row["state"] == "partial":
        share = f" {row['fetched_bytes'] / row['bytes']:.0%}" if row["bytes"] else ""
        return f"partly{share}"
    return {
        "packaged": "in the package",
        "ready": "yes",
        "unchecked": "yes, not yet checked",
        "wrong size": "no: the file there has a wrong size",
        "missing": "no",
    }[row["state"]]
