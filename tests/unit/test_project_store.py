"""Projects: what is kept, edits, undo and redo."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import InputError, ProjectError, UnknownObjectError
from masklet.masks import rle
from masklet.media import open_media
from masklet.project import Project, TrackSettings, history
from masklet.project.history import History, HistoryStep
from masklet.project.source import SourceReference
from masklet.prompts import Prompt
from masklet.results import ObjectMask, Scores


def contents(project: Project) -> tuple:
    """Everything a user can see in a project."""
    return (
        project.objects(),
        project.prompts(),
        list(project.masks()),
        project.track_settings,
        project.mask_settings,
    )


def box_mask(frame: int, object_id: int, left: int) -> ObjectMask:
    mask = np.zeros((72, 128), bool)
    mask[10:20, left : left + 9] = True
    return ObjectMask(object_id, frame, rle.encode(mask), scores=Scores(object_score=1.0))


def test_what_was_written_is_there_after_opening_again(make_project, clip: Path) -> None:
    project = make_project(settings=TrackSettings(model="tiny", resolution=512))
    project.update_object(2, name="le rocher", color=(1, 2, 3), locked=True, mask_settings={"grow": 2})
    project.add_prompt(3, 1, points=[(10, 20), (30, 40)], labels=[1, 0])
    project.add_prompt(4, 1, mask=project.mask(4, 1).mask)
    project.set_mask_settings({"fill_holes": 40})
    before = contents(project)
    project.close()
    with Project.open(project.path) as again:
        assert contents(again) == before
        assert again.get_object(2).name == "le rocher" and again.get_object(2).locked
        assert again.track_settings.resolution == 512
        assert again.prompts(3, 1)[0].prompt.points == ((10.0, 20.0), (30.0, 40.0))
        assert again.prompts(4)[0].prompt.mask == again.mask(4, 1).rle
        with open_media(clip) as reader:
            assert again.source.frame_count == len(reader) == 8
            assert again.source.fingerprint == reader.fingerprint()
        assert (again.source.width, again.source.height, again.source.rate) == (128, 72, Fraction(25))
        assert again.source.time_of(5) == Fraction(1, 5)


def test_uneven_time_stamps_are_kept_exactly(tmp_path: Path, uneven_clip) -> None:
    clip, times = uneven_clip
    with Project.create(tmp_path / "a.masklet", clip) as project:
        assert [project.source.time_of(i) for i in range(8)] == times
    with Project.open(tmp_path / "a.masklet") as project:
        assert project.source.times == tuple(times)
        assert project.source.variable_rate


def test_masks_come_by_frame_and_object(make_project) -> None:
    project = make_project()
    order = [(record.frame, record.object_id) for record in project.masks()]
    assert order == [(frame, number) for frame in range(8) for number in (1, 2)]
    assert [r.frame for r in project.masks([2], 2, 5)] == [2, 3, 4]
    assert project.mask(3, 2).lost and project.mask(3, 2).area == 0 and project.mask(3, 2).box_xyxy is None
    assert project.mask(0, 1).is_prompt and not project.mask(1, 1).is_prompt
    assert project.scores(2)[3]["lost"] and project.scores(2)[3]["object_score"] == -3.25
    assert project.tracked_frames(1) == list(range(8))


def test_undo_and_redo_bring_back_everything_masks_too(make_project) -> None:
    project = make_project()
    states = [contents(project)]

    def edited() -> None:
        states.append(contents(project))

    project.update_object(1, name="hare")
    edited()
    project.put_masks([box_mask(2, 1, 5), box_mask(7, 1, 50)])
    edited()
    project.add_prompt(2, 1, points=[(3, 3)], clear_old=False)
    edited()
    project.remove_object(1)
    edited()
    project.set_track_settings(TrackSettings(policy="recency"))
    edited()
    project.clear_masks(2, 1, 3)
    edited()
    labels = []
    for state in reversed(states[:-1]):
        labels.append(project.undo())
        assert contents(project) == state
    assert labels[0] == "Clear masks" and "Remove object" in labels
    for state in states[1:]:
        assert project.redo() is not None
        assert contents(project) == state
    assert project.redo() is None
    # Undo survives closing, and a new edit ends what could be redone.
    project.undo()
    project.close()
    with Project.open(project.path) as again:
        assert contents(again) == states[-2]
        assert again.redo() == "Clear masks"
        again.undo()
        again.add_object(name="third")
        assert again.redo() is None
        assert again.undo() == "Add object"


@settings(max_examples=15, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(["put", "clear", "name", "prompt", "remove", "add"]), st.integers(0, 6)), max_size=8
    )
)
def test_any_edits_are_undone_and_redone(tmp_path_factory, clip: Path, edits: list[tuple[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("edits")
    with Project.create(folder / "a.masklet", clip) as project:
        states = [contents(project)]
        for kind, value in edits:
            known = [found.id for found in project.objects()]
            steps = len(project.history())
            if kind == "add":
                project.add_object()
            elif kind == "prompt":
                project.add_prompt(value, value % 2 + 1, points=[(value, 3)], clear_old=bool(value % 2))
            elif known and kind == "put":
                project.put_masks([box_mask(value, known[-1], 10 * value)])
            elif known and kind == "clear":
                project.clear_masks(known[0], 0, value)
            elif known and kind == "name":
                project.update_object(known[0], name=f"name {value}")
            elif known and kind == "remove":
                project.remove_object(known[value % len(known)])
            if len(project.history()) != steps:
                states.append(contents(project))
        for state in reversed(states[:-1]):
            assert project.undo() is not None
            assert contents(project) == state
        assert project.undo() is None
        for state in states[1:]:
            project.redo()
            assert contents(project) == state


def test_undo_from_several_threads_undoes_a_step_each(make_project, monkeypatch: pytest.MonkeyPatch) -> None:
    project, listed = make_project(), History.steps

    def slowly(history: History) -> list[HistoryStep]:
        found = listed(history)
        time.sleep(0.002)  # another thread would choose the same step, if it could
        return found

    monkeypatch.setattr(History, "steps", slowly)
    project.begin_step("Keep")
    for number in range(24):
        project.update_object(1, name=f"name {number}")
    with ThreadPoolExecutor(4) as pool:
        labels = list(pool.map(lambda _: project.undo(), range(24)))
    assert labels == ["Change object"] * 24
    assert project.get_object(1).name == "bunny" and project.undo() == "Keep"


def test_an_edit_is_all_or_nothing(make_project) -> None:
    project = make_project()
    before = contents(project)
    with pytest.raises(InputError, match="There is no frame 8"), project.edit("Two things"):
        project.update_object(1, name="other")
        project.add_prompt(8, 1, points=[(1, 1)])
    assert contents(project) == before
    assert project.history()[-1].label == "Set up"
    with project.edit("Both"):
        project.update_object(1, name="a")
        project.update_object(2, name="b")
    assert project.undo() == "Both"
    assert contents(project) == before


def test_history_is_bounded(make_project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "STEPS_KEPT", 10)
    project = make_project()
    for number in range(15):
        project.update_object(1, name=f"name {number}")
    assert len(project.history()) == 10
    while project.undo():
        pass
    assert project.get_object(1).name == "name 4"


def test_ids_of_removed_objects_are_not_given_out_again(make_project) -> None:
    project = make_project()
    third = project.add_object()
    project.remove_object(third.id)
    project.close()
    with Project.open(project.path) as again:
        assert again.add_object().id == third.id + 1
        with pytest.raises(InputError, match="object 1 already"):
            again.add_object(1)


def test_tracked_masks_spare_locked_objects_and_painted_frames(make_project) -> None:
    project = make_project()
    project.update_object(2, locked=True)
    hand = np.zeros((72, 128), bool)
    hand[:5] = True
    project.put_masks([ObjectMask(1, 4, rle.encode(hand), painted=True)])
    old = project.mask(3, 2)
    step = project.begin_step("Track")
    for frame in (3, 4, 5):
        step = project.record_masks(step, "Track", [box_mask(frame, 1, 60), box_mask(frame, 2, 60)])
    project.end_step(step)
    assert project.mask(3, 2) == old
    assert project.mask(4, 1).painted and (project.mask(4, 1).mask == hand).all()
    assert project.mask(5, 1) == box_mask(5, 1, 60)
    assert project.undo() == "Track"
    assert project.mask(5, 1) != box_mask(5, 1, 60)
    assert project.mask(4, 1).painted


def test_an_edit_during_tracking_is_undone_alone(make_project) -> None:
    project = make_project()
    step = project.begin_step("Track")
    step = project.record_masks(step, "Track", [box_mask(1, 1, 10)])
    project.update_object(1, name="renamed")
    step = project.record_masks(step, "Track", [box_mask(2, 1, 10)])
    project.end_step(step)
    assert project.undo() == "Track"
    assert project.mask(2, 1) != box_mask(2, 1, 10) and project.mask(1, 1) == box_mask(1, 1, 10)
    assert project.undo() == "Change object"
    assert project.undo() == "Track"
    assert project.get_object(1).name == "bunny" and project.mask(1, 1) != box_mask(1, 1, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.add_prompt(-1, 1, points=[(1, 1)]), "There is no frame -1"),
        (lambda p: p.add_prompt(0, 1), "an empty prompt"),
        (lambda p: p.add_prompt(0, 1, points=[(1, float("nan"))]), "not a finite number"),
        (lambda p: p.add_prompt(0, 1, points=[(1, 1)], labels=[1, 0]), "1 points need 1 labels"),
        (lambda p: p.add_prompt(0, 1, points=[(1, 1)], labels=[7]), "labels are 1"),
        (lambda p: p.add_prompt(0, 1, mask=np.ones((5, 5), bool)), r"mask\'s shape is \(5, 5\)"),
        (lambda p: p.put_masks([ObjectMask(1, 0, rle.encode(np.ones((9, 9), bool)))]), "is 9x9"),
        (lambda p: p.update_object(1, name=" "), "name of an object"),
        (lambda p: p.update_object(1, color=(1, 2, 256)), "A colour must be"),
        (lambda p: p.update_object(1, shape="round"), "no shape"),
        (lambda p: p.set_mask_settings({"grow": float("nan")}), "must be a number"),
        (lambda p: p.set_mask_settings({"sharpness": 1}), "no mask setting"),
        (lambda p: p.update_object(1, mask_settings={"feather": -1}), "must be a number"),
    ],
)
def test_bad_edits_are_refused_and_change_nothing(make_project, change, message: str) -> None:
    project = make_project()
    before = contents(project)
    with pytest.raises(InputError, match=message):
        change(project)
    assert contents(project) == before


def test_prompts_of_older_projects_are_read_and_undone(make_project) -> None:
    """Up to version 3 a row called the box `box` and the mask `mask`."""
    project = make_project()
    mask = project.mask(2, 1).rle
    older = [{"box": [1, 2, 30, 40], "points": [[5, 6]], "labels": [1]}, {"mask": mask, "origin": "tracked"}]
    project.set_prompts(2, 1, [Prompt(box=(0, 0, 9, 9)), Prompt(mask=mask)])
    project.set_prompts(2, 1, [])
    project.close()
    with sqlite3.connect(project.path) as connection:
        for number, data in enumerate(older):
            connection.execute("INSERT INTO prompt VALUES (?, 3, 1, ?)", (100 + number, json.dumps(data)))
        (texts,) = zip(*connection.execute("SELECT row FROM change WHERE row LIKE '%box_xyxy%'"), strict=True)
        for text in texts:
            connection.execute("UPDATE change SET row = ? WHERE row = ?", (text.replace("box_xyxy", "box"), text))
    connection.close()
    with Project.open(project.path) as again:
        expected = (Prompt(((5.0, 6.0),), (1,), (1.0, 2.0, 30.0, 40.0)), Prompt(mask=mask, origin="tracked"))
        assert again.said(1)[3, 1] == expected
        again.undo()
        assert again.said(1)[2, 1] == (Prompt(box=(0, 0, 9, 9)), Prompt(mask=mask))


def test_prompts_that_stay_keep_their_rows(make_project) -> None:
    project = make_project()
    first, second, third = (Prompt(points=((x, 3.0),), labels=(1,)) for x in (1.0, 2.0, 3.0))
    project.set_prompts(5, 1, [first, second])
    kept = project.prompts(5, 1)
    steps = len(project.history())
    project.set_prompts(5, 1, [first, second])
    assert len(project.history()) == steps, "nothing changed"
    project.set_prompts(5, 1, [first, third])
    assert project.prompts(5, 1)[0] == kept[0]
    assert project.said(1)[5, 1] == (first, third)
    project.undo()
    assert project.prompts(5, 1) == kept


def test_a_further_prompt_corrects_the_mask_that_is_there(make_project) -> None:
    project = make_project()
    there = project.mask(4, 1)
    clicked = project.add_prompt(4, 1, points=[(3, 3)], labels=[0], clear_old=False)
    assert clicked == (Prompt(mask=there.rle, origin="tracked"), Prompt(((3.0, 3.0),), (0,)))
    assert project.add_prompt(4, 1, points=[(3, 3)]) == (Prompt(((3.0, 3.0),), (1,)),)


def test_unknown_objects_are_named(make_project) -> None:
    project = make_project()
    for change in (lambda: project.remove_object(9), lambda: project.update_object(9, name="x")):
        with pytest.raises(UnknownObjectError, match=r"no object 9 .*its objects are: 1 \(bunny\), 2 \(rock\)"):
            change()


def test_frames_in_memory_can_not_be_a_source(tmp_path: Path, demo_images: np.ndarray) -> None:
    with open_media(demo_images) as reader, pytest.raises(InputError, match="can't be found again"):
        Project.create(tmp_path / "a.masklet", reader)
    assert list(tmp_path.iterdir()) == []


def test_creating_over_a_project_needs_permission(make_project, clip: Path) -> None:
    project = make_project()
    project.close()
    kept = project.path.read_bytes()
    with pytest.raises(ProjectError, match="exists already"):
        Project.create(project.path, clip)
    assert project.path.read_bytes() == kept
    with Project.create(project.path, clip, overwrite=True) as fresh:
        assert fresh.objects() == []


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.integers(1, 10**9), max_size=30),
    tick=st.fractions(min_value=Fraction(1, 10**6), max_value=10, max_denominator=10**6),
    rate=st.fractions(min_value=Fraction(1, 100), max_value=1000),
)
def test_time_stamps_round_trip_exactly(steps: list[int], tick: Fraction, rate: Fraction) -> None:
    times = (Fraction(0), *(ticks * tick for ticks in accumulate(steps)))
    source = SourceReference("a.mp4", "a.mp4", "video", "f", 10, 20, len(times), rate, times=times)
    assert SourceReference.from_row(source.row()) == source
    even = SourceReference("a.mp4", None, "video", "f", 10, 20, 7, rate)
    assert SourceReference.from_row(even.row()) == even and even.time_of(6) == 6 / rate


def test_threads_share_a_project(make_project) -> None:
    """One thread tracks, one edits, one looks: nothing is lost, and no read sees half of an edit."""
    project = make_project()
    problems: list[BaseException] = []
    done = threading.Event()

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as problem:
                problems.append(problem)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def track() -> None:
        step = project.begin_step("Track")
        for index in range(60):
            step = project.record_masks(step, "Track", [box_mask(index % 8, 1, index)])
        project.end_step(step)

    def edit() -> None:
        for index in range(12):
            with project.edit("Both"):
                project.update_object(1, name=f"a {index}")
                project.update_object(2, name=f"b {index}")

    def look() -> None:
        while not done.is_set():
            first, second = project.objects()
            assert first.name == "bunny" or first.name.split()[1] == second.name.split()[1]
            assert len(list(project.masks([1]))) == 8

    workers = [guarded(track), guarded(edit)]
    watcher = guarded(look)
    for worker in workers:
        worker.join()
    done.set()
    watcher.join()
    assert problems == []
    assert project.mask(3, 1) == box_mask(3, 1, 59) and project.get_object(2).name == "b 11"
    before = project.path
    project.close()
    with Project.open(before) as again:
        assert again.mask(3, 1) == box_mask(3, 1, 59)
