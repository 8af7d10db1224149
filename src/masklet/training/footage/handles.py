"""Files that are kept open between clips: the last few of each thread of each process.

Decoders and SQLite connections must not cross into another thread or, by a fork, into another process.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

KEPT = 8

T = TypeVar("T")
_INHERITED: list[OrderedDict[Hashable, Any]] = []  # never to be closed from this side of a fork


class _Handles(threading.local):
    def __init__(self) -> None:
        self.process = os.getpid()
        self.open: OrderedDict[Hashable, Any] = OrderedDict()


_handles = _Handles()


def kept_open(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives, or gave for the same key not long ago. Closed (where it can be) when others were asked for."""
    if _handles.process != os.getpid():
        _INHERITED.append(_handles.open)
        _handles.process, _handles.open = os.getpid(), OrderedDict()
    known = _handles.open
    if key in known:
        known.move_to_end(key)
        return known[key]
    made = make()
    known[key] = made
    while len(known) > KEPT:
        _close(known.popitem(last=False)[1])
    return made


def close_all() -> None:
    """Closes what this thread has open."""
    while _handles.process == os.getpid() and _handles.open:
        _close(_handles.open.popitem()[1])


def _close(handle: Any) -> None:
    close = getattr(handle, "close", None)
    if close is not None:
        close()
