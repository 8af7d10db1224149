"""What the documentation names is there: links, pictures, files of the source, commands and options, Python names."""

from __future__ import annotations

import ast
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.conftest import ROOT

from masklet import cli

PACKAGE = ROOT / "src" / "masklet"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(PACKAGE / "data").glob("*.md")],
    key=lambda path: path.as_posix(),
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(path: Path) -> set[str]:
    """What a link may name behind the `#`: headings as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links_and_pictures_are_there(name: str) -> None:
    page = ROOT / name
    for target in _LINK.findall(text_of(name)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


@pytest.mark.parametrize("name", NAMES)
def test_files_of_the_source_are_there(name: str) -> None:
    for span in _SPAN.findall(text_of(name)):
        for word in re.findall(r"^[\w./-]+/[\w./-]*(?:\.py|\.js|/)(?=$|::)", span):
            if word.split("/")[0] in {path.name for folder in (ROOT, PACKAGE) for path in folder.iterdir()}:
                assert (ROOT / word).exists() or (PACKAGE / word).exists(), word


@pytest.fixture(scope="module")
def commands() -> dict[str, set[str]]:
    """Every command, such as `models pull`, and its options."""
    root: Any = typer.main.get_command(cli.app)
    found = {"": _options(root)}
    for name in cli.COMMANDS:
        _, command, _ = root.resolve_command(typer.Context(root), [name])
        found[name] = _options(command)
        for inner in getattr(command, "commands", {}).values():
            found[f"{name} {inner.name}"] = _options(inner)
    return found


def _options(command: Any) -> set[str]:
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_options_are_there(name: str, commands: dict[str, set[str]]) -> None:
    text = text_of(name)
    everywhere = {"--verbose"}.union(*commands.values())
    blocks = [body.replace("\\\n", " ") for kind, body in _FENCE.findall(text) if kind in ("console", "")]
    prose = _FENCE.sub("", text)
    lines = [line for body in blocks for line in body.splitlines()]
    lines += [line for line in prose.splitlines() if line.startswith("    ")]
    for line in [*lines, *_SPAN.findall(prose)]:
        command = re.match(r"(?:\s*\$ |\s*)(?:\S*/)?masklet(?: (?P<words>[^#|]*))?(?:$|[#|])", line)
        if command is None or "COMMAND" in line:
            continue
        words = shlex.split((command["words"] or "").replace("…", ""))
        path = " ".join(words[:2]) if " ".join(words[:2]) in commands else " ".join(words[:1])
        if f"{path} run" in commands:  # a group that is a command by itself
            path = f"{path} run"
        if path.startswith("-"):
            path = ""
        assert path in commands, line
        used = set(_OPTION.findall(" ".join(words)))
        assert used <= commands[path] | {"--verbose"}, f"{line}: {used - commands[path]}"
    for span in _SPAN.findall(prose):
        if span.startswith("--"):
            assert set(_OPTION.findall(span)) <= everywhere | OTHERS, span


#: Options of other programs that the pages speak of.
OTHERS = {"--clips", "--every", "--no-rendering", "--only"}


@pytest.mark.parametrize("name", NAMES)
def test_python_on_the_page_names_what_is_there(name: str) -> None:
    for kind, body in _FENCE.findall(text_of(name)):
        if kind != "python":
            continue
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "masklet":
                exec(ast.unparse(node), {})
    for span in _SPAN.findall(_FENCE.sub("", text_of(name))):
        if re.fullmatch(r"masklet(\.\w+)+", span):
            pkgutil.resolve_name(span)
