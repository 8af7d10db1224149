"""The studio beside a real browser that looks at its page."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route
from tests.e2e.studio_client import TOKEN

from masklet.masks import rle

PICTURES = os.environ.get("MASKLET_PICTURES")
PATIENCE = 180_000  # ms; on a busy machine everything takes long


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


def launch(playwright: Playwright) -> Browser:
    # In a container there is often no sandbox to be had; the page under test is our own.
    return playwright.chromium.launch(
        executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE
    )


class Studio:
    """A studio over a folder, as a script beside the page sees it."""

    def __init__(self, root: Path, http: httpx.Client) -> None:
        self.root, self.http = root, http

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self.http.request(method, f"/api{path}", json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def project(self) -> dict[str, Any]:
        [project] = self.ask("GET", "/projects")
        return self.ask("GET", f"/projects/{project['id']}")

    def mask(self, frame: int, object_id: int | None = None) -> np.ndarray | None:
        """The mask that the server has of an object (of the first one), boolean (height, width)."""
        project = self.project()
        object_id = project["objects"][0]["id"] if object_id is None else object_id
        found = self.ask("GET", f"/projects/{project['id']}/masks/{frame}")
        for mask in found["objects"]:
            if mask["object"] == object_id:
                return rle.decode(mask["rle"])
        return None

    def tracks(self) -> list[dict[str, Any]]:
        """The tracking jobs, in the order they were begun."""
        return [job for job in self.ask("GET", "/jobs") if job["kind"] == "track"]

    def let_in(self, context: BrowserContext, holds: bool = False) -> Page:
        """A new page. `holds`: some of its requests will be `Held`."""
        if holds:
            # From the beginning: what a page asks for just after Playwright wanted to see its requests may go past
            # Playwright, which then never tells of it.
            context.route("**/nowhere", lambda route: route.abort())
        page = context.new_page()
        page.goto(self.ask("POST", "/login-links")["address"])
        wait_for(page, ".file")
        return page


class StudioProcess(Studio):
    """`masklet studio` in a process of its own, on a port that stays the same when it is started again.

    `options` are those of the command; `code` is the source folder to run instead of this one's.
    """

    def __init__(
        self, root: Path, options: tuple[str, ...] = ("--resolution", "256"), code: Path | None = None
    ) -> None:
        self.options, self.code = options, code
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        super().__init__(root, httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=180))

    def start(self) -> None:
        home = self.root.parent / "home"
        environment = {**os.environ, "MASKLET_STUDIO_TOKEN": TOKEN, "MASKLET_HOME": str(home)}
        if self.code is not None:
            environment["PYTHONPATH"] = str(self.code)
        command = [sys.executable, "-m", "masklet", "studio", str(self.root), "--no-browser", "--port", str(self.port)]
        log = (self.root.parent / "studio.log").open("ab")
        self.process = subprocess.Popen([*command, *self.options], env=environment, stdout=log, stderr=log)
        for _ in range(3600):
            assert self.process.poll() is None, (self.root.parent / "studio.log").read_text()
            try:
                self.http.get("/api/studio")
                return
            except httpx.ConnectError:
                time.sleep(0.05)
        raise AssertionError("the studio does not answer")

    def kill(self) -> None:
        """kill -9: no time to tidy up."""
        self.process.kill()
        self.process.wait()


@contextmanager
def studio_over(root: Path, *how: Any) -> Iterator[StudioProcess]:
    studio = StudioProcess(root, *how)
    try:
        studio.start()
        yield studio
    finally:
        studio.kill()
        studio.http.close()


class Held:
    """Requests of a page, let in with `holds`, that wait from now on until the test lets them go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.page, self.pattern, self.holds = page, pattern, True
        self.routes: list[Route] = []
        page.route(pattern, self._keep)

    def _keep(self, route: Route) -> None:
        if self.holds:
            self.routes.append(route)
        else:
            route.continue_()

    def next(self) -> Route:
        until(lambda: self.page.wait_for_timeout(5) is None and bool(self.routes))
        return self.routes.pop(0)

    def let_go(self) -> None:
        """Those that wait, and all that come later."""
        self.holds = False
        for route in self.routes:
            route.continue_()
        self.page.unroute(self.pattern)


class Watched:
    """What a page complained about: errors in scripts, and content that its policy refused."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # A server that was killed can't answer, and a request that a newer one replaced ends with 409; everything else
        # is a mistake of ours.
        cut = (
            "ERR_CONNECTION",
            "ERR_EMPTY_RESPONSE",
            "ERR_CONTENT_LENGTH_MISMATCH",
            "ERR_INCOMPLETE_CHUNKED",
            "SOCKET",
        )
        expected = (*cut, "WebSocket connection", "401 (Unauthorized)")
        if "409 (Conflict)" in message.text and message.location.get("url", "").endswith(("/encode", "/hover")):
            return
        if message.type == "error" and not any(word in message.text for word in expected):
            self.problems.append(f"{message.text} {message.location}")


def wait_for_frame(page: Page, frame: int | None = None) -> None:
    """Until the canvas shows a frame: the picture itself, not the last one in its place."""
    wait_for(page, "#picture")
    page.wait_for_function(
        "frame => { const shown = Number(document.querySelector('#picture').dataset.frame);"
        " return frame === null ? shown >= 0 : shown === frame; }",
        arg=frame,
    )


def wait_for(page: Page, selector: str) -> None:
    """Until something can be seen. Playwright's own waiting looks only twice a second after a while."""
    until(lambda: page.is_visible(selector))


def wait_until_gone(page: Page, selector: str) -> None:
    """Until the page has nothing like this."""
    until(lambda: page.locator(selector).count() == 0)


def wait_until(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {condition}")


class Placement:
    """Where a source of some size lies in the canvas while it is fitted into the view."""

    def __init__(self, page: Page, width: int = 1280, height: int = 720) -> None:
        box = page.locator("#picture").bounding_box()
        assert box is not None
        self.box, self.width, self.height = box, width, height
        self.zoom = min((box["width"] - 24) / width, (box["height"] - 24) / height)
        self.left = box["width"] / 2 - width * self.zoom / 2
        self.top = box["height"] / 2 - height * self.zoom / 2

    def on_page(self, x: float, y: float) -> tuple[float, float]:
        """A pixel of the source as a place on the page."""
        return self.box["x"] + self.left + x * self.zoom, self.box["y"] + self.top + y * self.zoom

    def seen(self, page: Page) -> np.ndarray:
        """What the canvas shows where the source is, every other pixel of it: integers (height / 2, width / 2, 3)."""
        address = page.evaluate(
            "([left, top, width, height, columns, rows]) => { const made = document.createElement('canvas');"
            " made.width = columns; made.height = rows; const pen = made.getContext('2d');"
            " pen.imageSmoothingEnabled = false; pen.drawImage(document.querySelector('#picture'),"
            " left, top, width, height, 0, 0, columns, rows); return made.toDataURL(); }",
            [self.left, self.top, self.width * self.zoom, self.height * self.zoom, self.width // 2, self.height // 2],
        )
        png = base64.b64decode(address.partition(",")[2])
        return np.array(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def switch_view(page: Page, key: str) -> None:
    """Presses the key of another view, until that has been drawn."""
    drawn = "document.querySelector('#picture').dataset.drawn"
    before = page.evaluate(f"() => {drawn}")
    page.keyboard.press(key)
    page.wait_for_function(f"before => {drawn} !== before", arg=before)


@contextmanager
def told(page: Page, words: str) -> Iterator[None]:
    """What is done inside makes the page say these words, however briefly."""
    page.evaluate(
        "words => { window.hearing?.disconnect(); window.heard = false; const look = () => {"
        " const said = [...document.querySelectorAll('#spoken, .notice')];"
        " if (said.some(({ textContent }) => textContent.includes(words))) window.heard = true; };"
        " const all = { childList: true, subtree: true, characterData: true };"
        " window.hearing = new MutationObserver(look); window.hearing.observe(document.body, all); }",
        words,
    )
    yield
    page.wait_for_function("() => window.heard")


def until(holds: Callable[[], bool]) -> None:
    """Waits for something that the server or the page shall come to."""
    for _ in range(9000):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError("this did not come to hold in three minutes")


def wait_for_mask(page: Page, mask_hw: np.ndarray, share: float) -> None:
    """Until the page's overlay differs from the plain picture where the mask is: an IoU above a share."""
    place = Placement(page)

    def likeness() -> float:
        switch_view(page, "6")
        plain = place.seen(page)
        switch_view(page, "1")
        return overlap(np.abs(place.seen(page) - plain).max(axis=-1) > 8, mask_hw[::2, ::2])

    until(lambda: likeness() > share)


def overlap(first: np.ndarray, other: np.ndarray) -> float:
    return float((first & other).sum() / max(1, (first | other).sum()))


def picture(page: Page, name: str) -> None:
    """A picture for the documentation, where `MASKLET_PICTURES` names a folder."""
    if not PICTURES:
        return
    wait_until_gone(page, ".status [aria-label=Dismiss]")
    page.wait_for_timeout(600)
    full = Image.open(BytesIO(page.screenshot())).convert("RGB")
    full.quantize(palette=full.quantize(256)).save(Path(PICTURES) / f"studio-{name}.png", optimize=True)
