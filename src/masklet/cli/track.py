"""`masklet track`: click, box or paint an object once and get its mask in every frame."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Collection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from masklet.jobs.request import TrackProgress, TrackReport

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
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.", rich_help_panel=_FILES)],
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
    from masklet.jobs.prompt_text import parse_box, parse_mask, parse_point
    from masklet.jobs.request import TrackRequest

    settings = {
        "kf_score_weight": kf_score_weight,
        "stable_frames_threshold": stable_frames_threshold,
        "stable_ious_threshold": stable_ious_threshold,
        "min_obj_score_logits": min_obj_score_logits,
        "memory_bank_iou_threshold": memory_bank_iou_threshold,
        "memory_bank_obj_score_threshold": memory_bank_obj_score_threshold,
        "memory_bank_kf_score_threshold": memory_bank_kf_score_threshold,
    }
    request = TrackRequest(
        source=video,
        output=output,
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
    from masklet.jobs.track import track as run

    with _Display() as display:
        report = run(request, progress=display.show, stopped=lambda: display.stopped)
    _summarise(report, request.masks, request.overlay)
    if report.model == "nano" and report.complete and not resume:
        _point_to_sharper(context)
    if not report.complete and report.kept:
        again = [] if report.go_on_at is None else ["--start", str(report.go_on_at)]
        typer.echo(f"Go on from there:\n  {_command(context, only=_REPEATED, add=['--resume', *again])}")
    if report.problem is not None:
        raise report.problem
    if not report.complete:
        raise typer.Exit(130)


class _Display:
    """The progress bar, and Ctrl-C while it runs: the first one ends the run well, the second one at once."""

    def __init__(self) -> None:
        self.stopped = False
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Speed(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[lost]}", style="yellow", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._release()

    def show(self, state: TrackProgress) -> None:
        if state.stage not in self._tasks:
            name = {"track": "tracking", "overlay": "drawing overlay.mp4"}.get(state.stage, state.stage)
            self._tasks[state.stage] = self._bar.add_task(name, total=state.total, lost="")
            if state.stage == "track":
                self._listen()
            self._bar.start()
        lost = f"lost: {', '.join(state.lost)}" if state.lost else ""
        self._bar.update(self._tasks[state.stage], completed=state.done, total=state.total, lost=lost)

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._stop)
            except ValueError:  # not the main thread: whoever runs this one looks after signals
                return

    def _release(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        self._release()
        self._bar.console.print("Finishing what is done …", style="yellow")


class _Speed(ProgressColumn):
    """Frames per second, lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:.1f} frames/s", style="cyan")


def _summarise(report: TrackReport, masks: bool, overlay: bool) -> None:
    folder = report.folder
    many = "" if len(report.objects) == 1 else f" of {len(report.objects)} objects"
    if not report.kept:
        typer.echo("Stopped before the first frame was done; nothing was written.")
        return
    speed = f" ({report.frames / report.seconds:.1f} frames/s)" if report.seconds > 0 else ""
    state = "" if report.complete else ", then stopped"
    typer.echo(f"{report.frames} frames{many} tracked with {report.model} in {report.seconds:.1f} s{speed}{state}.")
    if masks:
        for thing in report.objects.values():
            typer.echo(f"  {folder / thing.folder}{'/'}")
    if overlay and (folder / "overlay.mp4").is_file():
        typer.echo(f"  {folder / 'overlay.mp4'}")
    typer.echo(f"  {folder / 'masklets.json'}  ({report.kept} frames)")
    for thing in report.objects.values():
        if thing.lost:
            stretches = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in sorted(thing.lost))
            typer.echo(f"{thing.name} could not be seen on frames {stretches}.")
    for note in report.notes:
        typer.echo(f"note: {note}")


def _point_to_sharper(context: typer.Context) -> None:
    from masklet.models.cache import find_cached
    from masklet.models.registry import RELEASED

    tiny = RELEASED["sam2.1-tiny"]
    price = "" if find_cached(tiny) else f"  (fetches {round(tiny.size / 1e6)} MB once)" if tiny.size else ""
    command = _command(context, but=("model", "overwrite"), add=["--model", "tiny", "--overwrite"])
    typer.echo(f"nano is the small model inside the package. Sharper masks:\n  {command}{price}")


def _command(
    context: typer.Context, *, only: Collection[str] | None = None, but: Collection[str] = (), add: list[str]
) -> str:
    """The command as it was given, to be given again with changes."""
    words = ["masklet", "track"]
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
    return shlex.join([*words, *add])
