"""The studio as people run it, a process of its own, and a real browser that looks at its page."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from masklet.masks import rle

TOKEN = "a-token-for-the-browser-tests"
PICTURES = os.environ.get("MASKLET_PICTURES")


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    return None


def launch(playwright: Playwright) -> Browser:
    # In a container there is often no sandbox to be had; the page under test is our own.
    return playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])


class StudioProcess:
    """`masklet studio` over a folder, on a port that stays the same when it is started again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=180)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        home = self.root.parent / "home"
        environment = {**os.environ, "MASKLET_STUDIO_TOKEN": TOKEN, "MASKLET_HOME": str(home)}
        command = [sys.executable, "-m", "masklet", "studio", str(self.root), "--no-browser", "--port", str(self.port)]
        log = (self.root.parent / "studio.log").open("ab")
        self.process = subprocess.Popen([*command, "--resolution", "256"], env=environment, stdout=log, stderr=log)
        for _ in range(1800):
            assert self.process.poll() is None, (self.root.parent / "studio.log").read_text()
            try:
                self.http.get("/api/studio")
                return
            except httpx.ConnectError:
                time.sleep(0.1)
        raise AssertionError("the studio does not answer")

    def kill(self) -> None:
        """kill -9: no time to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.http.close()

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

    def wait_for_jobs(self) -> list[dict[str, Any]]:
        while True:
            jobs = self.ask("GET", "/jobs")
            if not any(job["state"] in ("waiting", "running") for job in jobs):
                return jobs
            time.sleep(0.1)

    def let_in(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.goto(self.ask("POST", "/login-links")["address"])
        return page


@contextmanager
def studio_over(root: Path) -> Iterator[StudioProcess]:
    studio = StudioProcess(root)
    try:
        studio.start()
        yield studio
    finally:
        studio.stop()


class Watched:
    """What a page complained about: errors in scripts, and content that its policy refused."""

    def __init__(self, page: Page) -> None:
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # A server that was killed can't answer, and a request that a newer one replaced ends with 409; everything else
        # is a mistake of ours.
        expected = ("ERR_CONNECTION", "WebSocket connection", "401 (Unauthorized)", "ERR_EMPTY_RESPONSE", "SOCKET")
        if "409 (Conflict)" in message.text and message.location.get("url", "").endswith(("/encode", "/hover")):
            return
        if message.type == "error" and not any(word in message.text for word in expected):
            self.problems.append(f"{message.text} {message.location}")


def wait_for_frame(page: Page, frame: int | None = None) -> None:
    """Until the canvas shows a frame: the picture itself, not the last one in its place."""
    page.wait_for_selector("#picture")
    page.wait_for_function(
        "frame => { const shown = Number(document.querySelector('#picture').dataset.frame);"
        " return frame === null ? shown >= 0 : shown === frame; }",
        arg=frame,
    )


def wait_until(page: Page, condition: str) -> None:
    page.wait_for_function(f"() => {condition}")


def settle(page: Page) -> None:
    """Until nothing was drawn for a quarter of a second."""
    page.wait_for_function(
        "() => new Promise(resolve => { let last = ''; let since = performance.now(); const look = () => {"
        " const now = document.querySelector('#picture').dataset.drawn;"
        " if (now !== last) { last = now; since = performance.now(); }"
        " performance.now() - since > 250 ? resolve(true) : requestAnimationFrame(look); }; look(); })"
    )


def canvas_picture(page: Page) -> np.ndarray:
    """The canvas as uint8 RGB (height, width, 3)."""
    settle(page)
    address = page.evaluate("() => document.querySelector('#picture').toDataURL()")
    return np.array(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


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

    def source_of(self, canvas: np.ndarray) -> np.ndarray:
        """What the canvas shows, one value for each pixel of the source."""
        rows = np.clip((self.top + (np.arange(self.height) + 0.5) * self.zoom).astype(int), 0, canvas.shape[0] - 1)
        columns = np.clip((self.left + (np.arange(self.width) + 0.5) * self.zoom).astype(int), 0, canvas.shape[1] - 1)
        return canvas[rows][:, columns]


def changed_where(page: Page) -> np.ndarray:
    """Where the overlay differs from the plain picture, boolean in pixels of the source."""
    place = Placement(page)
    page.keyboard.press("6")
    plain = place.source_of(canvas_picture(page)).astype(int)
    page.keyboard.press("1")
    overlay = place.source_of(canvas_picture(page)).astype(int)
    return np.abs(overlay - plain).max(axis=-1) > 8


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def picture(page: Page, name: str) -> None:
    """A picture for the documentation, where `MASKLET_PICTURES` names a folder; always proof that it can be taken."""
    page.wait_for_selector(".toast", state="detached")
    shot = page.screenshot()
    assert len(shot) > 10_000
    if PICTURES:
        full = Image.open(BytesIO(shot)).convert("RGB")
        full.quantize(palette=full.quantize(256)).save(Path(PICTURES) / f"studio-{name}.png", optimize=True)
