"""Tracking kept in a project: killed and gone on with to the bit, stopped, corrected, undone."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from masklet.errors import InputError, PromptError, UnknownObjectError
from masklet.masks import rle
from masklet.project import Project, TrackSettings
from masklet.results import ObjectMask
from masklet.runs import engine, sessions
from masklet.runs.actions import resume, track
from masklet.runs.corrections import correct
from masklet.runs.engine import RunReport
from masklet.runs.request import TrackProgress

pytestmark = pytest.mark.slow

SETTINGS = TrackSettings(resolution=128, dtype="float32", policy_options={"stable_frames_threshold": 3})
#: Where it matters how good the masks are: the network sees too little at 128.
SHARP = SETTINGS.model_copy(update={"resolution": 192})
FRAMES = 20

# Three processes in turn, which need not import anything: each goes on with the project and says how far it is.
_TRACKERS = """
import os, sys, time
from masklet.project import Project
from masklet.runs.actions import resume, track
from masklet.tracking.session import Session
for number in range(3):
    if not os.fork():
        break
    os.wait()
else:
    sys.exit()
print("tracker", os.getpid(), flush=True)
def progress(state):
    print(state.done, flush=True)
    if number < 2 and state.done:
        time.sleep(0.03 if state.done < 10 else 600)  # killed by now
project = Project.open(sys.argv[1])
if project.run is None:
    track(project, direction="both", start=2, device="cpu", progress=progress)
else:
    resume(project, device="cpu", progress=progress)
"""


@pytest.fixture(scope="module")
def ball_clip(tmp_path_factory: pytest.TempPathFactory, clip_writer) -> Path:
    """A red ball that goes right before the sky of the demo clip, 20 frames of 128x72, without loss."""
    demo = Path(__file__).parents[2] / "src" / "masklet" / "data" / "bunny.mp4"
    images = []
    with av.open(str(demo)) as container:
        for frame in container.decode(video=0):
            images.append(frame.reformat(256, 144, format="rgb24").to_ndarray()[:72, 128:])
            if len(images) == FRAMES:
                break
    y, x = np.mgrid[:72, :128]
    for index, image in enumerate(images):
        image[((x - 16 - 4 * index) ** 2 + (y - 40) ** 2) < 121] = (250, 40, 30)
    return clip_writer(tmp_path_factory.mktemp("ball") / "ball.mkv", np.stack(images))


def new_project(path: Path, clip: Path, settings: TrackSettings = SETTINGS) -> Project:
    project = Project.create(path, clip, settings=settings)
    project.add_object(1, "ball")
    project.add_object(2, "hill")
    project.add_prompt(6, 1, points=[(40, 40)])
    project.add_prompt(6, 1, points=[(100, 60)], labels=[0], clear_old=False)
    project.add_prompt(4, 2, box=(60, 5, 110, 35))
    return project


@pytest.fixture
def make(tmp_path: Path, ball_clip: Path) -> Iterator[Any]:
    made: list[Project] = []

    def build(name: str = "ball.masklet", like: Path | None = None) -> Project:
        if like is None:
            made.append(new_project(tmp_path / name, ball_clip))
        else:
            made.append(Project.open(shutil.copy(like, tmp_path / name)))
        return made[-1]

    yield build
    for project in made:
        project.close()


def masks_of(project: Project) -> list[ObjectMask]:
    return list(project.masks())


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, ball_clip: Path) -> Path:
    """A project in which the ball is tracked."""
    with new_project(tmp_path_factory.mktemp("followed") / "ball.masklet", ball_clip) as project:
        track(project, objects=[1], device="cpu")
    return project.path


@pytest.fixture(scope="module")
def followed_well(tmp_path_factory: pytest.TempPathFactory, ball_clip: Path) -> Path:
    with new_project(tmp_path_factory.mktemp("followed") / "ball.masklet", ball_clip, SHARP) as project:
        track(project, objects=[1], device="cpu")
    return project.path


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory, ball_clip: Path) -> Path:
    """A project whose run was stopped."""
    project = new_project(tmp_path_factory.mktemp("unfinished") / "ball.masklet", ball_clip)
    with interrupted(project, partial(track, direction="both", start=2), "stop", 12) as project:
        return project.path


@pytest.fixture(scope="module")
def put_right(tmp_path_factory: pytest.TempPathFactory, unfinished: Path) -> list[ObjectMask]:
    """What the unfinished run gives with a correction that nobody interrupts."""
    with Project.open(shutil.copy(unfinished, tmp_path_factory.mktemp("put_right"))) as project:
        assert correct_it(project, device="cpu").complete and project.run is None
        return masks_of(project)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ball_clip: Path) -> list[ObjectMask]:
    """What a run that nobody interrupts gives."""
    with new_project(tmp_path_factory.mktemp("whole") / "whole.masklet", ball_clip) as project:
        report = track(project, direction="both", start=2, device="cpu")
        assert report.complete and project.run is None and project.tracker_state == {}
        return list(project.masks())


def test_tracking_fills_the_project(whole: list[ObjectMask]) -> None:
    frames = {number: [r.frame for r in whole if r.object_id == number] for number in (1, 2)}
    assert frames == {1: list(range(2, FRAMES)), 2: list(range(2, FRAMES))}
    prompts = {(r.frame, r.object_id) for r in whole if r.is_prompt}
    assert prompts == {(6, 1), (4, 2)}


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 there")
def test_kill_9_and_resume_give_the_same_masks_to_the_bit(make, whole: list[ObjectMask]) -> None:
    project = make()
    project.close()
    chance = random.Random(7)
    command = [sys.executable, "-c", _TRACKERS, str(project.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trackers:
        assert trackers.stdout is not None
        lines = map(str.split, trackers.stdout)
        for _ in range(2):
            tracker = next(int(words[1]) for words in lines if words[0] == "tracker")
            wanted = chance.randrange(4, 9)
            next(words for words in lines if int(words[0]) >= wanted)
            time.sleep(chance.random() * 0.03)
            os.kill(tracker, signal.SIGKILL)
        trackers.communicate()
    with Project.open(project.path) as done:
        assert done.run is None
        assert masks_of(done) == whole
        assert done.undo() == "Track"
        assert masks_of(done) == []


@pytest.mark.parametrize("after", [1, 11, 15, 19])
def test_a_stopped_run_goes_on_in_another_session(make, whole: list[ObjectMask], after: int) -> None:
    project = make()
    seen: list[int] = []
    report = track(
        project,
        direction="both",
        start=2,
        device="cpu",
        progress=lambda s: seen.append(s.done),
        stopped=lambda: seen[-1] >= after,
    )
    assert not report.complete and report.frames == after and project.run is not None
    left = project.run.frames_left
    assert project.run.frames_total == after + left
    project.close()
    with Project.open(project.path) as again:
        rest = resume(again, device="cpu")
        assert rest.complete and rest.frames == left
        assert masks_of(again) == whole
        with pytest.raises(Exception, match="nothing to go on with"):
            resume(again)


correct_it: Callable[..., RunReport] = partial(correct, frame=10, object_id=1, points=[(56, 40)], until_agrees=False)


class Killed(BaseException):
    """Stands for `kill -9` between two frames: nothing that is done at a good end is done."""


def interrupted(project: Project, go: Callable[..., RunReport], how: str, after: int) -> Project:
    """Does `go` for some frames, stops it well or kills it, and opens the project again."""

    def progress(state: TrackProgress) -> None:
        nonlocal done
        done = state.done
        if how == "kill" and done == after:
            raise Killed

    done = 0
    if how == "kill":
        with pytest.raises(Killed):
            go(project, device="cpu", progress=progress)
    else:
        assert not go(project, device="cpu", progress=progress, stopped=lambda: done >= after).complete
    project.close()
    return Project.open(project.path)


# Of the 20 frames, object 2 has the first two alone and object 1 joins at the third; the last four go backwards.
ENDS = [
    ("both", [("kill", 9)]),
    ("both", [("stop", 4), ("kill", 8), ("kill", 2), ("stop", 3), ("kill", 2)]),
    ("both", [("stop", 2), ("kill", 1)]),  # where an object joins
    ("both", [("stop", 16), ("kill", 1), ("kill", 3)]),  # where the way back begins
    ("forward", [("stop", 6), ("kill", 9)]),
    ("forward", [("kill", 6), ("stop", 3), ("kill", 4)]),
]


@pytest.mark.parametrize(("direction", "ends"), ENDS)
@pytest.mark.parametrize("states", ["now and then", "seldom"])
def test_however_often_it_ends_a_run_gives_the_same_masks(
    make,
    whole: list[ObjectMask],
    monkeypatch: pytest.MonkeyPatch,
    direction: str,
    ends: list[tuple[str, int]],
    states: str,
) -> None:
    how_often(monkeypatch, states)
    project = make()
    go: Callable[..., RunReport] = partial(track, direction=direction, start=2)
    for how, after in ends:
        project = interrupted(project, go, how, after)
        place_and_state_agree(project)
        go = resume
    with project:
        resume(project, device="cpu")
        first = {1: 6, 2: 4} if direction == "forward" else {1: 2, 2: 2}
        assert masks_of(project) == [r for r in whole if r.frame >= first[r.object_id]] and project.run is None
        assert project.undo() == "Track" and masks_of(project) == []


def place_and_state_agree(project: Project) -> None:
    """What the state knows ends at the place. In a clip as short as this, masks alone would not tell."""
    run, leg = project.run, project.run.legs[project.run.place.leg]
    with sessions.open_session(project, "cpu") as session:
        sessions.restore(session, project, run)
        for number in leg.object_ids:
            known, prompted = session.tracked_frames(number), session.prompt_frames(number)
            ahead = (engine._AHEAD - 1) * leg.step  # frames that the network has looked at before it was stopped
            assert not [t for t in known if t not in prompted and (t - run.place.frame - ahead) * leg.step > 0]
            assert run.place.frame == leg.first or run.place.frame - leg.step in known


@pytest.mark.parametrize("ends", [[("kill", 5)], [("stop", 3), ("kill", 4)], [("stop", 11), ("kill", 3)]])
@pytest.mark.parametrize("states", ["now and then", "seldom"])
def test_a_correction_of_an_unfinished_run_may_end_too(
    make,
    unfinished: Path,
    put_right: list[ObjectMask],
    monkeypatch: pytest.MonkeyPatch,
    ends: list[tuple[str, int]],
    states: str,
) -> None:
    how_often(monkeypatch, states)
    project, go = make(like=unfinished), correct_it
    for how, after in ends:
        project = interrupted(project, go, how, after)
        go = resume
    with project:
        assert resume(project, device="cpu").complete and project.run is None
        assert masks_of(project) == put_right


def how_often(monkeypatch: pytest.MonkeyPatch, states: str) -> None:
    """Keep the tracker's state every few frames, or only where a run begins or is stopped."""
    clock = itertools.count(step=0.1)
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: next(clock), perf_counter=time.perf_counter))
    monkeypatch.setattr(engine, "_STATE_SECONDS", 0.25 if states == "now and then" else 1e9)
    monkeypatch.setattr(engine, "_STATE_SHARE", 0)
    monkeypatch.setattr(engine, "_STATE_BYTES_PER_SECOND", 1e12)


def test_a_slow_disk_changes_nothing(make, whole: list[ObjectMask], monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is ahead of what is written then: what is told is written all the same, and no more than that."""
    record_run = Project.record_run

    def slowly(*given: Any, **more: Any) -> int | None:
        time.sleep(0.03)
        return record_run(*given, **more)

    monkeypatch.setattr(Project, "record_run", slowly)
    how_often(monkeypatch, "often")
    project = make()
    for told in track.steps(project, direction="both", start=2, device="cpu"):
        assert len({mask.frame for mask in masks_of(project)}) == told.done
        if told.done == 13:
            break
    project.close()
    with Project.open(project.path) as again:
        resume(again, device="cpu")
        assert masks_of(again) == whole


def test_a_run_of_an_older_project_begins_again(make, whole: list[ObjectMask]) -> None:
    """Projects of version 3 kept states that could belong to another place; those are dropped when it is opened."""
    project = interrupted(make(), partial(track, direction="both", start=2), "stop", 5)
    project._database.execute("DELETE FROM tracker_state")
    with project:
        assert resume(project, device="cpu").frames == FRAMES
        assert masks_of(project) == whole


def test_a_prompt_ends_the_run_that_did_not_know_of_it(make) -> None:
    project = make()

    def prompt(state: TrackProgress) -> None:
        if state.done == 5:
            project.add_prompt(15, 1, points=[(76, 40)])

    report = track(project, device="cpu", progress=prompt)
    assert not report.complete and report.frames == 5 and project.run is None
    assert any("Something was changed meanwhile" in note for note in report.notes)
    assert project.tracked_frames(2) == list(range(4, 9))
    assert track(project, device="cpu").complete and project.mask(15, 1).is_prompt


def test_a_correction_decides_its_frame_and_what_follows(make, followed: Path) -> None:
    project = make(like=followed)
    before = masks_of(project)
    clicks = {"points": [(72, 40), (72, 20)], "labels": [1, 0]}
    report = correct(project, 14, 1, **clicks, direction="forward", device="cpu")
    assert report.complete and report.frames == FRAMES - 14
    after = masks_of(project)
    assert [r for r in after if r.frame < 14] == [r for r in before if r.frame < 14]
    assert project.mask(14, 1).is_prompt
    assert [r for r in after if r.frame > 14] != [r for r in before if r.frame > 14]
    said = project.prompts(14, 1)
    assert [kept.prompt.origin for kept in said] == ["tracked", "painted"], "the mask that was there, and the clicks"
    assert said[0].prompt.mask == next(r.rle for r in before if r.frame == 14)
    # One step back takes the prompt and all that followed from it.
    assert project.undo() == "Correct ball on frame 14"
    assert masks_of(project) == before and project.prompts(14, 1) == []
    assert project.redo() == "Correct ball on frame 14"
    assert masks_of(project) == after and project.prompts(14, 1) == said


def ball(frame: int) -> np.ndarray:
    """Where the ball of the clip is, bool (72, 128)."""
    y, x = np.mgrid[:72, :128]
    return ((x - 16 - 4 * frame) ** 2 + (y - 40) ** 2) < 121


def overlap(project: Project) -> list[float]:
    """J with the ball on every tracked frame."""
    found = [(record.mask, ball(record.frame)) for record in project.masks([1])]
    return [(mask & true).sum() / (mask | true).sum() for mask, true in found]


@pytest.mark.parametrize(
    "correction",
    [
        {"points": [(110, 10)], "labels": [0]},
        {"points": [(72, 40)]},
        {"points": [(72, 40), (72, 20)], "labels": [1, 0]},
        {"box": (61, 29, 84, 52)},
        {"mask": ball(14)},
    ],
    ids=["a negative click alone", "a click", "clicks", "a box", "a mask"],
)
def test_tracking_all_again_after_a_correction_keeps_following_the_object(
    make, followed_well: Path, correction: dict[str, Any]
) -> None:
    """What is stored is the mask that was there and the clicks, so that it says the same to a new run."""
    project = make(like=followed_well)
    before = overlap(project)
    assert np.mean(before) > 0.8
    correct(project, 14, 1, **correction, direction="forward", until_agrees=False, device="cpu")
    mask, corrected = project.mask(14, 1), overlap(project)
    track(project, objects=[1], device="cpu")
    after = overlap(project)
    assert project.mask(14, 1) == mask
    assert len(before) == len(after) == FRAMES - 6
    assert after[14 - 6] > (0.99 if "mask" in correction else 0.5)
    assert np.mean(after) == pytest.approx(np.mean(corrected), abs=0.06)
    assert np.mean(after) > np.mean(before) - 0.06


def test_a_click_typed_ahead_that_only_takes_away_corrects_what_tracking_finds(make, followed: Path) -> None:
    """It is stored as what it came to: the mask that was found, and the click."""
    typed, corrected = make("typed.masklet"), make("corrected.masklet", followed)
    typed.add_prompt(14, 1, points=[(72, 24)], labels=[0])
    track(typed, objects=[1], device="cpu", end=16)
    found = corrected.mask(14, 1)
    correct(corrected, 14, 1, points=[(72, 24)], labels=[0], device="cpu")
    assert [kept.prompt for kept in typed.prompts(14, 1)] == [kept.prompt for kept in corrected.prompts(14, 1)]
    assert typed.prompts(14, 1)[0].prompt.mask == found.rle
    assert typed.mask(14, 1) == corrected.mask(14, 1) and typed.mask(14, 1).is_prompt
    again = masks_of(typed)
    assert typed.undo() == "Track" and len(typed.prompts(14, 1)) == 1
    assert typed.redo() == "Track" and masks_of(typed) == again
    with pytest.raises(PromptError, match="shows nothing of ball"):
        correct(corrected, 5, 1, points=[(72, 24)], labels=[0], device="cpu")


def test_a_correction_meets_the_memories_of_the_frames_before(
    make, followed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A negative click alone can only take away from the mask that memory gives: it must have been there."""
    project = make(like=followed)
    found = project.mask(14, 1).mask
    correct(project, 14, 1, points=[(110, 10)], labels=[0], device="cpu")
    corrected = project.mask(14, 1).mask
    assert (found & corrected).sum() / (found | corrected).sum() > 0.5
    # Also where the last prompt is too far away to track all the way from it.
    project.undo()
    monkeypatch.setattr(sessions, "LEAD_IN", 3)
    correct(project, 14, 1, points=[(110, 10)], labels=[0], device="cpu")
    corrected = project.mask(14, 1).mask
    assert (found & corrected).sum() / (found | corrected).sum() > 0.5


def test_a_mask_that_drifted_is_no_prompt_of_what_follows_a_correction(
    make, followed_well: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracking begins from it to bring memories to the corrected frame, and then forgets that it did."""
    project = make(like=followed_well)
    everything = rle.encode(np.ones((72, 128), bool))
    project.put_masks([ObjectMask(1, frame, everything) for frame in range(7, FRAMES)])
    monkeypatch.setattr(sessions, "LEAD_IN", 2)
    correct(project, 9, 1, mask=ball(9), direction="forward", until_agrees=False, device="cpu")
    assert np.mean(overlap(project)[-6:]) > 0.85


def test_a_correction_ends_before_the_next_prompt_and_spares_painted_frames(make, followed: Path) -> None:
    project = make(like=followed)
    correct(project, 18, 1, points=[(88, 40)], device="cpu")
    hand = np.zeros((72, 128), bool)
    hand[:9] = True
    project.put_masks([ObjectMask(1, 15, rle.encode(hand), painted=True)])
    before = {r.frame: r for r in masks_of(project)}
    report = correct(project, 12, 1, box=(50, 28, 78, 52), device="cpu")
    assert report.frames == 17 - 6  # between the two prompts
    after = {r.frame: r for r in masks_of(project)}
    assert all(after[frame] == before[frame] for frame in range(18, FRAMES))
    assert after[15] == before[15] and after[15].painted
    assert after[12] != before[12]


def test_a_correction_before_the_first_prompt_goes_to_the_beginning(make) -> None:
    project = make()
    track(project, objects=[1], direction="both", device="cpu")
    before = {r.frame: r for r in masks_of(project)}
    report = correct(project, 3, 1, points=[(28, 40)], device="cpu")
    assert report.frames == 6  # before the first prompt, which is on frame 6
    after = {r.frame: r for r in masks_of(project)}
    assert all(after[frame] == before[frame] for frame in range(6, FRAMES))
    assert after[3].is_prompt


def test_an_unfinished_run_goes_on_after_a_correction(make) -> None:
    project = make()
    seen: list[int] = []
    track(project, device="cpu", progress=lambda s: seen.append(s.done), stopped=lambda: seen[-1] >= 12)
    assert project.run.place.frame == 16
    correct(project, 10, 1, points=[(56, 40)], device="cpu")
    assert project.run is None
    assert project.tracked_frames(1) == list(range(6, FRAMES)) and project.tracked_frames(2) == list(range(4, FRAMES))


def test_locked_objects_are_left_alone(make) -> None:
    project = make()
    project.update_object(2, locked=True)
    report = track(project, device="cpu", end=8)
    assert "hill is locked and was left as it is." in report.notes
    assert project.tracked_frames(2) == [] and project.tracked_frames(1) == [6, 7, 8]
    with pytest.raises(InputError, match="hill is locked"):
        correct(project, 5, 2, points=[(70, 20)])
    project.update_object(1, locked=True)
    with pytest.raises(InputError, match=r"nothing to track .*hill is locked"):
        track(project)


def test_what_can_not_be_tracked_is_said_and_changes_nothing(make, followed: Path) -> None:
    project = make(like=followed)
    before = masks_of(project), project.prompts(), project.history()
    with pytest.raises(UnknownObjectError):
        correct(project, 5, 9, points=[(1, 1)])
    with pytest.raises(PromptError, match="outside the frame"):
        correct(project, 7, 1, points=[(500, 1)])
    with pytest.raises(InputError, match="no direction"):
        correct(project, 7, 1, points=[(50, 40)], direction="sideways")
    with pytest.raises(InputError, match="no frame 99"):
        correct(project, 99, 1, points=[(50, 40)])
    with pytest.raises(InputError, match="can't be tracked"):
        track(project, start=5, end=99)
    with pytest.raises(InputError, match="no direction"):
        track(project, direction="sideways")
    third = project.add_object(name="third")
    with pytest.raises(InputError, match="third has no point, box or mask"):
        track(project, objects=[third.id])
    project.undo()
    assert (masks_of(project), project.prompts(), project.history()[:-1]) == before


def test_painted_masks_can_be_tracked_on_from(make) -> None:
    project = make()
    y, x = np.mgrid[:72, :128]
    ball = ((x - 56) ** 2 + (y - 40) ** 2) < 121
    third = project.add_object(name="painted")
    project.add_prompt(10, third.id, mask=ball)
    track(project, objects=[third.id], device="cpu", end=14)
    np.testing.assert_array_equal(project.mask(10, third.id).mask, ball)
    assert project.tracked_frames(third.id) == [10, 11, 12, 13, 14]


def test_frames_are_handed_on_as_they_come(make, whole: list[ObjectMask]) -> None:
    project = make()
    steps = track.steps(project, None, 2, None, "both", "cpu")
    seen = [step for step in itertools.islice(steps, 12) if step.masks]
    steps.close()  # stops the run, which can go on
    for step in seen:
        assert step.image_hwc is not None and step.total
        np.testing.assert_array_equal(step.image_hwc, project.open_source().read(step.frame).image_hwc)
        assert [mask for mask in whole if mask in step.masks] == sorted(step.masks, key=lambda mask: mask.object_id)
    resume(project, device="cpu")
    assert masks_of(project) == whole
