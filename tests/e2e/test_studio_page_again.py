"""The studio's page when things moved: the video of a project, or the server under the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from masklet.project import Project

pytest.importorskip("playwright.sync_api")

from tests.e2e.studio_browser import (
    StudioProcess,
    Watched,
    find_chromium,
    picture,
    wait_for,
    wait_for_frame,
    wait_until_gone,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="needs chromium")]

DEMO = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioProcess]:
    """Over a project `dog.masklet` whose video went to `archive/7.mp4`, and `archive/other.mp4`, another video."""
    root = tmp_path_factory.mktemp("studio") / "footage"
    (root / "archive").mkdir(parents=True)
    shutil.copy(DEMO, root / "dog.mp4")
    with Project.create(root / "dog.masklet", root / "dog.mp4") as project:
        project.add_object(1, "bunny")
    (root / "dog.mp4").rename(root / "archive" / "7.mp4")
    (root / "archive" / "other.mp4").write_bytes(DEMO.read_bytes() + b"\0\0\0\x08free")
    studio = StudioProcess(root)
    try:
        studio.start()
        yield studio
    finally:
        studio.kill()
        studio.http.close()


@pytest.fixture
def page(studio: StudioProcess, context):
    return studio.let_in(context)


def test_a_moved_video_is_chosen_anew(studio: StudioProcess, page) -> None:
    page.click(".file:has-text('dog.masklet')")
    dialog = page.locator("dialog[aria-label='Where is the video?']")
    assert "dog.mp4 is not there" in dialog.locator("[role=alert]").inner_text()
    assert dialog.locator(".file:has-text('dog.masklet')").count() == 0
    dialog.locator(".file:has-text('archive')").click()
    dialog.locator(".file:has-text('other.mp4')").click()
    wait_for(page, "dialog [role=alert]:has-text('is not the source of dog.masklet')")
    picture(page, "relink")
    dialog.locator(".file:has-text('7.mp4')").click()
    wait_for_frame(page, 0)
    wait_for(page, ".object:has-text('bunny')")
    assert page.locator("dialog").count() == 0
    assert studio.project()["media"]["path"] == "archive/7.mp4"


def test_the_page_goes_on_by_itself_after_a_restart(studio: StudioProcess, page) -> None:
    watched = Watched(page)
    page.click(".file:has-text('archive')")
    page.click(".file:has-text('other.mp4')")
    wait_for_frame(page, 0)
    studio.kill()
    wait_for(page, ".away")
    studio.start()
    wait_until_gone(page, ".away")
    wait_until_gone(page, "text=Open the address that it printed")
    page.keyboard.press("ArrowRight")
    wait_for_frame(page, 1)
    # And the page itself is let in again, with its icon.
    page.reload()
    wait_for_frame(page, 0)
    assert page.evaluate("fetch('favicon.svg').then((answer) => answer.status)") == 200
    assert watched.problems == []
