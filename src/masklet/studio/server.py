"""Runs the studio: binds the address first, so that it is known before anybody is told."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterable

import uvicorn

from masklet.errors import InputError, explained
from masklet.jobs.queue import QUEUE_FILE
from masklet.studio.app import Studio, StudioOptions, make_app
from masklet.studio.schemas import OpenRequest
from masklet.studio.security import Access

_SOCKET_MESSAGE_BYTES = 1 << 16


class Server:
    """A studio that listens. `run` blocks until it is stopped.

    Args:
        options: see :class:`~masklet.studio.app.StudioOptions`.
        host, port: where to listen; port 0 takes a free one.
        token: for scripts; made up by default. ``$MASKLET_STUDIO_TOKEN``, where it is set, takes its place.
        names: more host names that the server may be called by.

    Raises:
        InputError: the address can't be used.
    """

    def __init__(
        self,
        options: StudioOptions,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        names: Iterable[str] = (),
    ) -> None:
        self._socket = _bind(host, port)
        token = os.environ.get("MASKLET_STUDIO_TOKEN", "").strip() or token
        if token is not None and len(token) < 16:
            raise InputError("The token must have 16 characters or more: anybody on this machine may try to guess it.")
        self.access = Access(host, self._socket.getsockname()[1], token, names)
        self.studio = Studio(options, self.access)
        config = uvicorn.Config(
            make_app(self.studio),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws_max_size=_SOCKET_MESSAGE_BYTES,
            timeout_graceful_shutdown=3,
            ws_ping_timeout=120,  # a laptop that slept is no reason to drop its pages
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Serve until Ctrl-C or `stop`; what is going on is saved first. `started` is called once it listens."""
        if started is not None:
            threading.Thread(target=self._when_started, args=(started,), daemon=True).start()
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            self._socket.close()

    def open(self, path: str, source: str | None = None) -> None:
        """Open a file or a batch below the root before anybody asks. Raises what opening it does."""
        if (self.studio.root.path(path) / QUEUE_FILE).is_file():
            self.studio.batch_at_start = self.studio.batches.open(path).id
        else:
            self.studio.open_at_start = self.studio.workspace.open(OpenRequest(path=path, source=source)).id

    def stop(self) -> None:
        """End `run`, from any thread."""
        self._server.should_exit = True

    def _when_started(self, started: Callable[[], None]) -> None:
        waiting = threading.Event()
        while not self._server.started and not self._server.should_exit:
            waiting.wait(0.02)
        if self._server.started:
            started()


def _bind(host: str, port: int) -> socket.socket:
    with explained(InputError, f"{host} is no address of this machine"):
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends small answers at once (TCP_NODELAY) only where the socket says that it is TCP.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name != "nt":  # there it would let two programs share the port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()  # at once, so that no other studio takes the port while this one gets ready
    except (OSError, OverflowError) as problem:
        made.close()
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"The studio can't listen at {host}:{port}: {reason}. Choose another --port.") from problem
    return made
