"""Which frames a run goes through: for any prompts, range and direction, and after it was stopped anywhere."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.project.run import Leg, RunPlace, TrackingRun
from masklet.prompts import Prompt
from masklet.runs.objects import TrackedObject
from masklet.runs.plan import ascending, legs_left, make_legs, moved_to

LAST = 14
frames = st.integers(0, LAST)
ranges = st.tuples(frames, frames).map(lambda ends: range(min(ends), max(ends) + 1))
objects = st.lists(st.sets(frames, min_size=1, max_size=3), min_size=1, max_size=3).map(
    lambda prompts: [
        TrackedObject(number, f"object {number}", dict.fromkeys(sorted(where), SHOWN))
        for number, where in enumerate(prompts, 1)
    ]
)

SHOWN = (Prompt(points=((1, 1),), labels=(1,)),)


def walk(legs: list[Leg]) -> list[tuple[int, int]]:
    """(frame, object) in the order in which they are kept."""
    return [(frame, i) for leg in legs for frame in leg.frames if leg.keeps(frame) for i in leg.object_ids]


def expected(tracked: TrackedObject, kept: range, direction: str) -> set[int]:
    """The frames that an object has to have."""
    everything = set(kept)
    if direction == "both":
        return everything
    if direction == "forward":
        return {frame for frame in everything if frame >= min(tracked.prompts)}
    return {frame for frame in everything if frame <= max(tracked.prompts)}


@given(objects, ranges, st.sampled_from(["forward", "backward", "both"]))
def test_every_object_gets_every_frame_that_its_prompts_reach_once(
    objects: list[TrackedObject], kept: range, direction: str
) -> None:
    wanted = {tracked.id: expected(tracked, kept, direction) for tracked in objects}
    if not all(wanted.values()):
        with pytest.raises(InputError, match="is prompted on frame"):
            make_legs(objects, kept, direction)
        return
    legs = make_legs(objects, kept, direction)
    walked = walk(legs)
    assert len(walked) == len(set(walked))
    assert set(walked) == {(frame, i) for i, where in wanted.items() for frame in where}
    if direction == "forward":
        assert ascending(legs)
    for leg in legs:  # an object is never under way before it was prompted, seen in the direction of the leg
        for i in leg.object_ids:
            prompts = objects[i - 1].prompts
            assert any((leg.first - frame) * leg.step >= 0 for frame in prompts)


@given(objects, ranges, st.sampled_from(["forward", "backward", "both"]), st.data())
def test_a_run_that_was_stopped_anywhere_goes_on_without_a_gap(
    objects: list[TrackedObject], kept: range, direction: str, data: st.DataObject
) -> None:
    assume(all(expected(tracked, kept, direction) for tracked in objects))
    legs = make_legs(objects, kept, direction)
    steps = [(leg, frame) for leg in legs for frame in leg.frames]
    stopped = data.draw(st.integers(0, len(steps)))
    done = {(frame, i) for leg, frame in steps[:stopped] if leg.keeps(frame) for i in leg.object_ids}
    left = legs_left(legs, {tracked.id: {frame for frame, i in done if i == tracked.id} for tracked in objects})
    assert set(walk(left)) | done == set(walk(legs))
    assert not set(walk(left)) & done
    if stopped == len(steps):
        assert not left


def test_a_stopped_run_can_end_elsewhere() -> None:
    objects = [TrackedObject(1, "a", {2: SHOWN}), TrackedObject(2, "b", {5: SHOWN})]
    run = TrackingRun(legs=tuple(make_legs(objects, range(10), "forward")), place=RunPlace(1, 7))
    longer = moved_to(run, make_legs(objects, range(13), "forward"))
    assert longer is not None and longer.place == run.place and longer.frames_left == 6
    assert moved_to(run, make_legs(objects, range(7), "forward")) is None
    assert moved_to(run, make_legs(objects[:1], range(10), "forward")) is None


def test_later_prompts_join_on_the_way() -> None:
    objects = [
        TrackedObject(1, "a", {2: SHOWN, 9: SHOWN}),
        TrackedObject(2, "b", {5: SHOWN}),
    ]
    assert make_legs(objects, range(10), "both") == [
        Leg(1, 2, 4, (1,), 0),
        Leg(1, 5, 9, (1, 2), 0),
        Leg(-1, 4, 2, (2,), 9),
        Leg(-1, 1, 0, (1, 2), 9),
    ]


def test_tracking_starts_at_a_prompt_before_the_range() -> None:
    tracked = TrackedObject(1, "a", {0: SHOWN, 3: SHOWN, 8: SHOWN})
    [leg] = make_legs([tracked], range(5, 10), "forward")
    assert (leg.first, leg.last, leg.keep_from) == (3, 9, 5)
    assert [frame for frame in leg.frames if leg.keeps(frame)] == [5, 6, 7, 8, 9]
    with pytest.raises(InputError, match="no direction"):
        make_legs([tracked], range(10), "sideways")


def test_no_leg_starts_where_clicks_wait_for_a_mask() -> None:
    waiting = (Prompt(points=((1, 1),), labels=(0,)),)
    tracked = TrackedObject(1, "a", {2: waiting, 5: SHOWN, 8: waiting})
    assert tracked.starts == [5]
    assert [(leg.first, leg.last) for leg in make_legs([tracked], range(10), "forward")] == [(5, 9)]
    assert [(leg.first, leg.last) for leg in make_legs([tracked], range(10), "backward")] == [(5, 0)]
