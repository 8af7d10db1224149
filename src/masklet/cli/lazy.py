"""A group of commands that imports a command only to run it, and that turns errors into exit codes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from masklet.errors import MaskletError, MaskletWarning


class Command(NamedTuple):
    """Where a command lives and what the help says about it before it is loaded.

    ``target`` is ``module:name``, where the name is a function with typer annotations or a ``typer.Typer``.
    """

    target: str
    help: str
    panel: str | None = None


class LazyGroup(TyperGroup):
    """The root group. A subclass names its commands in ``lazy``."""

    lazy: ClassVar[dict[str, Command]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, command in self.lazy.items():
            # Stands in for the command in the help and for "Did you mean …?".
            self.commands[name] = TyperCommand(name=name, help=command.help, rich_help_panel=command.panel)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # `--verbose` is what one adds at the end of a line that failed.
        own = args[: args.index("--")] if "--" in args else args
        if "--verbose" in own:
            args = ["--verbose", *(word for word in own if word != "--verbose"), *args[len(own) :]]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name in self.lazy:
            self.commands[name] = _load(name, self.lazy[name])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        verbose = bool(ctx.params.get("verbose")) or bool(os.environ.get("MASKLET_VERBOSE"))
        try:
            return super().invoke(ctx)
        except MaskletError as error:
            if verbose:
                traceback.print_exc()
            say("error", str(error) or type(error).__name__, "red")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            say("stopped", "by Ctrl-C", "yellow")
            raise typer.Exit(130) from error
        except BrokenPipeError:  # the reader of a pipe has seen enough; typer leaves quietly
            raise
        except Exception as error:
            if type(error).__module__.split(".")[0] in (
                "typer",
                "click",
            ):  # their own ways out: usage errors, exits
                raise
            if verbose:
                traceback.print_exc()
            say(
                "bug",
                f"masklet did not expect this: {type(error).__name__}: {error}\n"
                "Please report it with what the same command prints with --verbose, and with `masklet "
                "doctor`.",
                "red",
            )
            raise typer.Exit(1) from error


def say(label: str, message: str, colour: str) -> None:
    """Print ``label: message`` on standard error, the label in colour on a terminal."""
    line = Text.assemble((f"{label}: ", f"bold {colour}"), message)
    Console(file=sys.stderr, highlight=False).print(line, soft_wrap=True)


def show_warnings_plainly() -> None:
    """Print masklet's own warnings as one line instead of Python's file, line number and source."""
    python_way = warnings.showwarning

    def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
        if issubclass(category, MaskletWarning):
            say("note", str(message), "yellow")
        else:
            python_way(message, category, *place, **more)

    warnings.showwarning = show


def _load(name: str, command: Command) -> Any:
    module, _, attribute = command.target.partition(":")
    target = getattr(import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode="rich")
        target.command(name, context_settings={"help_option_names": ["-h", "--help"]})(function)
    loaded = typer.main.get_command(target)
    loaded.name = name
    return loaded
