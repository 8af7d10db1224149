"""`masklet segment`: cut objects out of pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from masklet.cli.lazy import say

if TYPE_CHECKING:
    from masklet.runs.segment import PictureReport, SegmentRequest

_WHAT, _EVERYTHING, _MODEL, _FILES = "What to cut out", "With --everything", "Model", "Files"
#: A bar that comes and goes at once is only in the way.
_QUIET_SECONDS = 2.0


def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="PICTURE...", help="Pictures, folders of them, or 'shots/*.jpg'.")
    ],
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
        typer.Option(metavar="FILE", help="A rough mask of it, white on black.", rich_help_panel=_WHAT),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Find masks of everything there is.", rich_help_panel=_WHAT)
    ] = False,
    points_per_side: Annotated[
        int | None,
        typer.Option(help="Points along a side of the search grid.", show_default="32", rich_help_panel=_EVERYTHING),
    ] = None,
    crop_layers: Annotated[
        int | None,
        typer.Option(
            help="Search 4 overlapping crops too (1), or 16 more (2): finds smaller things.",
            show_default="0",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    min_iou: Annotated[
        float | None,
        typer.Option(help="Lowest predicted IoU.", show_default="0.8; nano less", rich_help_panel=_EVERYTHING),
    ] = None,
    min_stability: Annotated[
        float | None,
        typer.Option(help="Lowest stability score.", show_default="0.95; nano less", rich_help_panel=_EVERYTHING),
    ] = None,
    min_area: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            help="Fill smaller holes, drop smaller pieces.",
            show_default="0",
            rich_help_panel=_EVERYTHING,
        ),
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
            help="Side of the square that the model sees.",
            show_default="the model's own",
            rich_help_panel=_MODEL,
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
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the results.",
            show_default="beside each picture",
            rich_help_panel=_FILES,
        ),
    ] = None,
    candidates: Annotated[
        bool,
        typer.Option("--candidates", help="Also write each of the three masks of a click.", rich_help_panel=_FILES),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_FILES)
    ] = False,
) -> None:
    """Cut objects out of pictures. Writes a mask, a cut-out with alpha, an overlay, and the scores as JSON.

    Several objects: put a name and a colon before a prompt. Numbers are pixels of the upright picture, from its upper
    left corner. Several pictures are all prompted alike.

    \b
    Examples. One object, one click:
      masklet segment photo.jpg --point 320,240
    A box, and a place that does not belong to it:
      masklet segment photo.jpg --box 120,80,400,330 --negative 130,300 -o out/
    Two objects:
      masklet segment photo.jpg --point cat:320,240 --box sofa:0,200,640,480 -o out/
    Everything there is, as COCO run lengths and one overlay:
      masklet segment photo.jpg --everything --model tiny -o out/
    """
    from masklet.errors import InputError
    from masklet.runs.prompt_text import parse_box, parse_mask, parse_point
    from masklet.runs.segment import SegmentRequest
    from masklet.runs.segment import segment as run

    search = {
        "points_per_side": points_per_side,
        "crop_n_layers": crop_layers,
        "pred_iou_thresh": min_iou,
        "stability_score_thresh": min_stability,
        "min_mask_region_area": min_area,
    }
    search = {name: value for name, value in search.items() if value is not None}
    if search and not everything:
        raise InputError("the search for masks has settings, but --everything isn't given")
    request = SegmentRequest(
        images=images,
        prompts=[
            *map(parse_point, point or ()),
            *(parse_point(text, positive=False) for text in negative or ()),
            *map(parse_box, box or ()),
            *map(parse_mask, mask or ()),
        ],
        everything=everything,
        output=output,
        model=model,
        checkpoint=checkpoint,
        resolution=resolution,
        device=device,
        dtype=dtype,
        candidates=candidates,
        search=search,
        overwrite=overwrite,
    )
    done = failed = 0
    with _Display() as display:
        for report in run(request, display.show):
            with display.away():
                _tell(report)
            done += report.problem is None
            failed += report.problem is not None
    if done and (request.model or "nano") == "nano" and request.checkpoint is None:
        _point_to_sharper(request)
    if failed:
        raise typer.Exit(2)


class _Display:
    """A progress bar that appears when the work has taken two seconds."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # it would send to the terminal what belongs into a file
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("loading", total=None, state="")
        self._timer = threading.Timer(_QUIET_SECONDS, self._bar.start)
        self._timer.daemon = True

    def __enter__(self) -> _Display:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._bar.live.is_started:
            self._bar.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar off the screen while something is printed."""
        shown = self._bar.live.is_started
        if shown:
            self._bar.stop()
        yield
        if shown:
            self._bar.start()

    def show(self, done: int, pictures: int, share: float) -> None:
        known = pictures > 1 or share > 0
        state = f"{done}/{pictures}" if pictures > 1 else ""
        self._bar.update(
            self._task,
            description="segmenting",
            total=float(pictures) if known else None,
            completed=done + share,
            state=state,
        )


def _tell(report: PictureReport) -> None:
    if report.problem is not None:
        say("error", str(report.problem), "red")
        return
    if report.count is not None:
        found = f"{report.count} masks" if report.count != 1 else "1 mask"
    else:
        found = ", ".join(f"{name} (predicted IoU {score:.2f})" for name, score in report.scores.items())
    lines = [f"{report.image}: {found}", *(f"  {path}" for path in report.files)]
    typer.echo("\n".join(lines))
    for note in report.notes:
        say("note", f"{report.image}: {note}", "yellow")


def _point_to_sharper(request: SegmentRequest) -> None:
    from masklet.weights.cache import find_cached
    from masklet.weights.registry import RELEASED

    tiny = RELEASED["sam2.1-tiny"]
    price = "" if find_cached(tiny) else f" (fetches {round(tiny.size / 1e6)} MB once)" if tiny.size else ""
    again = "" if request.overwrite else " --overwrite"
    typer.echo(
        f"nano is the small model inside the package. Sharper masks: the same command with --model tiny{again}{price}"
    )
