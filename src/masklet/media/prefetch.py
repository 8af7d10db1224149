"""Work ahead in a background thread, so that decoding overlaps with what the caller does with a frame."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


def prefetched(make: Callable[[], Iterator[Item]], depth: int, *, drop_oldest: bool = False) -> Iterator[Item]:
    """Items of `make()`, produced by a thread that is at most `depth` items ahead.

    The iterator is made, advanced and closed in the thread. An exception in it is raised here, at its place in the
    order. Closing the returned generator (also by leaving a `for` loop and dropping it) stops the thread.

    Args:
        make: gives the iterator; called in the thread.
        depth: how many items may wait (at least 1).
        drop_oldest: never let the producer wait; throw away what waits longest (for live sources).
    """
    waiting: queue.Queue[tuple[str, Item | BaseException | None]] = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()

    def put(entry: tuple[str, Item | BaseException | None]) -> None:
        if drop_oldest and entry[0] == "item" and waiting.full():
            with contextlib.suppress(queue.Empty):
                waiting.get_nowait()
        waiting.put(entry)

    def work() -> None:
        iterator = None
        try:
            iterator = make()
            for item in iterator:
                put(("item", item))
                if stop.is_set():
                    return
            put(("end", None))
        except BaseException as error:  # handed over, whatever it is
            put(("error", error))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="masklet-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                kind, value = waiting.get(timeout=_POLL_SECONDS)
            except queue.Empty:  # a wait without end could not be interrupted on Windows
                continue
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        with contextlib.suppress(queue.Empty):  # a thread that waits for room may have it all
            while True:
                waiting.get_nowait()
        thread.join()
