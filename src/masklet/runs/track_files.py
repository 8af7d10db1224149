"""The files of a tracking run, written by a thread of its own while the network is busy with the next frames.

masks/<object>/00000.png   white on black, the size of the video, one for every frame
overlay.mp4                the video with every object in its colour
masklets.json              run lengths and scores
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from masklet.errors import MediaError
from masklet.masks import rle
from masklet.masks.render import overlay
from masklet.media import MediaReader, VideoWriter
from masklet.results import FrameMasks, ObjectMask
from masklet.runs.masklets_file import FrameSpool, write_masklets
from masklet.runs.objects import TrackedObject
from masklet.sources import refuse_source

MASKLETS, OVERLAY, MASKS = "masklets.json", "overlay.mp4", "masks"
_WAITING = 6  # frames between the network and the files: more would only cost memory
_POLL_SECONDS = 0.1
# Runs are all that there is to find in a mask of two colours: quicker than any other way, and smaller.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):  # OpenCV 4.11
    _PNG += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]


@dataclass(frozen=True)
class Wanted:
    """Which files to write, besides masklets.json."""

    masks: bool = True
    overlay: bool = True


class TrackFiles:
    """What a run writes. Frames are handed over with `put`; at the end come `drain`, `write_masklets`, `write_overlay`.

    Args:
        folders: for the masks of each object, by id, relative to `folder`.
        live: the frames come in the order of the video, so that the overlay can be written as they come; otherwise it
            is made at the end from the run lengths.
        listener: told about every frame's entry (see docs/cli.md) when its files are written, in the thread.

    Raises:
        MediaError: the folder can't be written to.
    """

    def __init__(
        self,
        folder: Path,
        reader: MediaReader,
        objects: Sequence[TrackedObject],
        folders: Mapping[int, str],
        wanted: Wanted,
        *,
        live: bool,
        listener: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.folder = folder
        self._listener = listener
        self.notes: list[str] = []
        self._reader, self._wanted = reader, wanted
        self._names = {thing.id: thing.name for thing in objects}
        self._folders = folders
        self._digits = max(5, len(str(len(reader) - 1)))
        self.spool = FrameSpool(folder / MASKLETS)
        self._live = live and wanted.overlay
        self._video: VideoWriter | None = None
        self._first_time = Fraction(0)
        self._queue: queue.Queue[tuple[FrameMasks, np.ndarray] | None] = queue.Queue(_WAITING)
        self._problem: BaseException | None = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="masklet-files", daemon=True)
        if wanted.masks:
            for name in folders.values():
                _make_folder(folder / name)
        self._thread.start()

    def put(self, masks: FrameMasks, image_hwc: np.ndarray) -> None:
        """Hand a frame over; waits while too many are waiting. Raises what writing an earlier one raised."""
        while True:
            self._raise_problem()
            with contextlib.suppress(queue.Full):
                self._queue.put((masks, image_hwc), timeout=_POLL_SECONDS)
                return

    def drain(self) -> None:
        """Wait until everything that was handed over is written (or could not be)."""
        while self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_POLL_SECONDS)
                break
        while self._thread.is_alive():  # a join without end could not be interrupted on Windows
            self._thread.join(_POLL_SECONDS)

    def write_masklets(self, header: dict[str, Any]) -> None:
        """Write masklets.json, after `drain`: a header and every frame so far."""
        write_masklets(self.folder / MASKLETS, header, self.spool)

    def write_overlay(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Complete the overlay, after `drain`; one that could not be written on the way is made now.

        Args:
            progress: told about frames of an overlay that is made now, (done, all).

        Raises:
            MediaError: it can't be written, or what was wrong with writing an earlier frame.
        """
        self._raise_problem()
        if self._wanted.overlay and not self._live:
            self._draw_all(progress)
        if self._video is not None:
            self._video.commit()
            self.notes += self._video.notes

    def close(self) -> None:
        """Stop and remove what is not complete. Complete files stay."""
        self._given_up.set()
        self._thread.join()
        if self._video is not None:
            self._video.abort()
        self.spool.close()

    # --- the thread --------------------------------------------------------------------------------------------

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise self._problem

    def _work(self) -> None:
        try:
            while not self._given_up.is_set():
                with contextlib.suppress(queue.Empty):
                    entry = self._queue.get(timeout=_POLL_SECONDS)
                    if entry is None:
                        return
                    self._write(*entry)
        except OSError as error:
            place = error.filename or self.folder
            self._problem = MediaError(f"{place} can't be written: {error.strerror or error}.")
        except BaseException as error:  # handed over, whatever it is
            self._problem = error

    def _write(self, masks: FrameMasks, image_hwc: np.ndarray) -> None:
        if self._wanted.masks:
            for found in masks:
                self._write_png(masks.index, found)
        entry = _entry(masks)
        self.spool.put(entry)
        if self._listener is not None:
            self._listener(entry)
        if self._live:
            self._draw(masks.index, image_hwc, {found.object_id: found.mask for found in masks})

    def _write_png(self, frame: int, found: ObjectMask) -> None:
        done, data = cv2.imencode(".png", found.mask.view(np.uint8) * np.uint8(255), _PNG)
        assert done
        path = self.folder / self._folders[found.object_id] / f"{frame:0{self._digits}d}.png"
        # Short names that only this thread uses; a frame is too little to wait for the disk.
        refuse_source(path)
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.write_bytes(data.tobytes())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    # --- the overlay -------------------------------------------------------------------------------------------

    def _draw(self, frame: int, image_hwc: np.ndarray, masks: dict[int, np.ndarray]) -> None:
        time = self._reader.time_of(frame)
        if self._video is None:
            self._first_time = time
            self._video = self._open_video(time)
        self._video.write(overlay(image_hwc, masks, names=self._names), time - self._first_time)

    def _open_video(self, start: Fraction) -> VideoWriter:
        info = self._reader.info
        sound = info.path if info.has_audio and Path(info.path).is_file() else None
        return VideoWriter(
            self.folder / OVERLAY,
            info.width,
            info.height,
            info.rate,
            time_base=self._reader.time_base,
            color=info.color,
            pixel_aspect=info.pixel_aspect,
            audio_from=sound,
            audio_start=start,
        )

    def _draw_all(self, progress: Callable[[int, int], None] | None) -> None:
        frames = self.spool.frames()
        wanted = set(frames)
        done = 0
        for frame in self._reader.frames(frames[0], frames[-1] + 1):
            if frame.index not in wanted:
                continue
            entry = self.spool.get(frame.index)
            self._draw(frame.index, frame.image_hwc, {m["id"]: rle.decode(m["rle"]) for m in entry["objects"]})
            done += 1
            if progress is not None:
                progress(done, len(frames))


def _entry(masks: FrameMasks) -> dict[str, Any]:
    return {
        "frame": masks.index,
        "time": None if masks.time is None else round(float(masks.time), 6),
        "objects": [found.to_json() for found in sorted(masks, key=lambda found: found.object_id)],
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} can't be made: {error.strerror or error}.") from error
    if not os.access(folder, os.W_OK):
        raise MediaError(f"The folder {folder} can't be written to: permission denied.")
