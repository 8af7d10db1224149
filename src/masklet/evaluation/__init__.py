"""Benchmarks: J, F, J&F for masks; success, precision, AO and SR for boxes.

    dataset = open_layout("davis2017", "DAVIS", split="val")
    evaluation = score_results(dataset, "my_results")
    print(evaluation.summary.j_and_f)

`masklet evaluate` is the same on the command line, and runs the tracker too (`evaluate_run`).
"""

from __future__ import annotations

from masklet.evaluation.boundary import boundary_accuracy
from masklet.evaluation.boxes import BoxProtocol, BoxScores, BoxSummary, score_boxes, summarize_boxes
from masklet.evaluation.layouts import LAYOUTS, BoxDataset, MaskDataset, open_layout
from masklet.evaluation.masks import MaskSummary, ObjectScorer, ObjectScores, summarize_masks
from masklet.evaluation.region import region_similarity
from masklet.evaluation.score import BoxEvaluation, Evaluation, MaskEvaluation, score_results
from masklet.evaluation.statistics import Difference, Statistics, paired_difference, statistics

__all__ = [
    "LAYOUTS",
    "BoxDataset",
    "BoxEvaluation",
    "BoxProtocol",
    "BoxScores",
    "BoxSummary",
    "Difference",
    "Evaluation",
    "MaskDataset",
    "MaskEvaluation",
    "MaskSummary",
    "ObjectScorer",
    "ObjectScores",
    "Statistics",
    "boundary_accuracy",
    "open_layout",
    "paired_difference",
    "region_similarity",
    "score_boxes",
    "score_results",
    "statistics",
    "summarize_boxes",
    "summarize_masks",
]
