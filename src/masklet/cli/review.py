"""`masklet review`: what deserves a look in a project, worst first."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from masklet.cli.display import listing
from masklet.cli.options import AsJson, ProjectFile, of_object


def review(
    project: ProjectFile,
    wanted: Annotated[
        list[str] | None, of_object("--object", metavar="NAME|ID", help="Only this one. May be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the frames whose masks deserve a look, worst first and why, and where one click is expected to help most.

    What was accepted in the studio is left out as long as its masks stay as they are. Works while another process
    tracks. Example: `masklet review clip.masklet`
    """
    from masklet.project import Project
    from masklet.project.review import next_click, queue, review_objects

    with Project.open(project, read_only=True) as opened:
        chosen = opened.objects() if not wanted else opened.find_objects(wanted)
        names = {known.id: known.name for known in chosen}
        seen = review_objects(opened, names)
        found, click = queue(seen), next_click(opened, seen)
    if as_json:
        rows = [{**asdict(stretch), "name": names[stretch.object_id]} for stretch in found]
        typer.echo(json.dumps({"queue": rows, "next": None if click is None else asdict(click)}, indent=2))
        return
    console = Console(highlight=False)
    table = listing("object", "frames", "look at", "expected wrong", "why", wide="why")
    for stretch in found:
        wrong = f"{stretch.expected:.1f} frames"
        table.add_row(names[stretch.object_id], stretch.span, str(stretch.worst), wrong, stretch.words)
    console.print(table if found else "Nothing deserves a look.")
    if click is not None:
        place = "" if click.point is None else f", near {click.point[0]:.0f},{click.point[1]:.0f}"
        console.print(
            f"\nCorrect here next: {names[click.object_id]} on frame {click.frame}{place} ({click.words}).",
            markup=False,
            soft_wrap=True,
        )
