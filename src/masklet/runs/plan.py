"""Which frames a run goes through, in which direction, and where it goes on after it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from masklet.errors import InputError
from masklet.runs.objects import TrackedObject

#: Whether an object has its mask on a frame already.
IsDone = Callable[[int, int], bool]
#: See `resume_legs`.
LastSeen = Callable[["Leg", int, int], int]


@dataclass(frozen=True)
class Leg:
    """One way through the video: from `first` to `last`, both included, for these objects.

    `step` is 1 forwards and -1 backwards. Masks are kept from frame `keep_from` on; those before it only lead there.
    """

    step: int
    first: int
    last: int
    object_ids: tuple[int, ...]
    keep_from: int

    @property
    def frames(self) -> range:
        return range(self.first, self.last + self.step, self.step)

    def keeps(self, frame: int) -> bool:
        return (frame - self.keep_from) * self.step >= 0


@dataclass(frozen=True)
class Range:
    """The frames that a run keeps, `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, frame: object) -> bool:
        return isinstance(frame, int) and self.first <= frame <= self.last


def make_legs(objects: Sequence[TrackedObject], kept: Range, direction: str) -> list[Leg]:
    """The legs of a run. Every leg has the objects that are under way there, so an object joins at its first prompt.

    Forwards an object is tracked from its first prompt on (from the last one before the range, if there is one); `both`
    adds the way back from there. Backwards is the mirror image.

    Raises:
        InputError: an unknown direction, or an object that this direction never meets.
    """
    if direction == "backward":
        ends = {thing.id: _start(thing, kept, -1) for thing in objects}
        _require_met(objects, ends, kept, -1)
        return _split(ends, kept.first, kept.last, -1)
    if direction not in ("forward", "both"):
        raise InputError(f"there is no direction {direction!r}; choose forward, backward or both")
    starts = {thing.id: _start(thing, kept, 1) for thing in objects}
    if direction == "forward":
        _require_met(objects, starts, kept, 1)
    legs = _split({i: start for i, start in starts.items() if start <= kept.last}, kept.last, kept.first, 1)
    if direction == "both":
        back = {i: start - 1 if start <= kept.last else start for i, start in starts.items()}
        legs += _split({i: start for i, start in back.items() if start >= kept.first}, kept.first, kept.last, -1)
    return legs


def resume_legs(legs: Sequence[Leg], is_done: IsDone, last_seen: LastSeen) -> list[Leg]:
    """What is left of legs that were stopped, or are to be gone through again from some frame on.

    Args:
        is_done: whether `(frame, object)` has a mask that stays.
        last_seen: the frame, at or behind the given one in the leg's direction, from which an object can be tracked on
            (it was seen or prompted there). Tracking starts from it; the frames up to the gap are not kept again.
    """
    left = []
    for leg in legs:
        missing = (f for f in leg.frames if leg.keeps(f) and not all(is_done(f, i) for i in leg.object_ids))
        gap = next(missing, None)
        if gap is None:
            continue
        if gap == leg.first:
            left.append(leg)
        else:
            starts = {i: last_seen(leg, gap - leg.step, i) for i in leg.object_ids}
            left += _split(starts, leg.last, gap, leg.step)
    return left


def ascending(legs: Sequence[Leg]) -> bool:
    """Whether the frames come in the order of the video, each once."""
    return all(leg.step > 0 for leg in legs) and all(before.last < after.first for before, after in pairwise(legs))


def _start(thing: TrackedObject, kept: Range, step: int) -> int:
    """Where tracking of an object starts: the last prompt that lies at or before the range, else the first one."""
    frames = thing.starts[::step]
    edge = kept.first if step > 0 else kept.last
    before = [frame for frame in frames if (edge - frame) * step >= 0]
    return before[-1] if before else frames[0]


def _require_met(objects: Sequence[TrackedObject], starts: dict[int, int], kept: Range, step: int) -> None:
    for thing in objects:
        start = starts[thing.id]
        if step > 0 and start > kept.last:
            raise InputError(
                f"{thing.name} is prompted on frame {start}, after the last frame to track, {kept.last}: prompt it "
                "earlier, or track backwards (--direction backward)"
            )
        if step < 0 and start < kept.first:
            raise InputError(
                f"{thing.name} is prompted on frame {start}, before the first frame to track, {kept.first}: prompt it "
                "later, or track forwards (--direction forward)"
            )


def _split(starts: dict[int, int], end: int, keep_from: int, step: int) -> list[Leg]:
    """Legs from the starts of the objects to `end`, each with the objects that have started."""
    legs = []
    places = sorted(set(starts.values()), reverse=step < 0)
    for place, after in pairwise([*places, end + step]):
        under_way = tuple(i for i, start in starts.items() if (place - start) * step >= 0)
        legs.append(Leg(step, place, after - step, under_way, keep_from))
    return legs
