"""The studio's page without a mouse: the whole job by keyboard, and what screen readers get to hear of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (
    Placement,
    Studio,
    Watched,
    find_chromium,
    until,
    wait_for,
    wait_for_frame,
    wait_until,
    wait_until_gone,
)
from tests.e2e.test_studio_page_review import BUNNY, doubtful_bunny, masks, queue
from tests.page.packages import npm_file

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with doubtful_bunny(tmp_path / "footage") as studio:
        yield studio


@pytest.fixture(scope="module")
def axe() -> str:
    return npm_file("axe-core/axe.min.js").read_text("utf-8")


def complaints(page, axe: str) -> list[str]:
    """What axe has to say about the page as it is, in dark colours and light ones."""
    page.evaluate(f"() => {{ if (!window.axe) {{ {axe} }} }}")
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    in_colours = "async (name) => { (await import('/state.js')).theme.value = name; }"  # at once, unlike the system's
    page.evaluate(in_colours, "light")
    assert page.get_attribute("html", "data-theme") == "light"
    found += page.evaluate("() => axe.run(document, {runOnly: ['color-contrast']})")["violations"]
    page.evaluate(in_colours, "dark")
    return [f"{rule['id']}: {rule['help']}: {node['html']}" for rule in found for node in rule["nodes"]]


def tab_to(page, fits: str) -> None:
    """Tab, until what has the focus fits an expression of `it`."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"() => {{ const it = document.activeElement; return Boolean({fits}); }}"):
            return
    raise AssertionError(f"Tab does not get to {fits}")


def point(page, frame_x: float, frame_y: float, key: str) -> None:
    """Brings the crosshair near a place, with the arrow keys, and presses a key there."""
    step = round(12 / Placement(page).zoom)
    at = page.evaluate("async () => (await import('/tools.js')).crosshair.peek()")
    for now, wanted, (back, on) in zip(
        at, (frame_x, frame_y), (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")), strict=True
    ):
        for _ in range(round(abs(wanted - now) / step)):
            page.keyboard.press(on if wanted > now else back)
    page.keyboard.press(key)


def test_the_whole_job_by_keyboard(studio: Studio, context, axe: str) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    wrong: list[str] = []
    wait_for(page, ".file")
    wrong += complaints(page, axe)
    tab_to(page, "it.innerText.includes('bunny.masklet')")
    page.keyboard.press("Enter")
    wait_for_frame(page, 40)

    # A new object with a name and a box, tracked through a range.
    page.keyboard.press("a")
    wait_for(page, ".object:nth-child(2).current")
    page.keyboard.press("F2")
    page.keyboard.type("fox")  # at once: the field has the focus with the key
    page.keyboard.press("Enter")
    wait_for(page, ".object.current:has-text('fox')")
    page.keyboard.press("b")
    page.keyboard.press("x")
    point(page, 310, 150, "Enter")
    point(page, 560, 560, "Enter")
    until(lambda: len(studio.project()["prompts"]) == 2)
    [box] = [prompt["box"] for prompt in studio.project()["prompts"] if prompt["object"] != BUNNY]
    assert [round(side / 20) for side in box] == [round(side / 20) for side in (310, 150, 560, 560)]
    page.keyboard.press("Escape")
    page.keyboard.press("v")
    page.keyboard.press("i")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    page.keyboard.press("g")
    until(lambda: [track["state"] for track in studio.tracks()] == ["done"])
    assert studio.project()["lanes"][1]["spans"] == [[40, 43]]
    page.keyboard.press("Shift+I")
    wrong += complaints(page, axe)

    # Review: next, previous, accept, reject.
    page.keyboard.press("PageUp")
    wait_for(page, ".object.current:has-text('bunny')")
    page.keyboard.press("Shift+R")
    wait_for(page, ".review-entry:has-text('bunny, frames 50 to 53')")
    before = [stretch for stretch in queue(studio) if stretch[0] > 43]
    assert before == [(50, 53), (57, 58), (44, 44)]
    while page.get_attribute("#timeline", "aria-valuenow") != "50":
        page.keyboard.press("f")
    page.keyboard.press("f")
    wait_for_frame(page, 57)
    page.keyboard.press("Shift+F")
    wait_for_frame(page, 50)
    page.keyboard.press("Shift+A")
    wait_for_frame(page, 57)
    page.keyboard.press("Shift+M")
    wait_for(page, ".review-entry:has-text('rejected by you')")
    assert (50, 53) not in queue(studio)
    wrong += complaints(page, axe)

    # A correction: clicked, re-tracked, compared with what was before, and taken back.
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    wait_for_frame(page, 45)
    tracked = masks(studio)
    page.keyboard.press("x")
    point(page, 900, 100, "Backspace")
    wait_for(page, "#retrack:has-text('Re-track from frame 45')")
    page.keyboard.press("Escape")
    until(lambda: masks(studio) != tracked)
    clicked = masks(studio)
    page.keyboard.press("Enter")
    wait_for(page, "[aria-label='Take back the re-track']")
    wait_for(page, "[aria-label=Correction]:has-text('re-tracked')")
    assert masks(studio) != clicked
    shown = "[aria-label=Correction] button:has-text('Before')"
    for pressed in ("true", "false"):
        page.keyboard.press("7")
        wait_for(page, f"{shown}[aria-pressed={pressed}]")
    wrong += complaints(page, axe)
    page.keyboard.press("Control+z")
    wait_for(page, "#retrack")
    assert masks(studio) == clicked

    # The other panels.
    for key, tab in (("m", "edges"), ("w", "why")):
        page.keyboard.press(key)
        wait_for(page, f"#tab-{tab}[aria-selected=true]")
        wrong += complaints(page, axe)
    tab_to(page, "it.id === 'tab-why'")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_for(page, "#tab-edit[aria-selected=true]")
    wrong += complaints(page, axe)

    # Settings and keys; Escape leads out of both, to where the focus was.
    page.keyboard.press("Shift+S")
    wait_for(page, "dialog")
    tab_to(page, "it.id === 'set-policy'")
    page.keyboard.press("ArrowDown")
    until(lambda: studio.project()["settings"]["track"]["policy"] != "samurai")
    wrong += complaints(page, axe)
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    assert page.evaluate("() => document.activeElement.id") == "tab-edit"
    page.keyboard.press("?")
    wait_for(page, "dialog:has-text('Keyboard')")
    wrong += complaints(page, axe)
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")

    # Export: the arrow keys go through destinations, Tab on to the button.
    page.keyboard.press("Shift+E")
    wait_for(page, "dialog [data-format=coco]")
    tab_to(page, "it.classList.contains('format')")
    while page.evaluate("() => document.activeElement.innerText") != "CVAT":
        page.keyboard.press("ArrowDown")
    wait_until(page, "document.querySelector('.export-options h2').innerText === 'CVAT'")
    wrong += complaints(page, axe)
    tab_to(page, "it.id === 'export-start'")
    page.keyboard.press("Enter")
    wait_for(page, ".job[data-state=done]")
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    assert list(studio.root.glob("*cvat*"))
    assert wrong == []
    assert watched.problems == []
