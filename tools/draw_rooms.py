"""Draw the rooms of the package and who imports whom: the picture of docs/architecture.md.

    python tools/draw_rooms.py docs/images/rooms.svg

A room is a folder of `src/masklet` or a module beside them. Numbers on the arrows count import statements, those inside
functions included, those for type checkers alone not. Arrows that follow from others are left out: `cli` imports
`tracking` too, but the way there through `runs` says so already. An arrow that points upwards breaks the law of the
rooms and is drawn in red.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "masklet"

WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT = 980, 96, 210, 50

#: Where each room stands (row from the top, middle of its box from the left) and what lives in it.
ROOMS = {
    "cli": (0, 490, "the commands"),
    "studio": (1, 530, "the page and its server"),
    "training": (1, 120, "networks of your own"),
    "compat": (1, 860, "code written for sam2"),
    "jobs": (2, 590, "many videos"),
    "runs": (3, 640, "what one command does"),
    "evaluation": (5, 120, "benchmarks"),
    "export": (4, 410, "one module per format"),
    "project": (5, 370, "the saved file"),
    "tracking": (6, 590, "frame after frame"),
    "predictors": (6, 860, "single pictures"),
    "weights": (7, 710, "find, fetch, load"),
    "media": (8, 370, "frames in, files out"),
    "models": (8, 710, "networks only"),
    "the vocabulary": (9, 490, "naming, prompts, results …"),
    "masks": (10, 490, "run lengths, edges, boxes"),
    "settings": (11, 680, "declared once"),
    "errors": (12, 490, "MaskletError and its kinds"),
}


@dataclass(frozen=True)
class Import:
    """One import of a module of the package: from a room, of a room, and where it is written."""

    importer: str
    imported: str
    place: str
    for_types: bool


def room_of(module: str) -> str:
    """The room of a module, `masklet.tracking.session` → `tracking`; that of the package itself is `masklet`."""
    return module.split(".")[1] if "." in module else module


def read_imports(package: Path = PACKAGE) -> Iterator[Import]:
    """Every import from one room of the package in another, read from the source without running it."""
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        importer = package.name if len(parts) == 2 and parts[1].startswith("__") else parts[1]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {id(inner) for node in ast.walk(tree) if _for_types(node) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            for module in _imported(node, parts[:-1], package.name):
                imported = room_of(module)
                if imported not in (importer, package.name) and not imported.startswith("__"):
                    place = f"{path.relative_to(package).as_posix()}:{node.lineno}"
                    yield Import(importer, imported, place, id(node) in for_types)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _imported(node: ast.AST, folder: tuple[str, ...], package: str) -> list[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = folder[: len(folder) + 1 - node.level] if node.level else ()
        module = ".".join((*base, node.module or "")).rstrip(".")
        names = [f"{package}.{alias.name}" for alias in node.names] if module == package else [module]
    else:
        return []
    return [name for name in names if name == package or name.startswith(f"{package}.")]


def draw(arrows: Counter[tuple[str, str]]) -> str:
    """The picture as SVG."""
    height = ROW * (max(row for row, _, _ in ROOMS.values()) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        "<title>The rooms of masklet, and how often one imports from another</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for colour, name in (("#5b6b80", "down"), ("#c0392b", "up")):
        parts.append(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto" '
            f'markerUnits="userSpaceOnUse"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
        )
    shown = [(pair, count) for pair, count in sorted(arrows.items()) if not _follows(pair, arrows)]
    parts += [_arrow(pair, count) for pair, count in shown]
    for name, (row, middle, words) in ROOMS.items():
        top = row * ROW + (ROW - BOX_HEIGHT) / 2
        parts.append(
            f'<rect x="{middle - BOX_WIDTH / 2:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" '
            f'fill="#eef3f9" stroke="#5b6b80"/>'
            f'<text x="{middle}" y="{top + 21:g}" font-size="16" font-weight="bold" fill="#1c2733">'
            f"{escape(name)}</text>"
            f'<text x="{middle}" y="{top + 39:g}" font-size="11.5" fill="#445365">{escape(words)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _arrow(pair: tuple[str, str], count: int) -> str:
    (row, start, _), (target_row, end, _) = ROOMS[pair[0]], ROOMS[pair[1]]
    down = target_row > row
    top = row * ROW + (ROW + BOX_HEIGHT * (1 if down else -1)) / 2
    bottom = target_row * ROW + (ROW - BOX_HEIGHT * (1 if down else -1)) / 2
    # Arrows to one side leave and arrive on that side of the boxes, so that they don't lie on each other.
    lean = max(-60.0, min(60.0, (end - start) / 4))
    x1, x2, bend = start + lean, end - lean, (bottom - top) * 0.5
    path = f"M{x1:g} {top:g} C{x1:g} {top + bend:g} {x2:g} {bottom - bend:g} {x2:g} {bottom:g}"
    colour, marker = ("#5b6b80", "down") if down else ("#c0392b", "up")
    x, y = (x1 + x2) / 2, (top + bottom) / 2
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" marker-end="url(#{marker})"/>'
        f'<rect x="{x - 13:g}" y="{y - 9:g}" width="26" height="18" rx="4" fill="#ffffff" fill-opacity="0.9"/>'
        f'<text x="{x:g}" y="{y + 4:g}" font-size="12" fill="{colour}">{count}</text>'
    )


def _follows(pair: tuple[str, str], arrows: Counter[tuple[str, str]]) -> bool:
    """Whether there is a longer way from one room to the other, going down only."""
    start, end = pair
    if ROOMS[start][0] >= ROOMS[end][0]:
        return False
    below = {room for importer, room in arrows if importer == start and room != end}
    seen: set[str] = set()
    while below:
        room = below.pop()
        seen.add(room)
        if room == end:
            return True
        below |= {to for of, to in arrows if of == room and ROOMS[to][0] > ROOMS[of][0]} - seen
    return False


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("Say where the picture goes: python tools/draw_rooms.py docs/images/rooms.svg")
    Path(sys.argv[1]).write_text(picture(), encoding="utf-8")


def picture() -> str:
    """The rooms and their arrows as they are now, as SVG."""
    arrows: Counter[tuple[str, str]] = Counter()
    for each in read_imports():
        importer, imported = (name if name in ROOMS else "the vocabulary" for name in (each.importer, each.imported))
        if not each.for_types and importer != imported and each.importer != PACKAGE.name:
            arrows[importer, imported] += 1
    return draw(arrows)


if __name__ == "__main__":
    main()
