"""Playing in a real browser by a clock that the test holds, distant frames, and what a click makes the page ask for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.masks import rle
from masklet.project import TrackSettings
from masklet.results import ObjectMask, Scores

pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (
    Held,
    Studio,
    Watched,
    find_chromium,
    until,
    wait_for,
    wait_for_frame,
    wait_until,
    wait_until_gone,
)
from tests.e2e.studio_client import DEMO, running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]

FIRST, LAST = 8, 92  # frames with a mask

# The clock of the page in the hands of the test, who says too how quickly frames come; and every frame that was drawn,
# with whether its masks were there.
HOLD = """async () => {
  const [{ time }, frames, masks, state, player] = await Promise.all(
    ["/clock.js", "/frames.js", "/masks.js", "/state.js", "/player.js"].map((module) => import(module)));
  for (const name of ["each", "wait"]) Object.defineProperty(frames.pace(), name, { get: () => 10, set: () => {} });
  let now = 0;
  time.now = () => now;
  const canvas = document.querySelector("#picture");
  const drawn = [];
  new MutationObserver(() => {
    const frame = Number(canvas.dataset.frame);
    if (frame >= 0 && state.playing.value) drawn.push([frame, Boolean(masks.entryOf(frame)?.complete)]);
  }).observe(canvas, { attributes: true, attributeFilter: ["data-drawn"] });
  const ready = (frame) => frames.hasPicture(frame, undefined) && Boolean(masks.entryOf(frame)?.complete);
  window.held = { set: (ms) => (now = ms), drawn, ready, state, player };
}"""
TWO_DRAWINGS = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio with the demo clip and an object that has a mask on most frames."""
    root = tmp_path / "footage"
    root.mkdir()
    shutil.copy(DEMO, root)
    with running(root, settings=TrackSettings(resolution=256)) as client:
        state = client.ask("POST", "/api/projects", path="bunny.mp4")
        project = client.server.studio.workspace.get(state["id"]).project  # type: ignore[attr-defined]
        bunny_hw = np.array(Image.open(DEMO.with_name("bunny_frame48.png")).convert("L")) > 127
        project.add_object(1, "bunny")
        scores = Scores(object_score=5.0, predicted_iou=0.9)
        shifted = [rle.encode(np.roll(bunny_hw, shift, axis=1)) for shift in range(LAST + 1 - FIRST)]
        project.put_masks([ObjectMask(1, FIRST + i, mask, scores=scores) for i, mask in enumerate(shifted)])
        yield Studio(root, client)


def opened(studio: Studio, context: Any, holds: bool = False) -> Any:
    page = studio.let_in(context, holds)
    page.click(".file:has-text('bunny.mp4')")
    wait_for_frame(page, 0)
    return page


def at(page: Any, milliseconds: float, frame: int) -> None:
    """The time comes to be this; the page must come to show the frame that belongs to it."""
    page.evaluate("now => held.set(now)", milliseconds)
    page.wait_for_function(
        "frame => held.state.frame.value === frame"
        " && document.querySelector('#picture').dataset.frame === String(frame)",
        arg=frame,
    )


def begin(page: Any, key: str, frame: int) -> None:
    """Play by a key, from a frame: the clock runs once that frame and the next are here."""
    page.keyboard.press(key)
    page.wait_for_function("frame => held.ready(frame) && held.ready(frame + 1)", arg=frame)
    page.evaluate(TWO_DRAWINGS)


def test_what_is_shown_follows_the_clock(studio, context) -> None:
    page = opened(studio, context)
    watched = Watched(page)
    page.evaluate(HOLD)
    page.evaluate("() => { held.state.loop.value = false; held.player.muted.value = true; }")
    page.focus("#picture")
    page.wait_for_function("() => held.ready(0)")

    begin(page, "Space", 0)
    at(page, 40, 1)
    at(page, 1000, 25)  # frames are left out, not shown late
    at(page, 1030, 25)
    page.select_option(".speed", "0.25")
    page.focus("#picture")
    at(page, 2000, 31)  # from where it was, a quarter as fast
    page.keyboard.press("l")  # plays already: twice as fast
    assert page.input_value(".speed") == "0.5"
    at(page, 2800, 41)
    page.keyboard.press("j")  # backwards, at the usual speed
    at(page, 3240, 30)
    page.keyboard.press("j")
    at(page, 3640, 10)
    page.keyboard.press("k")
    wait_for(page, "button[aria-label='Play']")
    page.evaluate("now => held.set(now)", 9000)
    page.evaluate(TWO_DRAWINGS)
    assert page.evaluate("() => held.state.frame.value") == 10

    # At its end it stops, on the last frame, or of a marked range on the last of that.
    begin(page, "l", 10)
    at(page, 9000 + 88 * 40, 98)
    page.evaluate("now => held.set(now)", 9000 + 90 * 40)
    wait_for(page, "button[aria-label='Play']")
    wait_for_frame(page, 99)
    page.evaluate(
        "() => { held.state.markIn.value = 40; held.state.markOut.value = 49; held.state.loop.value = true; }"
    )
    begin(page, "Space", 40)
    at(page, 12600, 40)
    at(page, 12600 + 9 * 40, 49)
    at(page, 12600 + 10 * 40, 40)  # and round again
    at(page, 12600 + 25 * 40, 45)

    # How many others are drawn on the way depends on how quickly they come.
    drawn = page.evaluate("() => held.drawn")
    assert {frame for frame, _ in drawn} >= {1, 25, 31, 41, 30, 10, 98, 40, 49, 45}
    assert all(complete for _, complete in drawn)  # no frame without its masks
    assert watched.problems == []


def test_a_distant_frame_is_its_key_frame_until_it_is_here(studio, context) -> None:
    page = opened(studio, context, holds=True)
    held = Held(page, "**/frames/83.jpg*")
    page.evaluate("async () => (await import('/actions.js')).seek(83)")
    wait_for(page, "text=Key frame 60; frame 83 is coming")
    wait_until(page, "document.querySelector('#picture').dataset.preview === '60'")
    picture = page.locator("#picture")
    assert picture.get_attribute("data-frame") == "-1"
    held.next().continue_()
    held.let_go()
    wait_for_frame(page, 83)
    wait_until_gone(page, "text=is coming")
    assert picture.get_attribute("data-preview") == "-1"


def test_what_a_click_changes_is_not_asked_for_again(studio, context) -> None:
    """Every page has it from the news, whoever clicked: neither the project, nor lanes, nor masks are fetched."""
    page, other = opened(studio, context), opened(studio, context)
    for window in (page, other):
        window.evaluate("async () => (await import('/actions.js')).seek(30)")
        wait_for_frame(window, 30)
        here = "async () => Boolean((await import('/masks.js')).entryOf(30)?.complete)"
        until(lambda window=window, here=here: window.evaluate(here))
    asked: list[str] = []
    for window in (page, other):
        window.on("request", lambda request: asked.append(f"{request.method} {request.url.partition('/api')[2]}"))
    page.evaluate("async () => (await import('/actions.js')).click([345, 420], 1)")
    known = (
        "async () => { const s = await import('/state.js'), m = await import('/masks.js');"
        " return [s.project.value.revision, s.promptsOn(30, 1).map(({ id, points, mask }) => ({ id, points, mask })),"
        " m.maskOf(30, 1)?.state.rle.counts, s.project.value.history.undo, s.laneOf(1).isPrompt(30)]; }"
    )
    project = studio.project()
    prompts = [{name: record[name] for name in ("id", "points", "mask")} for record in project["prompts"]]
    [mask] = studio.ask("GET", f"/projects/{project['id']}/masks/30")["objects"]
    right = [project["revision"], prompts, mask["rle"]["counts"], project["history"]["undo"], True]
    for window in (page, other):
        until(lambda window=window: window.evaluate(known) == right)
    fetched = re.compile(r"/masks|/mask-stream|/lanes|/projects/[^/]+(\?|$)")
    assert [url for url in asked if fetched.search(url)] == []
    assert mask["prompt"] and len(prompts) == 2


def test_masks_that_changed_while_they_came_are_asked_for_again(studio, context) -> None:
    page = opened(studio, context, holds=True)
    page.evaluate("async () => (await import('/actions.js')).seek(30)")
    wait_for_frame(page, 30)
    until(lambda: page.evaluate("async () => Boolean((await import('/masks.js')).entryOf(30)?.complete)"))
    project = studio.project()["id"]
    held = Held(page, "**/masks/30")
    for grow in (-4, -8):
        studio.ask("PUT", f"/projects/{project}/settings", masks={"grow": grow})
        known = "async () => (await import('/state.js')).project.value.settings.masks.grow"
        until(lambda grow=grow, known=known: page.evaluate(known) == grow)
    held.next().continue_()
    held.next().continue_()
    held.let_go()
    [mask] = studio.ask("GET", f"/projects/{project}/masks/30")["objects"]
    known = "async () => (await import('/masks.js')).maskOf(30, 1)?.state.rle.counts"
    until(lambda: page.evaluate(known) == mask["rle"]["counts"])
