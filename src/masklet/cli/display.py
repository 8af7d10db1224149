"""What commands that take a while show: a bar while they run, Ctrl-C in two steps, and how a run went."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from typing_extensions import Self

    from masklet.runs.request import RunReport, TrackProgress


#: What is shown of a stage of a run.
_STAGES = {"track": "tracking", "png-mask": "writing masks", "overlay": "drawing overlay.mp4"}


def progress_bar(*columns: ProgressColumn, console: Console | None = None, **how: Any) -> Progress:
    """A bar with what goes on, `columns`, and the time that is left; nothing where there is no terminal."""
    console = console or Console(stderr=True, highlight=False)
    left = (TextColumn("left:"), TimeRemainingColumn())
    shown = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), *columns, *left)
    return Progress(*shown, console=console, disable=not console.is_terminal, **{"transient": True, **how})


class Stoppable:
    """A bar, and Ctrl-C or SIGTERM while it runs: the first one ends the work well, the second one at once.

    Attributes:
        stopped: whether somebody asked to stop.
    """

    def __init__(self, bar: Progress, words: str) -> None:
        """`words` tell the user what happens after the first one."""
        self.stopped = False
        self._bar, self._words = bar, words
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._release()

    def listen(self) -> None:
        """From now on."""
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
        self._bar.console.print(self._words, style="yellow")


class RunDisplay(Stoppable):
    """What a command that tracks shows while it does."""

    def __init__(self) -> None:
        lost = TextColumn("{task.fields[lost]}", style="yellow", markup=False)
        super().__init__(progress_bar(MofNCompleteColumn(), _Speed(), lost), "Finishing what is done …")
        self._tasks: dict[str, Any] = {}

    @property
    def watching(self) -> dict[str, Any]:
        """What a run has to be given to be shown and stopped."""
        return {"progress": self._show, "stopped": lambda: self.stopped}

    def _show(self, state: TrackProgress) -> None:
        if state.stage not in self._tasks:
            name = _STAGES.get(state.stage, state.stage)
            self._tasks[state.stage] = self._bar.add_task(name, total=state.total, lost="")
            if state.stage == "track":
                self.listen()
            self._bar.start()
        lost = f"lost: {', '.join(state.lost)}" if state.lost else ""
        self._bar.update(self._tasks[state.stage], completed=state.done, total=state.total, lost=lost)


class _Speed(ProgressColumn):
    """Frames per second, lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:.1f} frames/s", style="cyan")


def listing(*headings: str, wide: str) -> Table:
    """A table of what there is, still empty; its cells stay on one line, but for those of the column `wide`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=heading != wide, overflow="fold")
    return table


def program() -> str:
    """How this program can be called again from here: `masklet`, or a path where the shell would not find that."""
    called = Path(sys.argv[0])
    if shutil.which("masklet") or called.stem not in ("masklet", "__main__"):
        return "masklet"
    if called.stem == "__main__":
        return f"{shlex.quote(sys.executable)} -m masklet"
    near = called.is_relative_to(Path.cwd())
    return shlex.quote(str(called.relative_to(Path.cwd()) if near else called))


def show_outcome(report: RunReport, files: Iterable[str] = ()) -> None:
    """Say how a run went: frames, speed, files, where objects were lost, and notes."""
    details = [f"{report.frames / report.seconds:.1f} frames/s"] if report.seconds > 0 else []
    if len(report.objects) > 1:
        details.append(f"{len(report.objects)} objects")
    more = f" ({', '.join(details)})" if details else ""
    state = "" if report.complete else ", then stopped"
    typer.echo(f"{report.frames} frames tracked with {report.model} in {report.seconds:.1f} s{more}{state}.")
    for file in files:
        typer.echo(f"  {file}")
    for tracked in report.objects.values():
        if tracked.lost:
            typer.echo(f"{tracked.name} could not be seen on frames {in_short(sorted(tracked.lost))}.")
    for note in report.notes:
        typer.echo(f"note: {note}")


def go_on(project: Path) -> None:
    """Say how to go on with an unfinished run of a project, and leave."""
    typer.echo(f"Go on from there:\n  {program()} resume {shlex.quote(str(project))}")
    raise typer.Exit(130)


def in_short(stretches: Iterable[tuple[int, int]]) -> str:
    """0–5, 9, 12–40 out of the first and last frame of every stretch."""
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in stretches)


def sharper_model() -> str:
    """What to say of the model that is next after the one in the package."""
    from masklet.weights.cache import find_cached
    from masklet.weights.registry import RELEASED

    tiny = RELEASED["sam2.1-tiny"]
    price = "" if find_cached(tiny) or not tiny.size else f" (fetches {round(tiny.size / 1e6)} MB once)"
    return f"nano is the small model inside the package. Sharper masks{price}:"
