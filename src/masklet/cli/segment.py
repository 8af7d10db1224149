"""`masklet segment`: cut objects out of pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TextColumn, TimeElapsedColumn

from masklet.cli.display import progress_bar, sharper_model
from masklet.cli.lazy import say
from masklet.cli.options import Group, Network, Overwrite, Prompts, grouped, of_files, of_object
from masklet.errors import InputError
from masklet.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from masklet.runs.segment import PictureReport

_of_search = partial(typer.Option, rich_help_panel="With --everything")
#: A bar that comes and goes at once is only in the way.
_QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class Search(Group):
    """How masks of everything are searched for."""

    points_per_side: Annotated[
        int | None, _of_search(help="Points along a side of the search grid.", show_default="32")
    ] = None
    crop_layers: Annotated[
        int | None,
        _of_search(help="Search 4 overlapping crops too (1), or 16 more (2): finds smaller objects.", show_default="0"),
    ] = None
    min_iou: Annotated[float | None, _of_search(help="Lowest predicted IoU.", show_default="0.8; nano less")] = None
    min_stability: Annotated[
        float | None, _of_search(help="Lowest stability score.", show_default="0.95; nano less")
    ] = None
    min_area: Annotated[
        int | None, _of_search(metavar="PIXELS", help="Fill smaller holes, drop smaller pieces.", show_default="0")
    ] = None

    def given(self) -> dict[str, Any]:
        """By the names of `masklet.AutomaticMaskGenerator`."""
        names = {
            "points_per_side": self.points_per_side,
            "crop_n_layers": self.crop_layers,
            "pred_iou_thresh": self.min_iou,
            "stability_score_thresh": self.min_stability,
            "min_mask_region_area": self.min_area,
        }
        return {name: value for name, value in names.items() if value is not None}


@grouped
def segment(
    images: Annotated[
        list[str], typer.Argument(metavar="PICTURE...", help="Pictures, folders of them, or 'shots/*.jpg'.")
    ],
    *,
    prompts: Prompts,
    everything: Annotated[bool, of_object("--everything", help="Find masks of everything there is.")] = False,
    search: Search,
    network: Network,
    output: Annotated[
        Path | None,
        of_files("--output", "-o", help="Folder for the results.", show_default="beside each picture"),
    ] = None,
    candidates: Annotated[
        bool, of_files("--candidates", help="Also write each of the three masks of a click.")
    ] = False,
    overwrite: Overwrite = False,
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
    from masklet.runs.segment import SegmentRequest
    from masklet.runs.segment import segment as run

    if search.given() and not everything:
        raise InputError("the search for masks has settings, but --everything isn't given")
    request = SegmentRequest(
        images=images,
        prompts=prompts.read(),
        everything=everything,
        output=output,
        candidates=candidates,
        search=search.given(),
        overwrite=overwrite,
        **vars(network),
    )
    done = failed = 0
    with _Display() as display:
        for report in run(request, display.show):
            with display.away():
                _tell(report)
            done += report.problem is None
            failed += report.problem is not None
    if done and (request.model or DEFAULT_MODEL) == DEFAULT_MODEL and request.checkpoint is None:
        again = "" if request.overwrite else " --overwrite"
        typer.echo(f"{sharper_model()} the same command with --model tiny{again}")
    if failed:
        raise typer.Exit(2)


class _Display:
    """A progress bar that appears when the work has taken two seconds."""

    def __init__(self) -> None:
        # Redirected, it would send to the terminal what belongs into a file.
        columns = (TextColumn("{task.fields[state]}", markup=False), TimeElapsedColumn())
        self._bar = progress_bar(*columns, redirect_stdout=False, redirect_stderr=False)
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
