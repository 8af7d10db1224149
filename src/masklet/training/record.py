"""The record of a run for TensorBoard: scalars, and strips of tracked clips to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.masks.render import overlay
from masklet.models.sam2 import SAM2
from masklet.training.validation import track_clip

if TYPE_CHECKING:
    from masklet.training.trainer import TrainReport

#: Height of a strip's pictures.
_STRIP = 128


class Record:
    """Writes TensorBoard events; without tensorboardX (``pip install masklet[training]``) it writes nothing.

    Args:
        folder: of the events.
        step: where the run goes on: what a killed process wrote after its last save is taken back.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            self._writer: Any = None
        else:
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, report: TrainReport, rate: float) -> None:
        if self._writer is None:
            return
        if report.terms:
            for name, value in report.terms.items():
                self._writer.add_scalar(f"train/{name}", value, report.step)
            self._writer.add_scalar("train/learning_rate", rate, report.step)
            self._writer.add_scalar("speed/steps_per_second", report.steps_per_second, report.step)
            self._writer.add_scalar("speed/frames_per_second", report.frames_per_second, report.step)
        if report.validation is not None:
            for measure, values in (("j", report.validation.j), ("f", report.validation.f)):
                for kind, value in values.items():
                    self._writer.add_scalar(f"validation_{measure}/{kind}", value, report.step)
            self._writer.add_scalar("validation/j_and_f", report.validation.mean, report.step)

    def strips(self, step: int, model: SAM2, clips: Sequence[Any], resolution: int) -> None:
        """Show clips as tracked from a click on each object: one row a clip."""
        if self._writer is not None and clips:
            self._writer.add_image("tracked_from_a_click", strips(model, clips, resolution), step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def strips(model: SAM2, clips: Sequence[Any], resolution: int) -> np.ndarray:
    """A picture of clips as tracked from a click on each object, one row of frames for each: uint8 RGB."""
    import cv2

    rows = []
    for clip in clips:
        frames = [
            overlay(image, {label: mask.mask for label, mask in masks.objects.items()})
            for image, masks in track_clip(model, clip, "click", resolution=resolution)
        ]
        rows.append(np.concatenate([cv2.resize(f, (_STRIP, _STRIP), interpolation=cv2.INTER_AREA) for f in frames], 1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
