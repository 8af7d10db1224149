"""`masklet edit`: edits by hand that reach over many frames or several objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from masklet.cli.options import POSITION, End, OneObject, ProjectFile, Source, Start, of_object, of_place
from masklet.cli.project import find_object
from masklet.project.edits import KINDS, parse_edit


def edit(
    project: ProjectFile,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"What to do: {', '.join(KINDS)}.", show_default=False)],
    *,
    wanted: OneObject = None,
    other: Annotated[
        str | None, of_object(metavar="NAME|ID", help="The second object of merge, swap and reassign.")
    ] = None,
    onto: Annotated[
        str | None, of_object(metavar="NAME|ID", help="The object that a copy is for.", show_default="itself")
    ] = None,
    region: Annotated[
        Path | None, of_object(metavar="FILE", help="A picture of the part to split off, white on black.")
    ] = None,
    start: Start = None,
    end: End = None,
    frame: Annotated[str | None, of_place(metavar=POSITION, help="The frame that a mask is copied from.")] = None,
    source: Source = None,
) -> None:
    """Edit masks of many frames at once. The studio's undo takes each edit back as a whole.

    Frames that an edit changes count as painted: tracking leaves them alone, and goes on from their ends.

    \b
    delete       masks and prompts go, as if nothing had been tracked there
    copy         the mask of --frame goes on all frames from --start to --end
    interpolate  the outline is led from the first frame to the last, through the prompts between them
    absent       the object is not here: up to --end, or to the next prompt that shows it
    merge        --object and --other become one object
    swap         --object and --other exchange their masks: their tracks were mixed up there
    reassign     masks go to --other, or to a new object
    split        the part of the masks in --region becomes a new object

    \b
    Two dogs crossed at frame 120 and were mixed up from there on:
      masklet edit clip.masklet swap --object rex --other bello --start 120
    """
    from masklet.media import parse_position, read_mask
    from masklet.project import Project

    with Project.open(project) as opened:
        reader = opened.open_source(source)
        given: dict[str, Any] = {"kind": kind, "object": find_object(opened, wanted).id}
        given |= {name: find_object(opened, text).id for name, text in (("other", other), ("onto", onto)) if text}
        places = (("start", start), ("end", end), ("frame", frame))
        given |= {name: parse_position(text, reader) for name, text in places if text is not None}
        if region is not None:
            from masklet.masks import rle

            given["region"] = rle.encode(read_mask(region))
        done = parse_edit(given).apply(opened)
    typer.echo(f"{done.label}: {done.frames} frames were changed.")
