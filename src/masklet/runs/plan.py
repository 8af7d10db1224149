"""Which frames a run goes through, in which direction, and where it goes on after it was stopped."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from masklet.errors import InputError
from masklet.project.run import Leg, RunPlace, TrackingRun
from masklet.runs.objects import TrackedObject


def make_legs(objects: Sequence[TrackedObject], kept: range, direction: str) -> list[Leg]:
    """The legs of a run. Every leg has the objects that are under way there, so an object joins at its first prompt.

    Forwards an object is tracked from its first prompt on (from the last one before the range, if there is one); `both`
    adds the way back from there. Backwards is the mirror image.

    Raises:
        InputError: an unknown direction, or an object that this direction never meets.
    """
    if direction == "backward":
        ends = {tracked.id: _start(tracked, kept, -1) for tracked in objects}
        _require_met(objects, ends, kept, -1)
        return _split(ends, kept[0], kept[-1], -1)
    ways(direction)
    starts = {tracked.id: _start(tracked, kept, 1) for tracked in objects}
    if direction == "forward":
        _require_met(objects, starts, kept, 1)
    legs = _split({i: start for i, start in starts.items() if start <= kept[-1]}, kept[-1], kept[0], 1)
    if direction == "both":
        back = {i: start - 1 if start <= kept[-1] else start for i, start in starts.items()}
        legs += _split({i: start for i, start in back.items() if start >= kept[0]}, kept[0], kept[-1], -1)
    return legs


def ways(direction: str) -> tuple[Literal[1, -1], ...]:
    """The steps of a direction. Raises InputError for an unknown one."""
    directions: dict[str, tuple[Literal[1, -1], ...]] = {"forward": (1,), "backward": (-1,), "both": (-1, 1)}
    if direction not in directions:
        raise InputError(f"there is no direction {direction!r}; choose one of: {', '.join(directions)}")
    return directions[direction]


def legs_left(legs: Sequence[Leg], tracked: Mapping[int, Container[int]]) -> list[Leg]:
    """What is left of legs: every object from its first frame on that is not one of those `tracked`, by id."""
    left = []
    for leg in legs:
        kept = [frame for frame in leg.frames if leg.keeps(frame)]
        gaps = {i: next((t for t in kept if t not in tracked[i]), None) for i in leg.object_ids}
        starts = {i: leg.first if gap == kept[0] else gap for i, gap in gaps.items() if gap is not None}
        left += _split(starts, leg.last, leg.keep_from, leg.step)
    return left


def moved_to(run: TrackingRun, legs: Sequence[Leg]) -> TrackingRun | None:
    """A run at the place where it stands, on legs that end elsewhere; None where it isn't on them in the same way."""
    here, place = run.legs[run.place.leg], run.place
    for number, leg in enumerate(legs):
        if leg.step == here.step and leg.object_ids == here.object_ids and place.frame in leg.frames:
            return run.model_copy(update={"legs": tuple(legs), "place": RunPlace(number, place.frame)})
    return None


def ascending(legs: Sequence[Leg]) -> bool:
    """Whether the frames come in the order of the video, each once."""
    return all(leg.step > 0 for leg in legs) and all(before.last < after.first for before, after in pairwise(legs))


def _start(tracked: TrackedObject, kept: range, step: int) -> int:
    """Where tracking of an object starts: the last prompt that lies at or before the range, else the first one."""
    frames = tracked.starts[::step]
    edge = kept[0] if step > 0 else kept[-1]
    before = [frame for frame in frames if (edge - frame) * step >= 0]
    return before[-1] if before else frames[0]


def _require_met(objects: Sequence[TrackedObject], starts: dict[int, int], kept: range, step: int) -> None:
    for tracked in objects:
        start = starts[tracked.id]
        if step > 0 and start > kept[-1]:
            raise InputError(
                f"{tracked.name} is prompted on frame {start}, after the last frame to track, {kept[-1]}: prompt it "
                "earlier, or track backwards (--direction backward)"
            )
        if step < 0 and start < kept[0]:
            raise InputError(
                f"{tracked.name} is prompted on frame {start}, before the first frame to track, {kept[0]}: prompt it "
                "later, or track forwards (--direction forward)"
            )


def _split(starts: dict[int, int], end: int, keep_from: int, step: Literal[1, -1]) -> list[Leg]:
    """Legs from the starts of the objects to `end`, each with the objects that have started."""
    legs = []
    places = sorted(set(starts.values()), reverse=step < 0)
    for place, after in pairwise([*places, end + step]):
        under_way = tuple(i for i, start in starts.items() if (place - start) * step >= 0)
        legs.append(Leg(step, place, after - step, under_way, keep_from))
    return legs
