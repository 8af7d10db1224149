"""The studio's review queue in a browser: the list, verdicts, and where a click helps most."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.masks import rle
from masklet.project import Project, TrackSettings
from masklet.results import ObjectMask, Scores
from masklet.studio.tasks import TrackJob

pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (
    Placement,
    Studio,
    Watched,
    find_chromium,
    picture,
    until,
    wait_for,
    wait_for_frame,
    wait_until_gone,
)
from tests.e2e.studio_client import running

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]

DATA = Path(__file__).parents[2] / "src" / "masklet" / "data"
BUNNY = 1
SURE, UNSURE, GONE = Scores(6.0, 0.9), Scores(0.5, 0.4), Scores(-4.0, 0.1)


@contextmanager
def doubtful_bunny(root: Path) -> Iterator[Studio]:
    """Over a project with a bunny on frames 40 to 59: unsure on 44, lost from 50 to 53, half of it missing on 57."""
    root.mkdir()
    shutil.copy(DATA / "bunny.mp4", root)
    bunny_hw = np.array(Image.open(DATA / "bunny_frame48.png").convert("L")) > 127
    half_hw = bunny_hw.copy()
    half_hw[:, int(np.nonzero(bunny_hw)[1].mean()) :] = False
    with Project.create(root / "bunny.masklet", root / "bunny.mp4") as project, project.edit("Set up"):
        project.add_object(BUNNY, "bunny")
        project.add_prompt(40, BUNNY, mask=bunny_hw)
        for frame in range(40, 60):
            lost = 50 <= frame <= 53
            mask = np.zeros_like(bunny_hw) if lost else half_hw if frame == 57 else bunny_hw
            scores = GONE if lost else {44: UNSURE, 57: Scores(2.0, 0.05)}.get(frame, SURE)
            project.put_masks(
                [ObjectMask(BUNNY, frame, rle.encode(mask), scores=scores, lost=lost, is_prompt=frame == 40)]
            )
    with running(root, settings=TrackSettings(resolution=256)) as client:
        yield Studio(root, client)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with doubtful_bunny(tmp_path / "footage") as studio:
        yield studio


@pytest.fixture
def page(studio: Studio, context):
    page = studio.let_in(context)
    page.click(".file:has-text('bunny.masklet')")
    wait_for_frame(page)
    page.keyboard.press("Shift+R")
    wait_for(page, ".review-entry")
    return page


def masks(studio: Studio) -> dict[int, str]:
    found = studio.ask("GET", f"/projects/{studio.project()['id']}/masks?start=40&end=59")["frames"]
    return {frame["frame"]: frame["objects"][0]["rle"]["counts"] for frame in found}


def queue(studio: Studio) -> list[tuple[int, int]]:
    found = studio.ask("GET", f"/projects/{studio.project()['id']}/review")
    return [(stretch["first"], stretch["last"]) for stretch in found["queue"]]


def test_stretches_are_looked_at_accepted_and_rejected(studio: Studio, page) -> None:
    watched = Watched(page)
    entries = page.locator(".review-entry")
    assert queue(studio) == [(50, 53), (57, 58), (44, 44)]
    assert "bunny, frames 50 to 53" in entries.nth(0).inner_text() and "lost" in entries.nth(0).inner_text()
    assert "area jumps" in entries.nth(1).inner_text()
    assert "low object score (0.5)" in entries.nth(2).inner_text()

    # The keys go through the list, worst first, and the picture goes along.
    page.keyboard.press("f")
    wait_for_frame(page, 50)
    page.keyboard.press("f")
    wait_for_frame(page, 57)
    picture(page, "review")
    page.keyboard.press("Shift+F")
    wait_for_frame(page, 50)

    # What is accepted leaves the list, and the next stretch is shown; undo brings it back.
    page.click("[aria-label^='Accept']")
    wait_for_frame(page, 57)
    until(lambda: queue(studio) == [(57, 58), (44, 44)])
    wait_until_gone(page, ".review-entry:has-text('50 to 53')")
    page.keyboard.press("Control+z")
    wait_for(page, ".review-entry:has-text('50 to 53')")

    # What is rejected comes first, and says so.
    page.click(".review-entry:has-text('frame 44')")
    wait_for_frame(page, 44)
    page.keyboard.press("Shift+M")
    wait_for(page, "li:first-child .review-entry:has-text('rejected by you')")
    assert queue(studio)[0] == (44, 44)
    assert watched.problems == []


def test_the_place_for_the_next_click_is_shown_over_the_picture(studio: Studio, page) -> None:
    watched = Watched(page)
    found = studio.ask("GET", f"/projects/{studio.project()['id']}/review")["next"]
    page.click("#correct-next")
    wait_for_frame(page, found["frame"])
    wait_for(page, "text=One click near the cross")
    place = Placement(page)
    page.evaluate("() => new Promise(requestAnimationFrame)")  # the picture comes with the next drawing
    hot = place.seen(page)
    picture(page, "heat")
    page.click("[role=tab]:has-text('Objects')")
    wait_until_gone(page, "text=One click near the cross")
    page.keyboard.press("Escape")
    changed = np.zeros(hot.shape[:2], bool)

    def differs() -> bool:
        changed[:] = np.abs(place.seen(page) - hot).max(axis=-1) > 24
        return bool(changed.any())

    until(differs)
    x, y = (int(side / 2) for side in found["point"])
    assert changed[max(0, y - 20) : y + 20, max(0, x - 20) : x + 20].any()
    assert changed.mean() < 0.5
    assert watched.problems == []


def test_a_retrack_can_be_stopped_and_spares_what_was_accepted(
    studio: Studio, page, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(page)
    address = f"/projects/{studio.project()['id']}"
    studio.ask("POST", f"{address}/review", object=BUNNY, first=50, last=53, verdict="accepted")
    page.fill(".frame-number", "45")
    page.press(".frame-number", "Enter")
    wait_for_frame(page, 45)
    before = masks(studio)
    page.mouse.click(*Placement(page).on_page(900, 100), button="right")
    wait_for(page, "#retrack:has-text('Re-track from frame 45')")
    until(lambda: masks(studio) != before)
    clicked = masks(studio)
    assert [frame for frame in before if clicked[frame] != before[frame]] == [45]

    # Taken back while it runs: it is stopped first, and its click waits as before.
    going_on = threading.Event()
    show = TrackJob._show

    def held(job, step) -> None:
        show(job, step)
        if step.done == 3:
            assert going_on.wait(600)

    monkeypatch.setattr(TrackJob, "_show", held)
    page.keyboard.press("Enter")
    wait_for(page, "[aria-label=Correction]:has-text('Preview: a second to both sides')")
    until(lambda: studio.tracks()[-1]["done"] == 3)
    assert masks(studio) != clicked
    with page.expect_response("**/cancel"):
        page.keyboard.press("Control+z")
    going_on.set()
    wait_for(page, "#retrack")
    assert studio.tracks()[-1]["state"] == "cancelled" and masks(studio) == clicked

    page.keyboard.press("r")
    wait_for(page, "[aria-label='Take back the re-track']")
    after = masks(studio)
    changed = [frame for frame in before if after[frame] != clicked[frame]]
    assert changed and set(changed) <= set(range(41, 50))
    assert studio.ask("GET", f"{address}/review")["accepted"] == 1
    assert watched.problems == []
