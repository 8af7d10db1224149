"""`masklet track`: click, box or paint an object once and get its mask in every frame."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.display import RunDisplay, go_on, program, sharper_model, show_outcome
from masklet.cli.options import (
    POSITION,
    End,
    Group,
    Many,
    MaskLooks,
    Network,
    PolicyOptions,
    Prompts,
    Start,
    Zoom,
    grouped,
    of_files,
    of_place,
)
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.runs.prompt_text import PromptText
    from masklet.runs.request import TrackRequest

#: What a command that goes on with a run has to repeat; the rest is in its project.
_REPEATED = ("video", "device", "masks", "overlay")
#: What stands for digits at the end of a pattern's name.
_WILD = re.compile(r"[._-]?(#+|@+|%0?\d*d|[*?]+)$")


@dataclass(frozen=True)
class Where(Group):
    """Which part of the video, and how it is gone through."""

    frame: Annotated[
        str | None,
        of_place(
            metavar=POSITION,
            help="Where the prompts above belong: 120, 4.8s, 1:02.5, 00:00:04:20.",
            show_default="where tracking starts",
        ),
    ] = None
    start: Start = None
    end: End = None
    direction: Annotated[
        str | None, of_place(help="From the prompts on: forward, backward, both.", show_default="forward")
    ] = None
    rate: Annotated[str | None, of_place(metavar="FPS", help="Frames per second of pictures.", show_default="24")] = (
        None
    )


@dataclass(frozen=True)
class Files(Group):
    """What is written, and what happens to what is there."""

    masks: Annotated[bool, of_files("--masks/--no-masks", help="Write a PNG a frame and object.")] = True
    overlay: Annotated[bool, of_files("--overlay/--no-overlay", help="Write overlay.mp4.")] = True
    overwrite: Annotated[bool, of_files("--overwrite", help="Replace earlier results.")] = False


@grouped
def track(
    context: typer.Context,
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a folder of pictures, or shot.####.png.")],
    *,
    clicks: Prompts,
    many: Many,
    where: Where,
    network: Network,
    zoom: Zoom = None,
    policy: PolicyOptions,
    looks: MaskLooks,
    output: Annotated[
        Path | None,
        of_files("--output", "-o", help="Folder for the results.", show_default="beside the video"),
    ] = None,
    project: Annotated[
        Path | None,
        of_files(metavar="FILE.masklet", help="Keep everything in a project instead, to correct and export it."),
    ] = None,
    files: Files,
    resume: Annotated[
        bool,
        of_files("--resume", help="Go on with a run that was stopped; with --start, track again from there."),
    ] = False,
) -> None:
    """Track objects through a video. Writes masks/<object>/00000.png, overlay.mp4 and masklets.json.

    Several objects: put a name and a colon before a prompt. Another frame: put @ and the frame before the colon.
    Numbers are pixels of the video, from its upper left corner.

    \b
    One object, one click:
      masklet track clip.mp4 --point 640,300 -o out/
    A box, and a place that does not belong to it:
      masklet track clip.mp4 --box 153,219,571,558 --negative 150,460 -o out/
    Two objects:
      masklet track clip.mp4 --point bunny:345,420 --box rock:790,270,1220,435 -o out/
    A second click later, where the first one is not enough:
      masklet track clip.mp4 --point 345,420 --point @3.2s:450,380 -o out/
    From the middle in both directions:
      masklet track clip.mp4 --box 190,40,610,620 --frame 45 --direction both -o out/

    \b
    Boxes of another tool, and what a detector finds every two seconds:
      masklet track clip.mp4 --prompts det.txt -o out/
      masklet track clip.mp4 --detector my_tools.cars:find --detect-every 2s --project clip.masklet
    A video with cuts, each shot on its own:
      masklet track film.mp4 --prompts boxes.json --split shots -o out/

    Without -o the results go into clip_masklets/ beside the video. Ctrl-C keeps what is done, and says how to go on.
    """
    from masklet.runs.request import TrackRequest

    if output is not None and project is not None:
        raise InputError("give -o or --project, not both: `masklet export` writes files from a project")
    read, classes = (clicks.read(), {}) if many.prompts is None else _with_boxes(clicks, many, video, where.rate)
    request = TrackRequest(
        source=video,
        prompts=read,
        **vars(where),
        **vars(network),
        zoom=zoom,
        **vars(policy),
        **vars(looks),
        **vars(files),
    )
    _start(context, request, many, classes, output=output, project=project, resume=resume)


def _start(
    context: typer.Context,
    request: TrackRequest,
    many: Many,
    classes: Mapping[str, str],
    *,
    output: Path | None,
    project: Path | None,
    resume: bool,
) -> None:
    """Track into files or a project, shot by shot or as a detector finds objects."""
    if many.split is not None:
        if many.split != "shots" or many.detector is not None or resume:
            raise InputError("--split takes the word shots, and goes with neither --detector nor --resume")
        for name, shot in _shots(request):
            if project is None:
                _into_folder(context, (output or _beside(request.source, request.overwrite)) / name, shot, False)
            else:
                _into_project(project.with_stem(f"{project.stem}_{name}"), shot, classes)
    elif many.detector is not None:
        if project is None:
            raise InputError("--detector keeps what it finds in a project: add --project clip.masklet")
        _detected(context, project, request, many, resume)
    elif project is None:
        _into_folder(context, output or _beside(request.source, resume or request.overwrite), request, resume)
    elif resume:
        raise InputError(f"to go on with a project: masklet resume {project}")
    else:
        _into_project(project, request, classes)


def _with_boxes(clicks: Prompts, many: Many, video: str, rate: str | None) -> tuple[list[PromptText], dict[str, str]]:
    """What was typed and what a file of boxes says, and the classes of objects by name."""
    from masklet.jobs.boxes import read_prompts
    from masklet.media import open_media

    assert many.prompts is not None
    with open_media(video, rate=rate) as reader:
        found = read_prompts(
            many.prompts,
            reader.info,
            every=many.prompt_every,
            first_frame=many.prompts_first,
            min_score=many.min_score,
        )
    return [*clicks.read(), *(text for prompt in found.prompts for text in prompt.texts())], found.classes


def _shots(request: TrackRequest) -> Iterator[tuple[str, TrackRequest]]:
    """A request for every shot that has a prompt; says which have none."""
    from masklet.jobs.shots import find_shots, split_request

    split = split_request(request, find_shots(request.source, rate=request.rate))
    for shot in split.unprompted.values():
        typer.echo(f"The shot of frames {shot[0]} to {shot[-1]} has no prompt, and isn't tracked.")
    yield from split.requests.items()


def _detected(context: typer.Context, project: Path, request: TrackRequest, many: Many, resume: bool) -> None:
    """Track what a detector finds into a project."""
    from masklet.jobs.detectors import DetectorSettings, track_detected

    if not 0 <= many.min_score <= 1 or many.max_objects < 1:
        raise InputError("--min-score lies between 0 and 1, and --max-objects is 1 or more")
    settings = DetectorSettings(
        detector=str(many.detector),
        every=many.detect_every,
        min_score=many.min_score,
        max_objects=many.max_objects,
    )
    with RunDisplay() as display:
        report = track_detected(project, request, settings, resume=resume, **display.watching)
    show_outcome(report, [str(project)])
    if not report.complete:
        typer.echo(f"Go on from there:\n  {_command(context, but=('resume', 'overwrite'), add=['--resume'])}")
        raise typer.Exit(130)
    typer.echo(f"Files for the next tool:\n  {program()} export {shlex.quote(str(project))} --help")


def _into_folder(context: typer.Context, folder: Path, request: TrackRequest, resume: bool) -> None:
    """Track into a folder of files."""
    from masklet.runs import folder as runs

    run = runs.resume if resume else runs.track
    with RunDisplay() as display:
        report = run(folder, request, **display.watching)
    if not report.kept:
        typer.echo("Stopped before the first frame was done; nothing was written.")
        raise typer.Exit(130)
    *files, last = [_shown(file) for file in report.files] or [str(folder)]
    show_outcome(report, [*files, f"{last}  ({report.kept} frames)"])
    if report.model == "nano" and report.complete and not resume:
        changed = ["--output", str(folder), "--model", "tiny", "--overwrite"]
        typer.echo(f"{sharper_model()}\n  {_command(context, but=('output', 'model', 'overwrite'), add=changed)}")
    if not report.complete:
        again = _command(context, only=_REPEATED, add=["--output", str(folder), "--resume"])
        typer.echo(f"Go on from there:\n  {again}")
    if report.problem is not None:
        raise report.problem
    if not report.complete:
        raise typer.Exit(130)


def _into_project(project: Path, request: TrackRequest, classes: Mapping[str, str]) -> None:
    """Track into a project file instead of a folder of files."""
    from masklet.project import Project
    from masklet.runs.actions import begin

    with RunDisplay() as display:
        report = begin(project, request, **display.watching)
    if classes:
        with Project.open(project) as kept:
            for known in kept.objects():
                kept.update_object(known.id, category=classes.get(known.name))
    show_outcome(report, [str(project)])
    if not report.complete:
        go_on(project)
    typer.echo(f"Files for the next tool:\n  {program()} export {shlex.quote(str(project))} --help")


def _beside(video: str, there: bool) -> Path:
    """A folder for the results beside the clip: the last one that is `there`, or the first one that is not."""
    place = Path(video)
    name = _WILD.sub("", place.stem) or "masklet"
    folders = (place.with_name(f"{name}_masklets" + ("" if number == 1 else f"_{number}")) for number in count(1))
    taken = [*takewhile(lambda folder: folder.exists(), folders)]
    if there and taken:
        return taken[-1]
    return place.with_name(f"{name}_masklets" + (f"_{len(taken) + 1}" if taken else ""))


def _shown(file: Path) -> str:
    """A path as it is said: from here, if it lies below."""
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}{'/' if file.is_dir() else ''}"


def _command(
    context: typer.Context, *, only: Collection[str] | None = None, but: Collection[str] = (), add: list[str]
) -> str:
    """The command as it was given, to be given again with changes."""
    words = ["track"]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in but or (only is not None and name not in only):
            continue
        value = context.params[name]
        values = value if isinstance(value, (list, tuple)) else [value]
        for given in values:
            if parameter.param_type_name == "argument":
                words.append(str(given))
            elif isinstance(given, bool):
                words.append(parameter.opts[0] if given else parameter.secondary_opts[0])
            else:
                words += [parameter.opts[0], str(given)]
    return f"{program()} {shlex.join([*words, *add])}"
