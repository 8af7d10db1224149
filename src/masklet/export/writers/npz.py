"""All masks in one NumPy archive."""

from __future__ import annotations

import io
import zipfile
from typing import ClassVar

import numpy as np
from pydantic import Field

from masklet.export.base import Exporter, FrameOptions
from masklet.export.imaging import to_float
from masklet.export.job import Job


class NpzOptions(FrameOptions):
    soft: bool = Field(default=False, description="Opacity as float16 instead of boolean masks")


class Npz(Exporter):
    name = "npz"
    title = "NumPy archive"
    description = "masks (frames, objects, height, width) with frames, times, ids, names and scores"
    group = "dataset"
    extensions = (".npz",)
    options: ClassVar[type[NpzOptions]] = NpzOptions

    def write(self, job: Job, options: NpzOptions) -> None:
        indices = job.indices(options.every, tracked_only=True)
        kind = np.dtype(np.float16 if options.soft else np.bool_)
        shape = (len(indices), len(job.objects), *job.size)
        scores = {
            name: np.full(shape[:2], np.nan, np.float32)
            for name in ("object_scores", "predicted_ious", "motion_scores")
        }
        lost = np.zeros(shape[:2], np.bool_)
        with zipfile.ZipFile(job.output.file(), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            # Frame by frame into the archive: the array as a whole may be larger than memory.
            with archive.open("masks.npy", "w", force_zip64=True) as entry:
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header, {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
                )
                entry.write(header.getvalue())
                for picture in job.pictures(indices, pixels=False):
                    stack = np.zeros(shape[1:], kind)
                    for place, chosen in enumerate(job.objects):
                        layer = picture.layers.get(chosen.id)
                        if layer is None:
                            continue
                        stack[place] = to_float(layer.opacity_hw) if options.soft else layer.mask_hw
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
