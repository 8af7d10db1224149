"""A table for spreadsheets and scripts: boxes, areas, centres and scores."""

from __future__ import annotations

import csv
import io
from typing import ClassVar

import numpy as np

from masklet.export.base import Exporter, FrameOptions
from masklet.export.job import Job
from masklet.masks import rle

COLUMNS = (
    *("frame", "time", "object_id", "object", "x1", "y1", "x2", "y2", "width", "height", "area", "area_share"),
    *("centroid_x", "centroid_y", "object_score", "predicted_iou", "motion_score", "lost", "is_prompt", "painted"),
    "found_again",
)


class Csv(Exporter):
    name = "csv"
    title = "CSV table"
    description = "One row per object and frame: box, area, centroid and scores, in pixels of the source"
    group = "dataset"
    soft = False
    extensions = (".csv",)
    options: ClassVar[type[FrameOptions]] = FrameOptions

    def write(self, job: Job, options: FrameOptions) -> None:
        height, width = job.size
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        back = {(i, row["frame"]) for i in job.ids for row in job.project.scores(i) if row["found_again"]}
        for picture in job.pictures(job.indices(options.every, tracked_only=True), pixels=False):
            for layer in picture.layers.values():
                record = layer.record
                box = rle.box(layer.rle)
                area = rle.area(layer.rle)
                sides = (
                    ("",) * 6
                    if box is None
                    else (*(f"{v:g}" for v in box), f"{box[2] - box[0]:g}", f"{box[3] - box[1]:g}")
                )
                centre = ("", "") if box is None else tuple(f"{v:.3f}" for v in centroid(layer.mask_hw))
                scores = vars(record.scores).values()
                table.writerow(
                    [
                        *(picture.index, f"{float(job.source.time_of(picture.index)):.6f}"),
                        *(layer.object.id, plain_cell(layer.object.name), *sides),
                        *(area, f"{area / (height * width):.6f}", *centre),
                        *("" if score is None else f"{score:.4f}" for score in scores),
                        *(int(flag) for flag in (record.lost, record.is_prompt, record.painted)),
                        int((layer.object.id, picture.index) in back),
                    ]
                )
        job.output.text(None, text.getvalue())


def centroid(mask_hw: np.ndarray) -> tuple[float, float]:
    """x and y of the middle of a mask's pixels; the middle of the upper left pixel is (0.5, 0.5)."""
    rows, columns = np.nonzero(mask_hw)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def plain_cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
