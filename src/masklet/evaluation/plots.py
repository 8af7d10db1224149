"""Plots of evaluations: scores through time per sequence, success and precision curves. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.atomic import atomic_path
from masklet.errors import ExportError
from masklet.evaluation.boxes import CENTER_THRESHOLDS, NORMALISED_THRESHOLDS
from masklet.evaluation.masks import ObjectScores
from masklet.evaluation.score import BoxEvaluation, Evaluation, MaskEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_plots(folder: Path, evaluations: Sequence[Evaluation]) -> list[Path]:
    """One PNG per sequence with all runs in it, and for boxes curves over the data set. Gives their paths.

    Raises:
        ExportError: matplotlib isn't installed, or a file can't be written.
    """
    figure_type = _figure_type()
    masks = [evaluation for evaluation in evaluations if isinstance(evaluation, MaskEvaluation)]
    boxes = [evaluation for evaluation in evaluations if isinstance(evaluation, BoxEvaluation)]
    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(tracked.sequence for run in masks for tracked in run.objects):
            figure = figure_type(figsize=(9, 4.5), layout="constrained")
            _mask_sequence(figure.subplots(2, 1, sharex=True), name, masks)
            paths.append(_save(figure, folder / f"{name}.png"))
        for name in dict.fromkeys(scores.sequence for run in boxes for scores in run.sequences):
            figure = figure_type(figsize=(9, 3), layout="constrained")
            _box_sequence(figure.subplots(), name, boxes)
            paths.append(_save(figure, folder / f"{name}.png"))
        if boxes:
            figure = figure_type(figsize=(12, 4), layout="constrained")
            _curves(list(figure.subplots(1, 3)), boxes)
            paths.append(_save(figure, folder / "curves.png"))
    except OSError as error:
        raise ExportError(f"the plots can't be written to {folder}: {error}") from error
    return paths


def _figure_type() -> Any:
    try:
        from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    except ImportError as error:
        raise ExportError("plots need matplotlib: pip install 'masklet[plots]'") from error
    return Figure


def _save(figure: Any, path: Path) -> Path:
    with atomic_path(path, error=ExportError) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


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
        summary = run.summary
        for axis, thresholds, values, score in (
            (axes[0], np.linspace(0, 1, len(summary.success)), summary.success, summary.success_auc),
            (axes[1], CENTER_THRESHOLDS, summary.precision_curve, summary.precision),
            (
                axes[2],
                NORMALISED_THRESHOLDS,
                summary.normalised_precision_curve,
                summary.normalised_precision,
            ),
        ):
            if len(values):
                axis.plot(thresholds, values, label=f"{run.name} ({score:.3f})")
    for axis, title, unit in zip(
        axes,
        ("Success", "Precision", "Normalised precision"),
        ("overlap above", "centre error up to, pixels", "centre error up to, box sizes"),
        strict=True,
    ):
        axis.set_title(title)
        axis.set_xlabel(unit)
        _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.set_ylim(-0.02, 1.02)
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small", loc="lower left")
