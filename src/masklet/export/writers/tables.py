"""Tables: boxes, areas, centres and scores as CSV, and all masks in one NumPy archive."""

from __future__ import annotations

import csv
import io
import zipfile

import numpy as np
from pydantic import Field

from masklet.export.base import FramesExporter
from masklet.export.imaging import to_float
from masklet.export.job import Job
from masklet.masks import rle
from masklet.masks.boxes import centroid

COLUMNS = (
    *("frame", "time", "object_id", "object", "x1", "y1", "x2", "y2", "width", "height", "area", "area_share"),
    *("centroid_x", "centroid_y", "object_score", "predicted_iou", "motion_score", "lost", "is_prompt", "painted"),
    "found_again",
)


class Csv(FramesExporter):
    title = "CSV table"
    description = "One row per object and frame: box, area, centroid and scores, in pixels of the source"
    group = "dataset"
    soft_edges = False
    extensions = (".csv",)

    def write(self, job: Job) -> None:
        height, width = job.size
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        back = {(i, row["frame"]) for i in job.ids for row in job.project.scores(i) if row["found_again"]}
        for picture in job.pictures(job.indices(self.every, tracked_only=True), pixels=False):
            for layer in picture.layers.values():
                record = layer.record
                area = rle.area(layer.rle)
                box = rle.box(layer.rle)
                sides, centre = [""] * 6, [""] * 2
                if box is not None:
                    sides = [f"{v:g}" for v in (*box, box[2] - box[0], box[3] - box[1])]
                    centre = [f"{v:.3f}" for v in centroid(layer.mask_hw)]
                table.writerow(
                    [
                        *(picture.index, f"{float(job.source.time_of(picture.index)):.6f}"),
                        *(layer.object.id, plain_cell(layer.object.name), *sides),
                        *(area, f"{area / (height * width):.6f}", *centre),
                        *("" if score is None else f"{score:.4f}" for score in vars(record.scores).values()),
                        *(int(flag) for flag in (record.lost, record.is_prompt, record.painted)),
                        int((layer.object.id, picture.index) in back),
                    ]
                )
        job.output.text(None, text.getvalue())


def plain_cell(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


class Npz(FramesExporter):
    title = "NumPy archive"
    description = "masks (frames, objects, height, width) with frames, times, ids, names and scores"
    group = "dataset"
    extensions = (".npz",)

    soft: bool = Field(default=False, description="Opacity as float16 instead of boolean masks")

    def write(self, job: Job) -> None:
        indices = job.indices(self.every, tracked_only=True)
        kind = np.dtype(np.float16 if self.soft else np.bool_)
        shape = (len(indices), len(job.objects), *job.size)
        named = ("object_scores", "predicted_ious", "motion_scores")
        scores = {name: np.full(shape[:2], np.nan, np.float32) for name in named}
        lost = np.zeros(shape[:2], np.bool_)
        with zipfile.ZipFile(job.output.file(), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            # Frame by frame into the archive: the array as a whole may be larger than memory.
            with archive.open("masks.npy", "w", force_zip64=True) as entry:
                header = io.BytesIO()
                described = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(header, described)
                entry.write(header.getvalue())
                for picture in job.pictures(indices, pixels=False):
                    stack = np.zeros(shape[1:], kind)
                    for place, chosen in enumerate(job.objects):
                        layer = picture.layers.get(chosen.id)
                        if layer is None:
                            continue
                        stack[place] = to_float(layer.opacity_hw) if self.soft else layer.mask_hw
                        record, row = layer.record, (picture.number, place)
                        lost[row] = record.lost
                        for name, value in zip(scores, vars(record.scores).values(), strict=True):
                            scores[name][row] = np.nan if value is None else value
                    entry.write(stack.tobytes())
            arrays = {
                "frames": np.array(indices, np.int64),
                "times": np.array([float(job.source.time_of(index)) for index in indices]),
                "object_ids": np.array(job.ids, np.int64),
                "object_names": np.array([chosen.name for chosen in job.objects], np.str_),
                "lost": lost,
                **scores,
            }
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
