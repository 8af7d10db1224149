"""Ctrl-C in two steps: the first ends the work well, the second at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class GentleStop:
    """Takes SIGINT and SIGTERM over until the first of them, which is only noted; after that they are as they were.

    Attributes:
        requested: whether somebody asked to stop.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        """``say`` tells the user what happens now."""
        self.requested = False
        self._say = say
        self._handlers: dict[int, Any] = {}

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._handlers[number] = signal.signal(number, self._stop)
            except ValueError:  # not the main thread: whoever runs this one looks after signals
                return

    def release(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.release()
        self._say()
