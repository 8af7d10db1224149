"""The law of the rooms: who may import whom. docs/architecture.md explains it."""

from __future__ import annotations

import ast
from functools import cache

from tests.conftest import ROOT
from tools.draw_rooms import PACKAGE, picture, read_imports

#: Modules at the top of the package that every room above them may use. They are quick to import.
VOCABULARY = {"atomic", "batching", "cores", "errors", "naming", "prompts", "results", "runtime", "settings", "sources"}
_BASE = VOCABULARY | {"masks"}
_TRACKING = _BASE | {"media", "models", "weights"}
_RUNS = _TRACKING | {"tracking", "predictors", "project", "export", "runs"}

#: What each room may import from. A room that isn't here needs a row here and a place in docs/architecture.md.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "masks": {"errors", "settings"},
    "sources": {"errors"},
    "atomic": {"errors", "sources"},
    "settings": {"errors"},
    "naming": {"errors"},
    "cores": set(),
    "runtime": {"cores", "errors"},
    "batching": {"errors", "runtime"},
    "prompts": {"errors", "masks"},
    "results": {"errors", "masks", "prompts", "settings"},
    "media": _BASE,
    "models": {"errors", "runtime", "settings"},
    "weights": {"atomic", "errors", "models", "runtime", "settings", "sources"},
    "tracking": _TRACKING,
    "predictors": _TRACKING,
    "project": _TRACKING | {"tracking"},
    "export": _BASE | {"media", "project"},
    "runs": _TRACKING | {"tracking", "predictors", "project", "export"},
    "jobs": _RUNS,
    "evaluation": _TRACKING | {"tracking"},
    "training": _TRACKING | {"tracking", "project", "evaluation"},
    "compat": _TRACKING | {"tracking", "predictors"},
    "studio": _TRACKING | {"tracking", "predictors", "project", "export", "runs", "jobs"},
    "cli": _TRACKING
    | {"tracking", "predictors", "project", "export", "runs", "jobs", "evaluation", "training", "studio"},
}

#: Arrows that are still there against the law. Nothing may be added; what is mended has to be taken out.
NOT_YET: dict[tuple[str, str], str] = {}


@cache
def arrows() -> dict[tuple[str, str], list[str]]:
    """Where each arrow is written. Imports for type checkers alone don't count: nothing is loaded for them."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in read_imports():
        if not each.for_types and each.importer != PACKAGE.name:
            found.setdefault((each.importer, each.imported), []).append(each.place)
    return found


def test_rooms_import_only_what_lies_below_them() -> None:
    wrong = {
        pair: places
        for pair, places in arrows().items()
        if pair[1] not in ARROWS.get(pair[0], set()) and pair not in NOT_YET
    }
    assert not wrong, "\n".join(f"{a} may not import {b}: {', '.join(where)}" for (a, b), where in wrong.items())


def test_what_is_mended_is_no_exception_any_more() -> None:
    assert not set(NOT_YET) - set(arrows()), "take these out of NOT_YET"


def test_the_table_has_no_circle() -> None:
    left = dict(ARROWS)
    while free := [room for room, below in left.items() if not below & set(left)]:
        for room in free:
            del left[room]
    assert not left


def test_vocabulary_and_masks_load_without_torch() -> None:
    """`masklet --help` and everything that only reads files would otherwise wait for PyTorch."""
    quick = [PACKAGE / f"{name}.py" for name in ("atomic", "errors", "naming", "prompts", "results", "settings")]
    for path in [*(path for path in quick if path.exists()), *(PACKAGE / "masks").rglob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "torch"], path


def test_every_room_has_its_place_in_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.stem for path in PACKAGE.glob("[a-z]*.py")}
    missing = [room for room in sorted(rooms) if f"`{room}/`" not in text and f"`{room}.py`" not in text]
    assert not missing, f"docs/architecture.md doesn't say what {', '.join(missing)} is for"


def test_every_module_is_in_the_table_of_its_room() -> None:
    missing = []
    for room in sorted(PACKAGE.rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(room.read_text(encoding="utf-8"))) or ""
        if "| module |" in text:
            names = {path.stem for path in room.parent.glob("[a-z]*.py")}
            missing += [f"{room.parent.name}: {name}" for name in sorted(names) if f"`{name}`" not in text]
    assert not missing


def test_the_picture_of_the_rooms_shows_them_as_they_are() -> None:
    kept = (ROOT / "docs" / "images" / "rooms.svg").read_text(encoding="utf-8")
    assert kept == picture(), "run: python tools/draw_rooms.py docs/images/rooms.svg"


def test_no_two_classes_have_the_same_name() -> None:
    """Those of `compat` have the names of the package that they stand for, and private ones are nobody else's."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and "compat" not in path.parts and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path.relative_to(PACKAGE).as_posix())
    assert not {name: places for name, places in found.items() if len(places) > 1}
