"""`masklet status`, `masklet resume` and `masklet correct`: work on a saved project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from masklet.cli.display import RunDisplay, go_on, in_short, listing, show_outcome
from masklet.cli.options import (
    POSITION,
    AsJson,
    Device,
    OneObject,
    ProjectFile,
    Prompts,
    Source,
    grouped,
    of_object,
    of_place,
)
from masklet.errors import InputError, PromptError
from masklet.results import stretches

if TYPE_CHECKING:
    from masklet.project import Project
    from masklet.project.records import ProjectObject
    from masklet.runs.request import RunReport


def status(project: ProjectFile, as_json: AsJson = False) -> None:
    """Show what a project holds: video, objects, what was tracked and where they were lost.

    Works while another process tracks. Example: `masklet status clip.masklet`
    """
    from masklet.project import Project

    with Project.open(project, read_only=True) as opened:
        found = _describe(opened)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    source, settings = found["source"], found["settings"]
    console = Console(highlight=False)
    missing = "" if source["there"] else "  (not there; --source says where it is)"
    console.print(f"{project}", markup=False, style="bold", soft_wrap=True)
    console.print(f"video    {source['path']}{missing}", markup=False, soft_wrap=True)
    console.print(
        f"         {source['width']}×{source['height']}, {source['frame_count']} frames, {source['rate']:g} frames/s"
        + (" on average" if source["variable_rate"] else ""),
    )
    resolution = f" at {settings['resolution']}" if settings["resolution"] else ""
    more = [
        settings["policy"],
        *(["fit"] if settings["shape"] == "fit" else []),
        *(["zoom"] if settings["zoom"] else []),
    ]
    console.print(f"tracking {settings['model']}{resolution}, {', '.join(more)}", markup=False)
    table = listing("id", "object", "prompts", "frames", "lost", "", wide="lost")
    for known in found["objects"]:
        marks = [word for word in ("locked", "hidden") if known[word]]
        painted = [f"{len(known['painted'])} painted"] if known["painted"] else []
        prompts = ", ".join(map(str, known["prompted"][:8])) + (" …" if len(known["prompted"]) > 8 else "")
        table.add_row(
            str(known["id"]), known["name"], prompts, _ranges(known["tracked"]), _ranges(known["lost"]),
            ", ".join([*marks, *painted]),
        )  # fmt: skip
    console.print(table if found["objects"] else "No objects yet.")
    if found["run"]:
        console.print(
            f"An unfinished run stands at frame {found['run']['frame']}; {found['run']['frames_left']} are left:\n"
            f"  masklet resume {project}",
            markup=False,
            soft_wrap=True,
        )


def resume(project: ProjectFile, source: Source = None, device: Device = None) -> None:
    """Go on with a tracking run that was stopped or killed, exactly where it was.

    Example: `masklet resume clip.masklet`
    """
    from masklet.project import Project
    from masklet.runs import actions

    with Project.open(project) as opened:
        if source is not None:
            opened.open_source(source)
        with RunDisplay() as display:
            report = actions.resume(opened, device=device, **display.watching)
    _summarise(report, project)


@grouped
def correct(
    project: ProjectFile,
    *,
    frame: Annotated[str, of_object(metavar=POSITION, help="The frame: 120, 4.8s, 00:00:04:20.")],
    wanted: OneObject = None,
    prompts: Prompts,
    direction: Annotated[str, of_place(help="forward, backward or both.")] = "both",
    until_agrees: Annotated[
        bool, of_place("--until-agrees/--to-end", help="End where new masks are as the old ones were, or don't.")
    ] = True,
    source: Source = None,
    device: Device = None,
) -> None:
    """Correct an object on a frame, and track it again from there until the new masks agree with the old ones.

    It ends before the next frame that was prompted, painted or accepted (`masklet review`); those stay as they are, and
    so do locked objects. The studio's undo takes a correction back as a whole.

    \b
    Something that does not belong to it:
      masklet correct clip.masklet --frame 120 --object 2 --negative 400,310
    It was lost; here it is:
      masklet correct clip.masklet --frame 4.8s --object bunny --box 120,80,330,400
    """
    from masklet.media import parse_position
    from masklet.project import Project
    from masklet.runs import corrections
    from masklet.runs.objects import prompt_arguments

    said = prompts.read()
    if any(text.object or text.frame for text in said):
        raise PromptError("a correction is for one object on one frame: say them with --object and --frame")
    if not said:
        raise PromptError(
            "say what is right: --point 640,300, --negative 400,310, --box 153,219,571,558 or --mask FILE"
        )
    with Project.open(project) as opened:
        reader = opened.open_source(source)
        place = parse_position(frame, reader)
        chosen = find_object(opened, wanted)
        given = prompt_arguments(said, chosen.name, f" on frame {place}")
        with RunDisplay() as display:
            how = {"direction": direction, "until_agrees": until_agrees, "device": device, **display.watching}
            report = corrections.correct(opened, place, chosen.id, **given, **how)
    _summarise(report, project)


def find_object(project: Project, wanted: str | None) -> ProjectObject:
    """The object that `--object` means, which may be left out where there is only one. Raises InputError."""
    there = project.objects()
    if wanted is None:
        if len(there) == 1:
            return there[0]
        raise InputError(
            "say which object: " + (", ".join(f"--object {o.id} ({o.name})" for o in there) or "there is none")
        )
    [chosen, *others] = project.find_objects([wanted])
    if others:
        raise InputError(f"several objects are called {wanted}: say --object with the number")
    return chosen


def _describe(project: Project) -> dict[str, Any]:
    from masklet.project.source import is_there

    source, run = project.source, project.run
    prompts = project.prompts()
    objects = []
    for known in project.objects():
        scores = project.scores(known.id)
        objects.append(
            {
                "id": known.id,
                "name": known.name,
                "locked": known.locked,
                "hidden": not known.visible,
                "prompted": sorted({prompt.frame for prompt in prompts if prompt.object_id == known.id}),
                "tracked": [row["frame"] for row in scores],
                "lost": [row["frame"] for row in scores if row["lost"]],
                "found_again": [row["frame"] for row in scores if row["found_again"]],
                "painted": [row["frame"] for row in scores if row["painted"]],
            }
        )
    return {
        "source": {
            "path": source.path,
            "there": is_there(Path(source.path)),
            "width": source.width,
            "height": source.height,
            "frame_count": source.frame_count,
            "rate": float(source.rate),
            "variable_rate": source.variable_rate,
        },
        "settings": project.track_settings.model_dump(),
        "objects": objects,
        "run": None if run is None else {"frame": run.place.frame, "frames_left": run.frames_left, "label": run.label},
    }


def _ranges(frames: list[int]) -> str:
    """0–5, 9, 12–40 out of the frames."""
    if not frames:
        return "-"
    parts = stretches(frames)
    return in_short(parts[:6]) + (f" and {len(parts) - 6} more" if len(parts) > 6 else "")


def _summarise(report: RunReport, project: Path) -> None:
    show_outcome(report)
    if not report.complete:
        go_on(project)
