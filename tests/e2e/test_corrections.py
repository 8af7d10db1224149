"""Every kind of correction on a real clip, made in every way: what follows from it keeps following the object."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.e2e.test_track_command import MASK, call, iou, outline, read

from masklet import Session
from masklet.masks import rle
from masklet.project import Project
from masklet.runs.actions import correct, track

FIRST, CORRECTED, JUDGED = 48, 60, 72  # there is a mask of the first, and an outline drawn by hand of the last
KINDS = ["a click", "a lone negative click", "clicks of both kinds", "a box", "a painted mask"]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, bunny_clip: Path) -> Path:
    path = tmp_path_factory.mktemp("corrections") / "bunny.masklet"
    with Project.create(path, bunny_clip) as project:
        bunny = project.add_object(1, "bunny")
        project.add_prompt(FIRST, bunny.id, mask=np.array(Image.open(MASK)).astype(bool))
        track(project, start=FIRST, end=JUDGED, device="cpu")
    return path


def said(kind: str, mask_hw: np.ndarray) -> dict[str, Any]:
    """A correction of a mask: on its thickest place, or well beside it."""
    inside = np.unravel_index(np.argmax(cv2.distanceTransform(mask_hw.view(np.uint8), cv2.DIST_L2, 5)), mask_hw.shape)
    around = cv2.dilate(mask_hw.view(np.uint8), np.ones((81, 81))) == 0
    outside = np.argwhere(around)[len(np.argwhere(around)) // 2]
    on, beside = (float(inside[1]), float(inside[0])), (float(outside[1]), float(outside[0]))
    ys, xs = mask_hw.nonzero()
    found: dict[str, dict[str, Any]] = {
        "a click": {"points": [on], "labels": [1]},
        "a lone negative click": {"points": [beside], "labels": [0]},
        "clicks of both kinds": {"points": [on, beside], "labels": [1, 0]},
        "a box": {"box": (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)},
        "a painted mask": {"mask": cv2.morphologyEx(mask_hw.view(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9))) > 0},
    }
    return found[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_keeps_following_the_object(kind: str, tracked: Path, bunny_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "bunny.masklet"
    shutil.copy(tracked, path)
    with Project.open(path) as project:
        given = said(kind, project.mask(CORRECTED, 1).mask)
        before = iou(project.mask(JUDGED, 1).mask, outline(JUDGED))
        correct(project, CORRECTED, 1, **given, device="cpu")
        after, kept = project.mask(JUDGED, 1).mask, project.said(1)[CORRECTED, 1]
        at_once = project.mask(CORRECTED, 1).mask
    assert min(before, iou(after, outline(JUDGED))) > 0.6
    with Session(bunny_clip, "nano", device="cpu") as session:
        session.add_prompt(FIRST, 1, mask=np.array(Image.open(MASK)).astype(bool))
        for _ in session.propagate(FIRST, JUDGED):
            pass
        answer = session.add_prompt(CORRECTED, 1, **given)[1].mask
        assert session.prompts(CORRECTED, 1) == kept  # one meaning, whoever says it
        assert iou(answer, at_once) > 0.99
        for masks in session.propagate(CORRECTED, JUDGED):
            last = masks[1].mask
    assert iou(last, after) > 0.9


def test_a_negative_click_that_was_typed_ahead_means_the_same(tracked: Path, bunny_clip: Path, tmp_path: Path) -> None:
    with Project.open(tracked, read_only=True) as project:
        there = project.mask(CORRECTED, 1)
        [(x, y)] = said("a lone negative click", there.mask)["points"]
        before = iou(project.mask(JUDGED, 1).mask, outline(JUDGED))
    folder = tmp_path / "out"
    arguments = ["--mask", f"bunny@{FIRST}:{MASK}", "--negative", f"bunny@{CORRECTED}:{x:g},{y:g}", "--no-overlay"]
    arguments += ["--start", str(FIRST), "--end", str(JUDGED), "--device", "cpu"]
    assert call("track", bunny_clip, *arguments, "-o", folder) == 0
    content = read(folder)
    assert iou(rle.decode(content["frames"][-1]["objects"][0]["rle"]), outline(JUDGED)) > before - 0.03
    first, *resolved = content["objects"][0]["prompts"]
    assert first["frame"] == FIRST
    assert resolved == [
        {"frame": CORRECTED, "rle": there.rle, "origin": "tracked"},
        {"frame": CORRECTED, "points": [[x, y]], "labels": [0]},
    ]


def test_another_candidate_is_followed(bunny_clip: Path) -> None:
    whole = np.array(Image.open(MASK)).astype(bool)
    on = said("a click", whole)["points"]
    with Session(bunny_clip, "nano", device="cpu") as session:
        session.add_prompt(FIRST, 1, points=on)
        overlaps = [iou(candidate.mask, whole) for candidate in session.candidates(FIRST, 1)]
        chosen = session.choose(FIRST, 1, int(np.argmax(overlaps)))[1]
        assert iou(chosen.mask, whole) == max(overlaps) > 0.5
        for masks in session.propagate(FIRST, JUDGED):
            last = masks[1].mask
    assert iou(last, outline(JUDGED)) > 0.5
