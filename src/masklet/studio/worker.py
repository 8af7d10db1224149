"""The one thread that runs the network, most urgent work first.

A click must not wait for a video: long work is cut into steps (one frame each), and between two of them everything more
urgent is done. Long works of several projects take turns.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from masklet.studio.problems import SupersededError

T = TypeVar("T")
log = logging.getLogger("masklet.studio")


class Urgency(IntEnum):
    """What comes first; the smaller the sooner."""

    PROMPT = 0
    PREVIEW = 1
    AHEAD = 2
    TRACK = 3


@dataclass(order=True)
class _Task:
    urgency: int
    number: int
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
    key: Hashable | None = field(compare=False, default=None)


class Worker:
    """A thread with a queue. Every method may be called from any thread."""

    def __init__(self, name: str = "masklet-model") -> None:
        self._queue: list[_Task] = []
        self._latest: dict[Hashable, _Task] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], urgency: Urgency, key: Hashable | None = None) -> Future[T]:
        """Put work in the queue. A later one with the same `key` takes the place of one that still waits, whose future
        gets SupersededError. Cancelling the future takes work out that has not begun.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._stopped:
                future.set_exception(SupersededError("The studio is being closed."))
                return future
            task = _Task(urgency, next(self._numbers), work, future, key)
            if key is not None:
                before = self._latest.get(key)
                self._latest[key] = task
                if before is not None and before.future.set_running_or_notify_cancel():
                    before.future.set_exception(SupersededError("A newer request took this one's place."))
                    before.work = _nothing
            heapq.heappush(self._queue, task)
            self._changed.notify()
        return future

    def steps(self, step: Callable[[], bool]) -> None:
        """Call `step` again and again, as long as it returns True, with everything more urgent in between."""

        def once() -> None:
            if step():
                self.steps(step)

        self.submit(once, Urgency.TRACK)

    def stop(self, timeout: float | None = 30) -> None:
        """End the thread after what it is doing now; what still waits is not done."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    waiting, self._queue = self._queue, []
                    break
                task = heapq.heappop(self._queue)
                if task.key is not None and self._latest.get(task.key) is task:
                    del self._latest[task.key]
            self._do(task)
        for task in waiting:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(SupersededError("The studio is being closed."))

    def _do(self, task: _Task) -> None:
        if task.future.done() or not task.future.set_running_or_notify_cancel():
            return
        try:
            result = task.work()
        except BaseException as error:  # whatever it is, it belongs to who asked
            task.future.set_exception(error)
        else:
            task.future.set_result(result)


def _nothing() -> None:
    """What is left of work that nobody waits for."""
