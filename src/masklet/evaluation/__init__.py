"""Benchmarks: J, F, J&F for masks; success, precision, AO and SR for boxes.

    dataset = open_layout("davis2017", "DAVIS", split="val")
    evaluation = score_results(dataset, "my_results")
    print(evaluation.summary.j_and_f)

`masklet evaluate` is the same on the command line, and runs the tracker too (`evaluate_run`).
"""

from __future__ import annotations

from masklet.evaluation.layouts import open_layout
from masklet.evaluation.score import score_results

__all__ = ["open_layout", "score_results"]
