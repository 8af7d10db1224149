"""What every command that tracks shows: a bar while it runs, Ctrl-C, and how it went."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from masklet.cli.interrupt import GentleStop

if TYPE_CHECKING:
    from masklet.runs.request import RunReport, TrackProgress


#: What is shown of a stage of a run.
_STAGES = {"track": "tracking", "png-mask": "writing masks", "overlay": "drawing overlay.mp4"}


class RunDisplay:
    """The progress bar, and Ctrl-C while it runs: the first one ends the run well, the second one at once."""

    def __init__(self) -> None:
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
        self._interrupt = GentleStop(lambda: self._bar.console.print("Finishing what is done …", style="yellow"))

    @property
    def stopped(self) -> bool:
        return self._interrupt.requested

    def __enter__(self) -> RunDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._interrupt.release()

    def show(self, state: TrackProgress) -> None:
        if state.stage not in self._tasks:
            name = _STAGES.get(state.stage, state.stage)
            self._tasks[state.stage] = self._bar.add_task(name, total=state.total, lost="")
            if state.stage == "track":
                self._interrupt.listen()
            self._bar.start()
        lost = f"lost: {', '.join(state.lost)}" if state.lost else ""
        self._bar.update(self._tasks[state.stage], completed=state.done, total=state.total, lost=lost)


class _Speed(ProgressColumn):
    """Frames per second, lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:.1f} frames/s", style="cyan")


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
            stretches = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in sorted(tracked.lost))
            typer.echo(f"{tracked.name} could not be seen on frames {stretches}.")
    for note in report.notes:
        typer.echo(f"note: {note}")
