"""What every command gets from the root: quick help, plain errors, exit codes."""

from __future__ import annotations

import ast
import os
import pkgutil
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import masklet
from masklet import cli
from masklet.cli.lazy import Command, LazyGroup, show_warnings_plainly
from masklet.errors import MaskletWarning

HEAVY = ("torch", "cv2", "av", "numpy", "fastapi", "httpx", "safetensors", "PIL")


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(masklet.__file__).parents[1]), "COLUMNS": "110"},
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["nonsense"]])
def test_the_help_imports_nothing_heavy(words: list[str]) -> None:
    code = """
        import sys
        from masklet.cli import main
        try:
            main(sys.argv[1:])
        finally:
            print("imported:", [name for name in %r if name in sys.modules])
    """
    result = python(textwrap.dedent(code % (HEAVY,)), *words)
    assert "imported: []" in result.stdout, result.stdout + result.stderr
    assert result.returncode == (0 if words and words[0].startswith("--") else 2)


def test_the_help_names_every_command_with_its_line() -> None:
    result = CliRunner().invoke(cli.app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name, command in cli.COMMANDS.items():
        assert name in result.stdout
        assert command.help in result.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    result = CliRunner().invoke(cli.app, [name, "-h"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.stderr
    assert f"masklet {name}" in result.stdout
    examples = [line.strip(" `│") for line in result.stdout.splitlines() if "Usage:" not in line]
    assert any(f"masklet {name}" in line for line in examples)


HIDE_WEB = "import sys; sys.modules.update(dict.fromkeys(('fastapi', 'starlette', 'anyio', 'uvicorn', 'websockets')))"


def test_without_its_web_packages_the_studio_says_what_to_install() -> None:
    result = python(f"{HIDE_WEB}; from masklet.cli import main; main(['studio'])")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "fastapi and uvicorn and websockets" in result.stderr
    assert "pip install 'masklet[studio]'" in result.stderr


def test_nothing_but_the_studio_needs_its_web_packages() -> None:
    names = [module.name for module in pkgutil.walk_packages(masklet.__path__, "masklet.")]
    others = [name for name in names if not name.startswith(("masklet.studio", "masklet.__main__"))]
    assert len(others) > 100
    result = python(f"{HIDE_WEB}; import importlib; [importlib.import_module(name) for name in {others}]")
    assert result.returncode == 0, result.stderr


def test_version() -> None:
    assert CliRunner().invoke(cli.app, ["--version"]).stdout == f"masklet {masklet.__version__}\n"


def test_an_unknown_command_suggests_one() -> None:
    result = CliRunner().invoke(cli.app, ["modles"])
    assert result.exit_code == 2
    assert "models" in result.stderr


def test_python_minus_m() -> None:
    code = "import runpy, sys; sys.argv[1:] = ['--version']; runpy.run_module('masklet', run_name='__main__')"
    result = python(code)
    assert (result.returncode, result.stdout) == (0, f"masklet {masklet.__version__}\n")


# -- errors, with a real module that is loaded on demand -----------------------------------------------------

MODULE = '''
"""Commands that go wrong."""
import typer
import masklet.errors as errors

def wrong(count: int = 1) -> None:
    """Be given something that can't be used. Example: `wrong`"""
    raise errors.MediaError("clip.mp4 has no [video] in it: " + "give another " * 20 + "file")

def bug() -> None:
    {}["nothing"]

def stop() -> None:
    raise KeyboardInterrupt

def leave() -> None:
    raise typer.Exit(7)

group = typer.Typer()

@group.command()
def inner(words: list[str]) -> None:
    print("inner got", words)
    raise errors.UnknownObjectError("there is no object 7")

@group.command()
def other() -> None:
    pass
'''


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    (tmp_path / "commands_that_go_wrong.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "commands_that_go_wrong", raising=False)
    monkeypatch.delenv("MASKLET_VERBOSE", raising=False)

    class Group(LazyGroup):
        lazy = {  # noqa: RUF012
            name: Command(f"commands_that_go_wrong:{name}", f"Try {name}.")
            for name in ("wrong", "bug", "stop", "leave", "group", "gone")
        }

    root = typer.Typer(cls=Group)
    root.callback()(cli._root)
    return root


def invoke(app: typer.Typer, *words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_an_error_is_one_line_and_code_2(app: typer.Typer) -> None:
    result = invoke(app, "wrong")
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()  # not wrapped, and brackets are no markup
    assert line.startswith("error: clip.mp4 has no [video] in it: ")
    assert line.endswith("file")


@pytest.mark.parametrize("words", ["--verbose wrong", "wrong --verbose", "wrong --count 3 --verbose"])
def test_verbose_shows_the_traceback_wherever_it_stands(app: typer.Typer, words: str) -> None:
    result = invoke(app, *words.split())
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "commands_that_go_wrong.py" in result.stderr
    assert "error: clip.mp4" in result.stderr


def test_verbose_after_two_dashes_is_a_word(app: typer.Typer) -> None:
    result = invoke(app, "group", "inner", "--", "--verbose")
    assert result.stdout == "inner got ['--verbose']\n"
    assert result.stderr == "error: there is no object 7\n"


def test_a_bug_says_that_it_is_one(app: typer.Typer) -> None:
    result = invoke(app, "bug")
    assert result.exit_code == 1
    assert "KeyError: 'nothing'" in result.stderr
    assert "report" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in invoke(app, "bug", "--verbose").stderr


def test_ctrl_c_is_130(app: typer.Typer) -> None:
    result = invoke(app, "stop")
    assert result.exit_code == 130
    assert "stopped" in result.stderr


def test_commands_may_choose_their_own_exit_code(app: typer.Typer) -> None:
    assert invoke(app, "leave").exit_code == 7


def test_wrong_options_are_usage_errors(app: typer.Typer) -> None:
    result = invoke(app, "wrong", "--count", "many")
    assert result.exit_code == 2
    assert "--count" in result.stderr
    assert "bug" not in result.stderr


def test_a_command_is_loaded_only_when_it_runs(app: typer.Typer) -> None:
    result = invoke(app, "--help")
    assert result.exit_code == 0
    assert "Try wrong." in result.stdout
    assert "commands_that_go_wrong" not in sys.modules
    assert "can't be used" in invoke(app, "wrong", "--help").stdout
    assert "commands_that_go_wrong" in sys.modules


def test_warnings_are_one_line_and_other_peoples_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match="something else") as others:
        show_warnings_plainly()
        warnings.warn("the CPU is used instead", MaskletWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: the CPU is used instead\n"
    assert len(others) == 1


def test_commands_are_short() -> None:
    """Options that belong together are a group (cli/options.py), and work is done elsewhere."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                assert node.end_lineno - node.lineno < 80, f"{path.name}: {node.name}"


def test_what_needs_no_network_does_not_wait_for_pytorch(tmp_path: Path) -> None:
    """Looking at projects, exports, the studio before its first click, and what was typed wrongly."""
    rooms = (
        "project.store",
        "project.review",
        "project.edits",
        "export.registry",
        "runs.folder",
        "jobs.table",
        "studio.app",
    )
    imports = "\n".join(f"import masklet.{room}" for room in rooms)
    result = python(f"{imports}\nimport sys\nprint('torch' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


def test_loading_a_network_imports_no_algebra() -> None:
    """PyTorch imports sympy where initial weights are drawn on the meta device, which takes most of a second."""
    result = python("import sys\nfrom masklet import load_model\nload_model('nano')\nprint('sympy' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr
