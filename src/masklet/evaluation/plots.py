"""Plots of evaluations: scores through time per sequence, success and precision curves. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masklet.atomic import atomic_path
from masklet.errors import ExportError
from masklet.evaluation.masks import ObjectScores
from masklet.evaluation.score import BoxEvaluation, Evaluation, MaskEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = ("overlap above", "centre error up to, pixels", "centre error up to, box sizes")


def write_plots(folder: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """One PNG per sequence with all runs in it, and for boxes curves over the data set. Gives their paths.

    Raises:
        ExportError: matplotlib isn't installed, or a file can't be written.
    """
    try:
        from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    except ImportError as error:
        raise ExportError("plots need matplotlib: pip install 'masklet[plots]'") from error
    masks = [evaluation for evaluation in evaluations if isinstance(evaluation, MaskEvaluation)]
    boxes = [evaluation for evaluation in evaluations if isinstance(evaluation, BoxEvaluation)]
    paths: list[Path] = []

    @contextmanager
    def figure(name: str, rows: int, columns: int, size: tuple[float, float]) -> Iterator[list[Axes]]:
        """Gives the axes of a figure, which is written once they are drawn into."""
        drawn = Figure(figsize=size, layout="constrained")
        yield drawn.subplots(rows, columns, sharex=rows > 1, squeeze=False).ravel().tolist()
        with atomic_path(folder / name, error=ExportError) as temporary:
            drawn.savefig(temporary, format="png", dpi=110)
        paths.append(folder / name)

    for name in dict.fromkeys(tracked.sequence for run in masks for tracked in run.objects):
        with figure(f"{name}.png", 2, 1, (9, 4.5)) as axes:
            _mask_sequence(axes, name, masks)
    for name in dict.fromkeys(scores.sequence for run in boxes for scores in run.sequences):
        with figure(f"{name}.png", 1, 1, (9, 3)) as axes:
            _box_sequence(axes[0], name, boxes)
    if boxes:
        with figure("curves.png", 1, 3, (12, 4)) as axes:
            _curves(axes, boxes)
    return paths


def _mask_sequence(axes: Sequence[Axes], name: str, runs: Sequence[MaskEvaluation]) -> None:
    """J above, F below; one line per run, the mean of the sequence's objects."""
    for axis, measure in zip(axes, ("J", "F"), strict=True):
        for run in runs:
            objects = [tracked for tracked in run.objects if tracked.sequence == name]
            frames, values = _mean_through_time(objects, measure)
            if frames:
                axis.plot(frames, values, label=f"{run.name} ({np.mean(values):.3f})", linewidth=1.4)
        axis.set_ylabel(measure)
        _tidy(axis)
    axes[0].set_title(name)
    axes[1].set_xlabel("frame")


def _mean_through_time(objects: Sequence[ObjectScores], measure: str) -> tuple[list[int], list[float]]:
    collected: dict[str, list[float]] = {}
    for tracked in objects:
        for frame, value in zip(tracked.frames, tracked.region if measure == "J" else tracked.boundary, strict=True):
            collected.setdefault(frame, []).append(float(value))
    names = sorted(collected)
    numbers = [int(frame) for frame in names] if all(f.isdigit() for f in names) else list(range(len(names)))
    return numbers, [float(np.mean(collected[frame])) for frame in names]


def _box_sequence(axis: Axes, name: str, runs: Sequence[BoxEvaluation]) -> None:
    for run in runs:
        for tracked in run.sequences:
            if tracked.sequence == name and tracked.overlap.size:
                shown = np.where(tracked.overlap < 0, np.nan, tracked.overlap)  # a gap where the target is absent
                label = f"{run.name} ({np.clip(tracked.overlap, 0, None).mean():.3f})"
                axis.plot(np.arange(len(shown)), shown, label=label, linewidth=1.4)
    axis.set_title(name)
    axis.set_xlabel("scored frame")
    axis.set_ylabel("overlap")
    _tidy(axis)


def _curves(axes: Sequence[Axes], runs: Sequence[BoxEvaluation]) -> None:
    for run in runs:
        for axis, unit, (measure, thresholds, values, score) in zip(axes, _UNITS, run.summary.curves(), strict=True):
            axis.set_title(measure.capitalize())
            axis.set_xlabel(unit)
            if len(values):
                axis.plot(thresholds, values, label=f"{run.name} ({score:.3f})")
    for axis in axes:
        _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.set_ylim(-0.02, 1.02)
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small", loc="lower left")
