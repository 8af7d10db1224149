"""The studio's page without a browser: its types, its modules under node, and what its files may not hold."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.page import api_types
from tests.page.packages import npm_file

from masklet.masks import rle
from masklet.project.review import FrameFacts, reasons_of, usual_iou
from masklet.results import Scores

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src" / "masklet" / "studio" / "page"
TESTS = ROOT / "tests" / "page"

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, timeout=600, **options
    )


@pytest.fixture(scope="session")
def tsc() -> Path:
    return npm_file(".bin/tsc")


@needs_node
def test_types_hold(tsc: Path) -> None:
    checked = run(tsc, "-p", PAGE)
    assert checked.returncode == 0, checked.stdout


@needs_node
def test_types_are_really_checked(tsc: Path, tmp_path: Path) -> None:
    copy = tmp_path / "page"
    shutil.copytree(PAGE, copy)
    state = copy / "state.js"
    state.write_text(state.read_text().replace("export const frame = signal(0);", 'export const frame = signal("0");'))
    checked = run(tsc, "-p", copy)
    assert checked.returncode != 0
    assert "viewer.js" in checked.stdout


def test_types_of_the_api_are_those_of_the_server() -> None:
    kept, made = (
        re.sub(r" */\*\*.*?\*/\n", "", text) for text in (api_types.PLACE.read_text("utf-8"), api_types.declarations())
    )
    assert kept == made, "run: python -m tests.page.api_types"


@needs_node
def test_modules_under_node() -> None:
    done = run("node", "--test", *sorted(TESTS.glob("*.test.js")))
    assert done.returncode == 0, done.stdout[-4000:]


@needs_node
def test_page_and_server_write_masks_alike() -> None:
    """The page's run lengths are those of pycocotools, to the letter."""
    random = np.random.default_rng(6)
    masks = [
        random.random((height, width)) < share for height, width, share in ((1, 1, 1), (37, 53, 0.5), (720, 9, 0.02))
    ]
    rows, columns = np.ogrid[:720, :1280]
    masks.append((rows - 300) ** 2 + (columns - 700) ** 2 < 250**2)
    masks += [np.zeros((40, 30), bool), np.ones((40, 30), bool)]
    script = f"""
        import {{ Mask, encode, pack }} from {json.dumps((PAGE / "rle.js").as_uri())};
        const given = JSON.parse(await new Response(process.stdin).text());
        const answer = given.map((one) => {{
          const mask = Mask.parse(one);
          return {{ counts: pack(encode(mask.pixels(), mask.height, mask.width)), area: mask.area, box: mask.box }};
        }});
        console.log(JSON.stringify(answer));
    """
    encoded = [rle.encode(mask) for mask in masks]
    done = run("node", "--input-type=module", "-e", script, input=json.dumps(encoded))
    assert done.returncode == 0, done.stderr
    for mask, expected, found in zip(masks, encoded, json.loads(done.stdout), strict=True):
        assert found["counts"] == expected["counts"]
        assert found["area"] == int(mask.sum())
        box = rle.box(expected)
        assert found["box"] == (None if box is None else [int(side) for side in box])


@needs_node
def test_timeline_and_review_queue_doubt_alike() -> None:
    random = np.random.default_rng(4)
    rows = [
        FrameFacts(
            i, Scores(*map(float, (random.uniform(0, 3), (random.integers(16, 64) + 0.5) / 64, random.uniform())))
        )
        for i in range(401)
    ]
    usual = usual_iou(rows)
    rule = {"low score", "score drop", "motion"}
    expected = [bool(rule & reasons_of(row, None, usual, (72, 128)).keys()) for row in rows]
    script = f"""
        import {{ DOUBTFUL, LaneData }} from {json.dumps((PAGE / "lanes.js").as_uri())};
        const rows = JSON.parse(await new Response(process.stdin).text());
        const lane = new LaneData(rows.length);
        rows.forEach((scores, i) => lane.put(i, ...scores, 0));
        console.log(JSON.stringify(rows.map((_, i) => lane.at(i) === DOUBTFUL)));
    """
    given = [[row.scores.object_score, row.scores.predicted_iou, row.scores.motion_score] for row in rows]
    done = run("node", "--input-type=module", "-e", script, input=json.dumps(given))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
    assert 0.2 < np.mean(expected) < 0.9


def test_all_that_is_used_is_there() -> None:
    icons = set(re.findall(r'<symbol id="([\w-]+)"', (PAGE / "icons.svg").read_text()))
    for path in [*PAGE.glob("*.js"), *PAGE.glob("vendor/*.js")]:
        text = path.read_text("utf-8")
        for module in re.findall(r'(?:from|import)\s*"(\.[^"]+)"', text):
            assert (path.parent / module).is_file(), f"{path.name} imports {module}"
        used = re.findall(r'\bicon(?:=|: )"([\w-]+)"', text) + re.findall(r'\$\{Icon\} name="([\w-]+)"', text)
        assert set(used) <= icons, f"{path.name}: {set(used) - icons}"
    html = (PAGE / "index.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (PAGE / address).is_file(), address


def test_nothing_comes_from_elsewhere_or_runs_text_as_code() -> None:
    for path in [*PAGE.rglob("*.js"), *PAGE.rglob("*.css"), PAGE / "index.html"]:
        text = path.read_text("utf-8")
        addresses = set(re.findall(r"https?://[\w./-]+", text)) - {
            # Names of XML vocabularies, not addresses that are fetched.
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1998/Math/MathML",
            "http://www.w3.org/1999/xhtml",
        }
        assert not addresses, f"{path.name}: {addresses}"
        assert not re.search(r"\beval\(|new Function\b|innerHTML\s*=", text) or path.name == "preact.js", path.name
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", (PAGE / "index.html").read_text())
    assert not re.search(r"\beval\(|new Function\b", (PAGE / "vendor" / "preact.js").read_text())


def test_what_is_vendored_says_where_it_is_from() -> None:
    said = (PAGE / "vendor" / "VENDORED.md").read_text()
    for path in (PAGE / "vendor").glob("*.js"):
        assert f"`{path.name}`" in said
    for licence in re.findall(r"`(LICENSE\.\w+)`", said):
        assert (PAGE / "vendor" / licence).stat().st_size > 500
