"""The files of a run that goes on, written by a thread beside the network."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from fractions import Fraction

import numpy as np

from masklet.errors import CancelledError, MediaError
from masklet.export.base import Put
from masklet.export.job import Picture
from masklet.project.finishing import Finished, Finishing
from masklet.project.source import SourceReference
from masklet.results import ObjectMask
from masklet.runs.engine import RunStep

_WAITING = 6  # frames between the network and the files: more would only cost memory
_POLL_SECONDS = 0.1


class LiveFiles:
    """Finishes the masks of frames as they come, and gives them to streams of exports (`StreamExporter.stream`).

    Hand frames over with `put`; `end` completes the files, `close` alone drops what isn't complete.

    Attributes:
        problem: what writing raised. Frames that come after it are dropped.
    """

    def __init__(
        self, finishing: Finishing, source: SourceReference, streams: Sequence[AbstractContextManager[Put]]
    ) -> None:
        self.problem: Exception | None = None
        self._finishing, self._source, self._streams = finishing, source, streams
        self._queue: queue.Queue[tuple[int, dict[int, ObjectMask], np.ndarray | None] | None] = queue.Queue(_WAITING)
        self._given_up = threading.Event()
        self._first: Fraction | None = None
        self._number = 0
        self._thread = threading.Thread(target=self._work, name="masklet-files", daemon=True)
        self._thread.start()

    def put(self, step: RunStep) -> None:
        """Hand a frame over; waits while too many are waiting."""
        self._hand_over((step.frame, {found.object_id: found for found in step.masks}, step.image_hwc))

    def end(self) -> None:
        """Wait until everything that was handed over is written (or could not be)."""
        self._hand_over(None)
        while self._thread.is_alive():  # a join without end could not be interrupted on Windows
            self._thread.join(_POLL_SECONDS)

    def close(self) -> None:
        """Stop. Complete files stay, the others are removed."""
        self._given_up.set()
        self._thread.join()

    def _hand_over(self, entry: tuple[int, dict[int, ObjectMask], np.ndarray | None] | None) -> None:
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(entry, timeout=_POLL_SECONDS)
                return

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                puts = [stack.enter_context(stream) for stream in self._streams]
                while (entry := self._next()) is not None:
                    self._give(puts, self._finishing.push(*entry))
                self._give(puts, self._finishing.flush())
        except OSError as error:
            self.problem = MediaError(f"{error.filename} can't be written: {error.strerror or error}.")
        except Exception as error:  # handed over, whatever it is
            self.problem = error

    def _next(self) -> tuple[int, dict[int, ObjectMask], np.ndarray | None] | None:
        while not self._given_up.is_set():
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=_POLL_SECONDS)
        raise CancelledError("The run was given up.")

    def _give(self, puts: Sequence[Put], frames: Iterable[Finished]) -> None:
        for index, image_hwc, layers in frames:
            time = self._source.time_of(index)
            if self._first is None:
                self._first = time
            picture = Picture(index, self._number, time - self._first, layers, self._source.size, image_hwc)
            self._number += 1
            for put in puts:
                put(picture)
