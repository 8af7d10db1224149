"""The command line: the list of commands, and what happens around each of them.

A command's module is imported when that command runs, so `masklet --help` needs neither PyTorch nor FFmpeg.
To add a command, write it in its own module of this folder and add a line to `COMMANDS`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from masklet import __version__
from masklet.cli.lazy import Command, LazyGroup, show_warnings_plainly

# Headings of the help; they appear in the order of the first command under each.
CUT_OUT, PROJECTS, RESEARCH, SET_UP = "Cut out", "Projects", "Train and measure", "Set up"

COMMANDS: dict[str, Command] = {
    # name: Command("module:function or typer app", "one line for the help", heading)
    "track": Command("masklet.cli.track:track", "Follow objects through a video.", CUT_OUT),
    "segment": Command("masklet.cli.segment:segment", "Cut objects out of pictures.", CUT_OUT),
    "batch": Command("masklet.cli.batch:app", "Track many videos with one command.", CUT_OUT),
    "studio": Command("masklet.cli.studio:studio", "Click, track, fix and export in the browser.", CUT_OUT),
    "export": Command("masklet.cli.export:export", "Write a project's masks for the next tool.", PROJECTS),
    "formats": Command("masklet.cli.export:formats", "List the formats that export writes.", PROJECTS),
    "status": Command("masklet.cli.project:status", "Show what a project holds.", PROJECTS),
    "resume": Command("masklet.cli.project:resume", "Go on with a run that was stopped or killed.", PROJECTS),
    "correct": Command("masklet.cli.project:correct", "Put a mask right and track on from there.", PROJECTS),
    "review": Command("masklet.cli.review:review", "List doubtful frames, worst first.", PROJECTS),
    "edit": Command("masklet.cli.edit:edit", "Copy, interpolate, swap, merge masks of many frames.", PROJECTS),
    "evaluate": Command("masklet.cli.evaluate:evaluate", "Measure tracking on annotated videos.", RESEARCH),
    "train": Command("masklet.cli.train:app", "Train a network on synthetic videos.", RESEARCH),
    "finetune": Command("masklet.cli.finetune:finetune", "Go on training a model on your own videos.", RESEARCH),
    "models": Command("masklet.cli.models:app", "List, fetch, convert and remove model weights.", SET_UP),
    "doctor": Command("masklet.cli.doctor:doctor", "Show what this machine can do.", SET_UP),
}


class _Commands(LazyGroup):
    lazy = COMMANDS


app = typer.Typer(
    name="masklet",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`masklet COMMAND --help` explains a command and shows examples.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"masklet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Show Python's traceback with an error; fits before or after a command."),
    ] = False,
) -> None:
    """Cut any object out of any image or video: click it once, get its mask in every frame."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0: done; 1: a bug in masklet; 2: wrong input, said in one line; 130: stopped with Ctrl-C.
    """
    show_warnings_plainly()
    typer.main.get_command(app)(args, prog_name="masklet")
