"""`masklet track`: click, box or paint an object once and get its mask in every frame."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.display import RunDisplay, program, show_outcome
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.runs.request import TrackReport, TrackRequest

_WHAT, _WHERE, _MODEL, _MOTION, _FILES = (
    "What to track",
    "Where in the video",
    "Model",
    "SAMURAI: motion and memory",
    "Files",
)
_POSITION = "N|TIME"
#: What a command that goes on with a run has to repeat; the rest is in masklets.json.
_REPEATED = ("video", "output", "device", "rate", "masks", "overlay")


def track(
    context: typer.Context,
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, a folder of pictures, or shot.####.png.")],
    *,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A point on the object, in pixels. May be repeated.", rich_help_panel=_WHAT),
    ] = None,
    negative: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A point that is not on the object.", rich_help_panel=_WHAT),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="X1,Y1,X2,Y2", help="A box around it: left, top, right, bottom.", rich_help_panel=_WHAT),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A picture of its mask, white on black.", rich_help_panel=_WHAT),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar=_POSITION,
            help="Where the prompts above belong: 120, 4.8s, 1:02.5, 00:00:04:20.",
            show_default="where tracking starts",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar=_POSITION, help="First frame to keep.", show_default="first", rich_help_panel=_WHERE),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar=_POSITION, help="Last frame to keep.", show_default="last", rich_help_panel=_WHERE),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(
            help="From the prompts: forward, backward or both.", show_default="forward", rich_help_panel=_WHERE
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="FPS", help="Frames per second of pictures.", show_default="24", rich_help_panel=_WHERE),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="nano, tiny, small, base_plus, large; sam2-tiny … for SAM 2.0.",
            show_default="nano",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights of your own; their size is recognised.", rich_help_panel=_MODEL),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Side of the square that the model sees: less is quicker and coarser.",
            show_default="the model's own",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="samurai (motion-aware) or recency (plain SAM 2).", show_default="samurai", rich_help_panel=_MODEL
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps.", show_default="the best there is", rich_help_panel=_MODEL),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32, bfloat16, float16.", show_default="what suits the device", rich_help_panel=_MODEL),
    ] = None,
    kf_score_weight: Annotated[
        float | None,
        typer.Option(
            help="Say of motion in the choice of a mask.", show_default="0.25, large 0.15", rich_help_panel=_MOTION
        ),
    ] = None,
    stable_frames_threshold: Annotated[
        int | None,
        typer.Option(help="Good frames before motion has a say.", show_default="15", rich_help_panel=_MOTION),
    ] = None,
    stable_ious_threshold: Annotated[
        float | None,
        typer.Option(help="Predicted IoU of a good frame.", show_default="0.3", rich_help_panel=_MOTION),
    ] = None,
    min_obj_score_logits: Annotated[
        float | None,
        typer.Option(help="Object score from which it is there.", show_default="-1", rich_help_panel=_MOTION),
    ] = None,
    memory_bank_iou_threshold: Annotated[
        float | None,
        typer.Option(
            help="Predicted IoU above which a frame is remembered.", show_default="0.5", rich_help_panel=_MOTION
        ),
    ] = None,
    memory_bank_obj_score_threshold: Annotated[
        float | None,
        typer.Option(help="Object score above which it is remembered.", show_default="0", rich_help_panel=_MOTION),
    ] = None,
    memory_bank_kf_score_threshold: Annotated[
        float | None,
        typer.Option(help="Motion score above which it is remembered.", show_default="0", rich_help_panel=_MOTION),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel=_FILES)
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.masklet",
            help="Keep everything in a project instead, to correct and export it.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    masks: Annotated[
        bool, typer.Option("--masks/--no-masks", help="Write a PNG a frame and object.", rich_help_panel=_FILES)
    ] = True,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Write overlay.mp4.", rich_help_panel=_FILES)
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier results in the folder.", rich_help_panel=_FILES)
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a run that was stopped; with --start, track again from there.",
            rich_help_panel=_FILES,
        ),
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

    Ctrl-C keeps what is done, and says how to go on.
    """
    from masklet.runs.prompt_text import parse_box, parse_mask, parse_point
    from masklet.runs.request import TrackRequest

    settings = {
        "kf_score_weight": kf_score_weight,
        "stable_frames_threshold": stable_frames_threshold,
        "stable_ious_threshold": stable_ious_threshold,
        "min_obj_score_logits": min_obj_score_logits,
        "memory_bank_iou_threshold": memory_bank_iou_threshold,
        "memory_bank_obj_score_threshold": memory_bank_obj_score_threshold,
        "memory_bank_kf_score_threshold": memory_bank_kf_score_threshold,
    }
    if output is not None and project is not None:
        raise InputError("give -o or --project, not both: `masklet export` writes files from a project")
    request = TrackRequest(
        source=video,
        output=output or Path(),
        prompts=[
            *map(parse_point, point or ()),
            *(parse_point(text, positive=False) for text in negative or ()),
            *map(parse_box, box or ()),
            *map(parse_mask, mask or ()),
        ],
        frame=frame,
        start=start,
        end=end,
        direction=direction,
        model=model,
        checkpoint=checkpoint,
        policy=policy,
        policy_settings={name: value for name, value in settings.items() if value is not None},
        resolution=resolution,
        device=device,
        dtype=dtype,
        rate=rate,
        masks=masks,
        overlay=overlay,
        overwrite=overwrite,
        resume=resume,
    )
    if project is not None:
        _into_project(project, request)
        return
    if output is None:
        raise InputError("say where the results go: -o FOLDER, or --project clip.masklet")
    from masklet.runs.track import track as run

    with RunDisplay() as display:
        report = run(request, progress=display.show, stopped=lambda: display.stopped)
    if not report.kept:
        typer.echo("Stopped before the first frame was done; nothing was written.")
        raise typer.Exit(130)
    show_outcome(report, _files_of(report, masks))
    if report.model == "nano" and report.complete and not resume:
        _point_to_sharper(context)
    if not report.complete:
        again = [] if report.go_on_at is None else ["--start", str(report.go_on_at)]
        typer.echo(f"Go on from there:\n  {_command(context, only=_REPEATED, add=['--resume', *again])}")
    if report.problem is not None:
        raise report.problem
    if not report.complete:
        raise typer.Exit(130)


def _into_project(project: Path, request: TrackRequest) -> None:
    """Track into a project file instead of a folder of files."""
    if request.resume:
        raise InputError(f"to go on with a project: masklet resume {project}")
    from masklet.runs.project_runs import begin

    with RunDisplay() as display:
        report = begin(project, request, progress=display.show, stopped=lambda: display.stopped)
    show_outcome(report, [str(project)])
    if report.complete:
        typer.echo(f"Files for the next tool:\n  {program()} export {shlex.quote(str(project))} --help")
        return
    typer.echo(f"Go on from there:\n  {program()} resume {shlex.quote(str(project))}")
    raise typer.Exit(130)


def _files_of(report: TrackReport, masks: bool) -> list[str]:
    from masklet.runs.track_files import MASKLETS, OVERLAY

    files = [f"{report.folder / thing.folder}/" for thing in report.objects.values()] if masks else []
    if (report.folder / OVERLAY).is_file():
        files.append(str(report.folder / OVERLAY))
    return [*files, f"{report.folder / MASKLETS}  ({report.kept} frames)"]


def _point_to_sharper(context: typer.Context) -> None:
    from masklet.weights.cache import find_cached
    from masklet.weights.registry import RELEASED

    tiny = RELEASED["sam2.1-tiny"]
    price = "" if find_cached(tiny) or not tiny.size else f" (fetches {round(tiny.size / 1e6)} MB once)"
    command = _command(context, but=("model", "overwrite"), add=["--model", "tiny", "--overwrite"])
    typer.echo(f"nano is the small model inside the package. Sharper masks{price}:\n  {command}")


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
        for one in values:
            if parameter.param_type_name == "argument":
                words.append(str(one))
            elif isinstance(one, bool):
                words.append(parameter.opts[0] if one else parameter.secondary_opts[0])
            else:
                words += [parameter.opts[0], str(one)]
    return f"{program()} {shlex.join([*words, *add])}"
