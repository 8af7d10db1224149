"""A batch in a browser: its videos and how they are, from one doubtful one to the next, a correction, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from masklet.jobs.job import VideoJob
from masklet.jobs.local import work_on
from masklet.jobs.queue import Queue
from masklet.project import TrackSettings

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

FRAMES, HIDDEN, WIDTH, HEIGHT = 12, range(5, 9), 320, 180


@pytest.fixture(scope="module")
def clips(bunny_clip: Path) -> list[np.ndarray]:
    """Twelve frames of the demo clip, and the same with the rabbit behind a curtain for a while."""
    pictures = []
    with av.open(str(bunny_clip)) as container:
        for frame in container.decode(video=0):
            pictures.append(frame.reformat(WIDTH, HEIGHT, format="rgb24").to_ndarray())
            if len(pictures) == FRAMES:
                break
    seen = np.stack(pictures)
    hidden = seen.copy()
    hidden[HIDDEN] = np.linspace(60, 90, WIDTH, dtype=np.uint8)[None, None, :, None]
    return [seen, hidden]


@pytest.fixture
def folder(tmp_path: Path, clips: list[np.ndarray], session_video_maker) -> Path:
    """A batch of three clips and a file that is no video, tracked with nano; one more waits."""
    root = tmp_path / "root"
    footage, folder = root / "footage", root / "rabbits"
    footage.mkdir(parents=True)
    folder.mkdir()
    pictures = {"meadow": clips[0], "curtain": clips[1], "curtain again": clips[1], "still to come": clips[0]}
    for name, images in pictures.items():
        made = session_video_maker.make(f"{name}.mkv", "ffv1", count=FRAMES, size=(WIDTH, HEIGHT), pictures=images)
        made.rename(footage / made.name)
    (footage / "no video.mkv").write_bytes(b"no video" * 99)
    with Queue(folder / "batch.sqlite") as queue:
        names = ["meadow", "curtain", "no video", "curtain again", "still to come"]
        box = {"object": "rabbit", "box": (17, 30, 190, 150)}
        queue.add(
            VideoJob(
                name=name,
                source=str(footage / f"{name}.mkv"),
                prompts=(box,),
                settings={"resolution": 128},
                exports=({"format": "csv"},),
            )
            for name in names
        )
        for _ in names[:-1]:
            work_on(queue.claim("worker"), queue, "worker", folder, {}, lambda: False)
    return folder


@pytest.fixture
def studio(folder: Path) -> Iterator[Studio]:
    with running(folder.parent, settings=TrackSettings(resolution=128)) as client:
        yield Studio(folder.parent, client)


def test_a_batch_is_gone_through_and_corrected(studio: Studio, folder: Path, context) -> None:
    page = studio.let_in(context)
    watched = Watched(page)
    page.click(".file:has-text('rabbits')")
    row = {name: page.locator(f".video:has(b:text-is('{name}'))") for name in ("curtain", "curtain again", "meadow")}
    wait_for(page, ".is-doubtful:has-text('curtain again')")
    until(row["curtain"].locator("img").is_visible)
    assert "to look at" in row["curtain"].inner_text() and "rabbit, frame" in row["curtain"].inner_text()
    failed = page.locator(".video:has-text('no video')").inner_text()
    assert "failed" in failed and "no video.mkv" in failed
    assert "waiting" in page.locator(".video:has-text('still to come')").inner_text()
    assert page.locator("[aria-pressed=true]:has-text('All 5')").is_visible()
    picture(page, "batch")
    nothing_overflows(page)

    # The next doubtful one, from the list and then from within: each time the worst frame of another video.
    page.keyboard.press("Shift+V")
    wait_for(page, ".topbar .name:has-text('curtain')")
    first = studio.ask("GET", "/batches")[0]
    worst = {name: found["worst"] for name, found in reviews(studio, first["id"]).items() if found["worst"]}
    wait_for_frame(page, worst["curtain"]["worst"])
    wait_for(page, f".review-entry.on:has-text('{worst['curtain']['first']} to {worst['curtain']['last']}')")
    page.keyboard.press("Shift+V")
    wait_for(page, ".topbar .name:has-text('curtain again')")
    wait_for_frame(page, worst["curtain again"]["worst"])
    nothing_overflows(page)
    page.keyboard.press("?")
    wait_for(page, "dialog >> text=Next doubtful video")
    page.keyboard.press("Escape")
    wait_until_gone(page, "dialog")
    until(lambda: [project["name"] for project in studio.ask("GET", "/projects")] == ["curtain again"])

    # Its rabbit is not to be seen there, which is right; and one click corrects the frame.
    wait_for(page, ".review-entry.on")
    page.keyboard.press("Shift+A")
    wait_until_gone(page, ".review-entry")
    assert reviews(studio, first["id"])["curtain again"]["worst"] is None
    page.mouse.click(*Placement(page, WIDTH, HEIGHT).on_page(100, 90))
    wait_for(page, "#retrack")
    page.keyboard.press("Shift+V")
    wait_for(page, "text=No video further down has anything")

    # Back in the list it says that its files are older, and writes them again.
    [table] = (folder / "exports" / "csv").glob("curtain again*")
    before = table.read_text()
    page.keyboard.press("Shift+U")
    row["curtain again"].locator("button:has-text('Export again')").click()
    wait_for(page, "text=Export curtain again is done")
    until(lambda: row["curtain again"].locator("button:has-text('Export again')").count() == 0)
    assert table.read_text() != before
    assert page.evaluate("document.activeElement.closest('.video').innerText").startswith("curtain again")

    # The list goes along with a batch that runs elsewhere, and a video that it has is left to it.
    with Queue(folder / "batch.sqlite") as queue:
        number = queue.claim("worker").number
        shown = f".is-running:has-text('4 of {FRAMES}')"
        until(lambda: queue.beat(number, "worker", 4, FRAMES) and page.is_visible(shown))
        queue.fail(number, "worker", "The disk is full.")
        wait_for(page, ".is-failed:has-text('The disk is full')")
    page.click("[aria-label='Failed 2'], button:has-text('Failed 2')")
    wait_until_gone(page, ".video:has-text('meadow')")
    page.go_back()
    wait_for_frame(page)
    page.keyboard.press("Shift+U")
    page.click("[aria-label='Back to the files']")
    wait_for(page, "text=masklet studio")
    assert watched.problems == []


def nothing_overflows(page) -> None:
    """In the smallest window that the page is made for."""
    page.set_viewport_size({"width": 800, "height": 600})
    outside = page.evaluate(
        "() => [...document.querySelectorAll('button, input, b')].filter(e => e.offsetParent &&"
        " (e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)).map(e => e.textContent)"
    )
    assert outside == [] and page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 1280, "height": 720})


def reviews(studio: Studio, batch: str) -> dict[str, dict]:
    """What deserves a look, by the name of the video."""
    answer: dict = {}

    def is_whole() -> bool:
        answer.update(studio.ask("GET", f"/batches/{batch}/videos"))
        return not answer["pending"]

    until(is_whole)
    return {video["name"]: video["review"] for video in answer["videos"] if video["review"]}
