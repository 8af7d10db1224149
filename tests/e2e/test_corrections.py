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
from masklet.media import open_media
from masklet.project import Project, TrackSettings
from masklet.project.review import judge, reviewed
from masklet.results import ObjectMask
from masklet.runs.actions import resume, track
from masklet.runs.agreement import AGREEING_FRAMES
from masklet.runs.corrections import correct, retrack
from masklet.runs.prompting import Prompter

pytestmark = pytest.mark.slow

#: Frames of the demo clip: there is a mask of the first, and an outline drawn by hand of the third.
SHOWN = range(48, 91)
FIRST, CORRECTED, JUDGED, LAST = (SHOWN.index(frame) for frame in (48, 60, 72, 90))
SECOND = 25
WIDTH, HEIGHT = 320, 180
SIZE = 160
KINDS = ["a click", "a lone negative click", "clicks of both kinds", "a box", "a painted mask"]


def small(mask_hw: np.ndarray) -> np.ndarray:
    return cv2.resize(mask_hw.view(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(bool)


def rabbit() -> np.ndarray:
    """The mask of the first frame."""
    return small(np.array(Image.open(MASK)).astype(bool))


def drawn() -> np.ndarray:
    """The outline on the frame that is judged."""
    return small(outline(SHOWN[JUDGED]))


@pytest.fixture(scope="module")
def clip(bunny_clip: Path, session_video_maker) -> Path:
    """A second and a half of the demo clip, small, and quick to decode from any frame."""
    with open_media(bunny_clip) as source:
        shown = [cv2.resize(frame.image_hwc, (WIDTH, HEIGHT)) for frame in source.frames(SHOWN[0], SHOWN[-1] + 1)]
    return session_video_maker.make("corrected.mkv", "ffv1", count=len(shown), size=(WIDTH, HEIGHT), pictures=shown)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    path = tmp_path_factory.mktemp("corrections") / "bunny.masklet"
    with Project.create(path, clip, settings=TrackSettings(resolution=SIZE)) as project:
        bunny = project.add_object(1, "bunny")
        project.add_prompt(FIRST, bunny.id, mask=rabbit())
        track(project, start=FIRST, end=JUDGED, device="cpu")
    return path


def said(kind: str, mask_hw: np.ndarray) -> dict[str, Any]:
    """A correction of a mask: on its thickest place, or well beside it."""
    inside = np.unravel_index(np.argmax(cv2.distanceTransform(mask_hw.view(np.uint8), cv2.DIST_L2, 5)), mask_hw.shape)
    around = cv2.dilate(mask_hw.view(np.uint8), np.ones((21, 21))) == 0
    outside = np.argwhere(around)[len(np.argwhere(around)) // 2]
    on, beside = (float(inside[1]), float(inside[0])), (float(outside[1]), float(outside[0]))
    ys, xs = mask_hw.nonzero()
    found: dict[str, dict[str, Any]] = {
        "a click": {"points": [on], "labels": [1]},
        "a lone negative click": {"points": [beside], "labels": [0]},
        "clicks of both kinds": {"points": [on, beside], "labels": [1, 0]},
        "a box": {"box": (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)},
        "a painted mask": {"mask": cv2.morphologyEx(mask_hw.view(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3))) > 0},
    }
    return found[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_correction_keeps_following_the_object(kind: str, tracked: Path, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "bunny.masklet"
    shutil.copy(tracked, path)
    with Project.open(path) as project:
        given = said(kind, project.mask(CORRECTED, 1).mask)
        before = iou(project.mask(JUDGED, 1).mask, drawn())
        correct(project, CORRECTED, 1, **given, direction="forward", device="cpu")
        after, kept = project.mask(JUDGED, 1).mask, project.said(1)[CORRECTED, 1]
        at_once = project.mask(CORRECTED, 1).mask
    assert min(before, iou(after, drawn())) > 0.6
    with Session(clip, "nano", device="cpu", resolution=SIZE) as session:
        session.add_prompt(FIRST, 1, mask=rabbit())
        for _ in session.propagate(FIRST, CORRECTED):
            pass
        answer = session.add_prompt(CORRECTED, 1, **given)[1].mask
        assert session.prompts(CORRECTED, 1) == kept  # one meaning, whoever says it
        assert iou(answer, at_once) > 0.99
        for masks in session.propagate(CORRECTED, JUDGED):
            last = masks[1].mask
    assert iou(last, after) > 0.9


def test_a_negative_click_that_was_typed_ahead_means_the_same(tracked: Path, clip: Path, tmp_path: Path) -> None:
    with Project.open(tracked, read_only=True) as project:
        there = project.mask(CORRECTED, 1)
        [(x, y)] = said("a lone negative click", there.mask)["points"]
        before = iou(project.mask(JUDGED, 1).mask, drawn())
    folder, mask = tmp_path / "out", tmp_path / "rabbit.png"
    Image.fromarray(rabbit()).save(mask)
    arguments = ["--mask", f"bunny@{FIRST}:{mask}", "--negative", f"bunny@{CORRECTED}:{x:g},{y:g}", "--no-overlay"]
    arguments += ["--start", str(FIRST), "--end", str(JUDGED), "--device", "cpu", "--resolution", str(SIZE)]
    assert call("track", clip, *arguments, "-o", folder) == 0
    content = read(folder)
    assert iou(rle.decode(content["frames"][-1]["objects"][0]["rle"]), drawn()) > before - 0.03
    first, *resolved = content["objects"][0]["prompts"]
    assert first["frame"] == FIRST
    assert resolved == [
        {"frame": CORRECTED, "rle": there.rle, "origin": "tracked"},
        {"frame": CORRECTED, "points": [[x, y]], "labels": [0]},
    ]


def test_another_candidate_is_followed(clip: Path) -> None:
    whole = rabbit()
    on = said("a click", whole)["points"]
    with Session(clip, "nano", device="cpu", resolution=SIZE) as session:
        session.add_prompt(FIRST, 1, points=on)
        overlaps = [iou(candidate.mask, whole) for candidate in session.candidates(FIRST, 1)]
        chosen = session.choose(FIRST, 1, int(np.argmax(overlaps)))[1]
        assert iou(chosen.mask, whole) == max(overlaps) > 0.5
        for masks in session.propagate(FIRST, JUDGED):
            last = masks[1].mask
    assert iou(last, drawn()) > 0.5


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Tracked from the first frame to one second and a half after where it is corrected."""
    path = tmp_path_factory.mktemp("corrections") / "long.masklet"
    with Project.create(path, clip, settings=TrackSettings(resolution=SIZE)) as project:
        bunny = project.add_object(1, "bunny")
        project.add_prompt(FIRST, bunny.id, mask=rabbit())
        track(project, start=FIRST, end=LAST, device="cpu")
    return path


def by_frame(project: Project) -> dict[int, ObjectMask]:
    return {mask.frame: mask for mask in project.masks([1])}


def changed(before: dict[int, ObjectMask], after: dict[int, ObjectMask]) -> list[int]:
    assert before.keys() == after.keys()
    return [frame for frame in before if before[frame] != after[frame]]


def test_tracking_again_ends_where_the_new_masks_agree_with_the_old_ones(long: Path, tmp_path: Path) -> None:
    whole, short = tmp_path / "whole.masklet", tmp_path / "short.masklet"
    shutil.copy(long, whole)
    shutil.copy(long, short)
    sides = CORRECTED - FIRST - 1, LAST - CORRECTED
    with Project.open(short) as project:
        before = by_frame(project)
        said_again = said("a click", project.mask(CORRECTED, 1).mask)
        report = correct(project, CORRECTED, 1, **said_again, device="cpu")
        assert report.complete and report.frames == 1 + sides[0] + SECOND < 1 + sum(sides)
        assert changed(before, by_frame(project))[-1] <= CORRECTED + SECOND
        ends = range(CORRECTED + SECOND - AGREEING_FRAMES + 1, CORRECTED + SECOND + 1)
        assert all(iou(before[frame].mask, project.mask(frame, 1).mask) >= 0.9 for frame in ends)
    with Project.open(whole) as project:
        report = correct(project, CORRECTED, 1, **said_again, until_agrees=False, device="cpu")
        assert report.frames == 1 + sum(sides)


def test_tracking_again_goes_on_while_the_new_masks_differ_and_is_taken_back_as_one_step(
    long: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bunny.masklet"
    shutil.copy(long, path)
    with Project.open(path) as project:
        before = by_frame(project)
        elsewhere = before[CORRECTED].mask[:, ::-1]
        # A prompt changes its own frame, and nothing goes on from there by itself.
        step = project.history()[-1].id + 1
        Prompter(project, device="cpu").paint(CORRECTED, 1, elsewhere)
        corrected = by_frame(project)
        assert changed(before, corrected) == [CORRECTED] and project.run is None
        report = retrack(project, CORRECTED, 1, device="cpu")
        after = by_frame(project)
        assert report.frames == LAST - FIRST
        assert changed(corrected, after) == [frame for frame in before if frame not in (FIRST, CORRECTED)]
        # What was there before can be compared, and comes back as it was.
        assert {frame: project.mask_before(step, frame, 1) for frame in before} == before
        assert project.undo() == f"Re-track bunny from frame {CORRECTED}"
        assert by_frame(project) == corrected
        assert project.undo() == "Paint" and by_frame(project) == before
        # What is changed while it stands still makes no difference to where it ends.
        project.redo()
        done: list[int] = []
        stop = {
            "progress": lambda told: done.append(told.done),
            "stopped": lambda: done[-1] == CORRECTED - FIRST + SECOND,
        }
        assert not retrack(project, CORRECTED, 1, device="cpu", **stop).complete
        project.update_object(1, name="fox")
        assert resume(project, device="cpu").complete and by_frame(project) == after


def test_accepted_frames_are_never_tracked_again(long: Path, tmp_path: Path) -> None:
    path = tmp_path / "bunny.masklet"
    shutil.copy(long, path)
    with Project.open(path) as project:
        before = by_frame(project)
        for first, last in ((4, 6), (18, 22)):
            judge(project, 1, first, last, "accepted")
        given = said("a click", before[CORRECTED].mask)
        report = correct(project, CORRECTED, 1, **given, until_agrees=False, device="cpu")
        assert report.frames == 17 - 7 + 1
        assert set(changed(before, by_frame(project))) <= set(range(7, 18))
        assert [(kept.first, kept.last) for kept in reviewed(project, 1, "accepted")] == [(4, 6), (18, 22)]
