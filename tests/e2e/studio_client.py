"""A studio that runs in the test's process, and a client that talks to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from masklet.project import TrackSettings
from masklet.studio.app import StudioOptions
from masklet.studio.server import Server

TOKEN = "a-token-for-tests-only"
DEMO = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"


class Client(httpx.Client):
    """HTTP with the token, and the WebSocket."""

    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=900)

    def listen(self, project: str | None = None) -> ClientConnection:
        query = f"?project={project}" if project else ""
        return connect(
            f"ws://127.0.0.1:{self.port}/api/ws{query}",
            additional_headers={"Authorization": f"Bearer {TOKEN}"},
            ping_timeout=None,
            open_timeout=600,
        )

    def ask(self, method: str, address: str, /, **json_body: Any) -> Any:
        """The answer's JSON, which must be a success."""
        body = json_body if method in ("POST", "PUT", "PATCH") else None
        answer = self.request(method, address, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def wait_until_up(self) -> None:
        """Wait for a server that has said where it is going to be."""
        while True:
            try:
                self.get("/api/studio")
                return
            except httpx.ConnectError:
                time.sleep(0.05)

    def wait(self, job: dict[str, Any], *states: str) -> dict[str, Any]:
        """The job once it is in one of these states (done by default)."""
        wanted = states or ("done",)
        while True:
            found = self.ask("GET", f"/api/jobs/{job['id']}")
            if found["state"] in wanted:
                return found
            assert found["state"] not in ("failed", "cancelled", "done"), found
            time.sleep(0.02)


@contextmanager
def running(root: Path, **options: Any) -> Iterator[Client]:
    """A studio over a folder, with the small network at a small size."""
    options.setdefault("settings", TrackSettings(resolution=128, dtype="float32"))
    options.setdefault("device", "cpu")
    server = Server(StudioOptions(root=root, recent=root.parent / "recent.json", **options), token=TOKEN)
    started = threading.Event()
    thread = threading.Thread(target=server.run, args=(started.set,))
    thread.start()
    assert started.wait(600)
    try:
        with Client(server.access.port) as client:
            client.server = server  # type: ignore[attr-defined]
            yield client
    finally:
        server.stop()
        thread.join(600)
        assert not thread.is_alive()


def until(news: ClientConnection, fits: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """All messages up to the first that fits."""
    seen = []
    while True:
        seen.append(json.loads(news.recv(timeout=900)))
        if fits(seen[-1]):
            return seen
