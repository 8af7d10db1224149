"""Evaluations as a table for the terminal and as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from masklet.atomic import atomic_path
from masklet.errors import ExportError
from masklet.evaluation.boxes import BoxMeasures, BoxScores
from masklet.evaluation.first_mask import FirstMask
from masklet.evaluation.masks import MaskSummary, ObjectScores
from masklet.evaluation.score import BoxEvaluation, Evaluation, MaskEvaluation
from masklet.evaluation.statistics import paired_difference

Row = dict[str, "str | float | int"]


def summary_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """One row per run, with the benchmark's measures in percent."""
    rows: list[Row] = []
    for evaluation in evaluations:
        row: Row = {"run": evaluation.name}
        if isinstance(evaluation, MaskEvaluation):
            masks = evaluation.summary
            row |= ({"overall": 100 * masks.overall} if masks.groups else {}) | _mask_measures(masks)
            for group, (j, f) in masks.groups.items():
                row |= {f"J {group}": 100 * j, f"F {group}": 100 * f}
            row["objects"] = masks.objects
        else:
            boxes = evaluation.summary
            row |= _box_measures(boxes, ("AO", "SR50", "SR75") if np.isnan(boxes.precision) else _BOX_MEASURES)
            row["sequences"] = boxes.sequences
        if evaluation.frames_per_second is not None:
            row["fps"] = evaluation.frames_per_second
        rows.append(row)
    return rows


def _mask_measures(scores: MaskSummary | ObjectScores) -> Row:
    row: Row = {"J&F": 100 * scores.j_and_f}
    for name, part in (("J", scores.j), ("F", scores.f)):
        row |= {name: 100 * part.mean, f"{name} rec": 100 * part.recall, f"{name} dec": 100 * part.decay}
    return row


_BOX_MEASURES = {
    "AUC": "success_auc",
    "Pnorm": "normalised_precision",
    "P": "precision",
    "AO": "average_overlap",
    "SR50": "success_rate_50",
    "SR75": "success_rate_75",
}


def _box_measures(scores: BoxMeasures, names: Iterable[str] = _BOX_MEASURES) -> Row:
    return {name: 100 * getattr(scores, _BOX_MEASURES[name]) for name in names}


def detail_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """One row per run and object (masks), or per run and sequence (boxes), in percent."""
    rows: list[Row] = []
    for run, scores in _scores_of(evaluations):
        row: Row = {"run": run, "sequence": scores.sequence}
        if isinstance(scores, ObjectScores):
            row |= {"object": scores.object_id, "frames": len(scores.frames), **_mask_measures(scores)}
        else:
            row |= {"frames": len(scores.overlap), **_box_measures(scores)}
        rows.append(row | {"group": scores.group})
    return rows


def difference_rows(evaluations: Sequence[Evaluation], at_once: int | None = None) -> list[Row]:
    """One row per run but the first, with the differences of its sequences' scores to the first run's, in percent.

    Args:
        at_once: compare so many runs in turn with the first of them; all of them by default.
    """
    rows: list[Row] = []
    at_once = at_once or max(1, len(evaluations))
    for start in range(0, len(evaluations), at_once):
        base, *others = evaluations[start : start + at_once]
        for other in others:
            found = paired_difference(base.by_sequence, other.by_sequence)
            rows.append(
                {
                    "run": other.name,
                    "against": base.name,
                    "difference": 100 * found.mean,
                    "95 % from": 100 * found.low,
                    "to": 100 * found.high,
                    "better": found.better,
                    "worse": found.worse,
                    "sure": "yes" if found.low > 0 or found.high < 0 else "no",
                }
            )
    return rows


def frame_rows(evaluations: Sequence[Evaluation]) -> list[Row]:
    """One row per run, object and frame."""
    rows: list[Row] = []
    for run, scores in _scores_of(evaluations):
        row: Row = {"run": run, "sequence": scores.sequence}
        if isinstance(scores, ObjectScores):
            row["object"] = scores.object_id
            measured = zip(scores.frames, scores.region.tolist(), scores.boundary.tolist(), strict=True)
            rows += [row | {"frame": frame, "J": j, "F": f} for frame, j, f in measured]
        else:
            rows += [row | {"scored frame": i, "overlap": o} for i, o in enumerate(scores.overlap.tolist())]
    return rows


def _scores_of(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, ObjectScores | BoxScores]]:
    """Everything that was scored on its own, with the run's name."""
    for evaluation in evaluations:
        for scores in evaluation.objects if isinstance(evaluation, MaskEvaluation) else evaluation.sequences:
            yield evaluation.name, scores


def curve_rows(evaluations: Sequence[BoxEvaluation]) -> list[Row]:
    """Success, precision and normalised precision curves, one row per run and threshold."""
    return [
        {"run": evaluation.name, "measure": measure, "threshold": threshold, "share": share}
        for evaluation in evaluations
        for measure, thresholds, values, _ in evaluation.summary.curves()
        for threshold, share in zip(thresholds.tolist(), values.tolist(), strict=False)
    ]


def first_mask_rows(run: str, masks: Sequence[FirstMask]) -> tuple[Row, list[Row]]:
    """The means over all first masks, and one row for each of them; IoU in percent."""
    details: list[Row] = []
    for mask in masks:
        row: Row = {"run": run, "sequence": mask.sequence, "frame": mask.frame, "object": mask.object_id}
        row |= {way: 100 * iou for way, iou in mask.iou.items()}
        details.append(row)
    means = {way: 100 * float(np.mean([mask.iou[way] for mask in masks])) for way in masks[0].iou}
    return {"run": run, **means, "masks": len(masks)}, details


def table(evaluations: Sequence[Evaluation], title: str = "", *, details: bool = False) -> Table:
    """Runs side by side; with `details` one line per object or sequence."""
    rows = detail_rows(evaluations) if details else summary_rows(evaluations)
    columns = _columns(rows)
    if details:
        columns = [name for name in columns if any(row.get(name, "") != "" for row in rows)]
    return table_of(rows, columns, title)


def table_of(rows: Sequence[Row], columns: Sequence[str], title: str = "") -> Table:
    """These columns of rows, each named by its key."""
    result = Table(title=title or None, box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in columns:
        number = any(isinstance(row.get(name), int | float) for row in rows)
        result.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        result.add_row(*(_text(row.get(name, "")) for name in columns))
    return result


def _text(value: str | float | int) -> str:
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:.1f}"
    return str(value)


def _columns(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows as CSV (UTF-8, comma, one header line). An existing file is replaced in one step.

    Raises:
        ExportError, SourceError: the file can't be written, or is a source.
    """
    columns = _columns(rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})
    with atomic_path(path, error=ExportError) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def write_reports(folder: Path, evaluations: Sequence[Evaluation], differences: Sequence[Row] = ()) -> list[Path]:
    """Writes summary.csv, details.csv, frames.csv, for boxes curves.csv, and differences.csv. Gives their paths.

    Raises:
        ExportError, SourceError: a file can't be written, or is a source.
    """
    reports = {
        "summary.csv": summary_rows(evaluations),
        "details.csv": detail_rows(evaluations),
        "frames.csv": frame_rows(evaluations),
    }
    boxes = [evaluation for evaluation in evaluations if isinstance(evaluation, BoxEvaluation)]
    if boxes:
        reports["curves.csv"] = curve_rows(boxes)
    if differences:
        reports["differences.csv"] = list(differences)
    for name, rows in reports.items():
        write_csv(folder / name, rows)
    return [folder / name for name in reports]
