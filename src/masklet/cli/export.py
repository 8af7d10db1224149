"""`masklet export` and `masklet formats`: masks of a project as files for the next tool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn

from masklet.cli.display import listing, progress_bar
from masklet.cli.options import (
    AsJson,
    End,
    MaskLooks,
    Overwrite,
    ProjectFile,
    Source,
    Start,
    grouped,
    of_files,
    of_looks,
    of_object,
    read_pairs,
)
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.export import Exporter
    from masklet.project import Project


@grouped
def export(
    project: ProjectFile,
    *,
    format: Annotated[str, of_files("--format", "-f", metavar="NAME", help="One of `masklet formats`.")],
    objects: Annotated[
        list[str] | None,
        of_object("--object", metavar="NAME|ID", help="Only this one; may be repeated.", show_default="all visible"),
    ] = None,
    start: Start = None,
    end: End = None,
    source: Source = None,
    output: Annotated[
        str | None,
        of_files("--output", "-o", metavar="PATH", help="File or folder.", show_default="beside the project"),
    ] = None,
    template: Annotated[
        str | None, of_files(metavar="TEXT", help="File names, such as {clip}_{object}_{frame:05d}.")
    ] = None,
    overwrite: Overwrite = False,
    option: Annotated[
        list[str] | None,
        of_looks(
            "--option",
            "-O",
            metavar="NAME=VALUE",
            help="An option of the format (`masklet formats NAME` lists them); may be repeated.",
        ),
    ] = None,
    looks: MaskLooks,
) -> None:
    """Write a project's masks as video, sequence, data set or still.

    \b
    For compositing, with alpha:
      masklet export clip.masklet --format prores4444 -o bunny.mov
    One float layer per object, for Nuke:
      masklet export clip.masklet --format exr -o layers/
    A data set, every tenth frame, polygons:
      masklet export clip.masklet --format coco -O every=10 -O segmentation=polygons -o coco/
    One object before a green screen, with a softer edge:
      masklet export clip.masklet --format screen --object bunny --feather 3 -o green.mp4
    """
    from masklet.export import get, write
    from masklet.project import Project

    exporter = get(format)
    options = _options(option)
    notes: list[str] = []
    with Project.open(project, read_only=True) as opened, progress_bar(MofNCompleteColumn()) as bar:
        if source is not None:
            opened.open_source(source)
        task = bar.add_task(f"writing {exporter.title}", total=None)
        paths = write(
            opened,
            format,
            output if output is not None else _beside(project, exporter),
            objects=objects,
            start=_frame(start, opened),
            end=_frame(end, opened),
            settings=looks.finish or None,
            template=template,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            notes=notes,
            **options,
        )
    if len(paths) == 1:
        typer.echo(str(paths[0]))
    else:
        shared = _shared_folder(paths)
        typer.echo(f"{len(paths)} files in {shared}")
    for note in notes:
        typer.echo(f"note: {note}")


def formats(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One format, with its options.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the formats that `masklet export` writes; with a name, that format's options.

    \b
    Examples:
      masklet formats
      masklet formats coco
    """
    from masklet.export import formats as every
    from masklet.export import get

    chosen = every() if name is None else [get(name)]
    if as_json:
        rows = [_described(exporter) for exporter in chosen]
        typer.echo(json.dumps(rows if name is None else rows[0], indent=2))
        return
    console = Console(highlight=False)
    if name is not None:
        _show_one(console, chosen[0])
        return
    table = listing("format", "writes", "what it is", wide="what it is")
    group = None
    for exporter in chosen:
        if exporter.group != group:
            group = exporter.group
            table.add_row(f"[bold]{group}[/bold]", "", "")
        table.add_row(f"  {exporter.name}", _writes(exporter), exporter.description)
    console.print(table)
    console.print("\n`masklet formats NAME` shows a format's options.", markup=False)


def _show_one(console: Console, exporter: type[Exporter]) -> None:
    console.print(f"[bold]{exporter.name}[/bold] — {exporter.title}: {exporter.description}")
    console.print(f"Writes {_writes(exporter)}.", markup=False)
    if not exporter.model_fields:
        console.print("It has no options.")
        return
    table = listing("option", "default", "values", "what it does", wide="what it does")
    for name, field in exporter.model_json_schema()["properties"].items():
        default = "required" if "default" not in field else _plain(field["default"])
        table.add_row(name, default, _values(field), field.get("description", ""))
    console.print(table)


def _described(exporter: type[Exporter]) -> dict[str, Any]:
    return {
        "name": exporter.name,
        "title": exporter.title,
        "description": exporter.description,
        "group": exporter.group,
        "extensions": list(exporter.extensions),
        "template": exporter.template,
        "options": exporter.model_json_schema().get("properties", {}),
    }


def _writes(exporter: type[Exporter]) -> str:
    return " ".join(exporter.extensions) or "a folder"


def _values(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " ".join(_plain(value) for value in field["enum"])
    kind = field.get("type") or "/".join(part.get("type", "") for part in field.get("anyOf", ()) if part.get("type"))
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        return f"{low}…{high}"
    names = {"boolean": "true false", "integer": "number", "number": "number", "string": "text", "object": "JSON"}
    return names.get(kind, kind.replace("/null", "").replace("integer", "number"))


def _plain(value: Any) -> str:
    if value is None or value == {}:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(texts: Sequence[str] | None) -> dict[str, Any]:
    """Options of a format; a value that begins like JSON is read as that."""
    found: dict[str, Any] = dict(read_pairs(texts, "--option"))
    for name, value in found.items():
        if value.startswith(("{", "[")):
            try:
                found[name] = json.loads(value)
            except ValueError as problem:
                raise InputError(f"The value of --option {name} is not JSON: {problem}.") from problem
    return found


def _frame(text: str | None, project: Project) -> int | None:
    if text is None or text.strip().isdecimal():
        return None if text is None else int(text)
    from masklet.media import parse_position

    return parse_position(text, project.open_source())


def _beside(project: Path, exporter: type[Exporter]) -> Path:
    return project.with_name(f"{project.stem}_{exporter.name}{exporter.extensions[0] if exporter.extensions else ''}")


def _shared_folder(paths: Sequence[Path]) -> Path:
    folder = paths[0].parent
    while not all(path.is_relative_to(folder) for path in paths):
        folder = folder.parent
    return folder
