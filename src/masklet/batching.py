"""Batches that get smaller where the device's memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from masklet.errors import DeviceMemoryError
from masklet.runtime import drop_caches, is_out_of_memory

T = TypeVar("T")


def in_batches(
    run: Callable[[slice], T],
    count: int,
    at_once: int,
    device: torch.device,
    too_small: Callable[[], DeviceMemoryError],
    shrunk: Callable[[int], None] = lambda at_once: None,
) -> list[T]:
    """Run over ``count`` things in batches of ``at_once`` and return each batch's result.

    A batch that doesn't fit into memory is halved, and ``shrunk`` is told the new size; a single thing gets a second
    try with caches dropped.

    Raises:
        DeviceMemoryError: what ``too_small`` makes, where one thing alone doesn't fit.
    """
    done: list[T] = []
    start, dropped = 0, False
    while start < count:
        part = slice(start, min(start + at_once, count))
        try:
            done.append(run(part))
            start = part.stop
            continue
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = part.stop - part.start
            if dropped and size == 1:
                raise too_small() from error
        drop_caches(device)
        dropped = True
        if size > 1:
            at_once = size // 2
            shrunk(at_once)
    return done
