"""News for every open page, told from any thread."""

from __future__ import annotations

import asyncio
import contextlib
import json

from pydantic import BaseModel
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from masklet.studio.schemas import Hello, Missed

_WAITING = 512
_CLIENT_TEXT = 4096


class _Client:
    def __init__(self, project: str | None) -> None:
        self.project = project
        self.waiting: asyncio.Queue[str] = asyncio.Queue(_WAITING)

    def put(self, text: str) -> None:
        if self.waiting.full():
            # Whoever is so far behind is better off asking anew than reading old news.
            while not self.waiting.empty():
                self.waiting.get_nowait()
            self.waiting.put_nowait(Missed().model_dump_json())
        self.waiting.put_nowait(text)


class Hub:
    """The clients that listen. `tell` may be called from any thread."""

    def __init__(self) -> None:
        self._clients: set[_Client] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def listeners(self) -> int:
        return len(self._clients)

    def tell(self, message: BaseModel, project: str | None = None) -> None:
        """Send a message to those who listen to this project (to everybody without one)."""
        loop = self._loop
        if loop is None or not self._clients:
            return
        text = message.model_dump_json()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._hand_out, text, project)

    def _hand_out(self, text: str, project: str | None) -> None:
        for client in self._clients:
            if project is None or client.project in (None, project):
                client.put(text)

    async def serve(self, socket: WebSocket, project: str | None, hello: Hello) -> None:
        """Talk to one client until it leaves."""
        self._loop = asyncio.get_running_loop()
        await socket.accept()
        client = _Client(project)
        client.put(hello.model_dump_json())
        self._clients.add(client)
        sender = asyncio.create_task(self._send(socket, client))
        try:
            while True:
                text = await socket.receive_text()
                if len(text) > _CLIENT_TEXT:
                    break
                if _is_ping(text):
                    client.put('{"type":"pong"}')
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes where text belongs
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender
            if socket.application_state == WebSocketState.CONNECTED:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await socket.close()

    @staticmethod
    async def _send(socket: WebSocket, client: _Client) -> None:
        while True:
            await socket.send_text(await client.waiting.get())


def _is_ping(text: str) -> bool:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "ping"
