"""What `kill -9` takes: what a process said to be done, and what of that is there when it is started again."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PROMISED = 500.0  # ms before the kill; what was said earlier has to be there
#: What something that can be lost is about; it begins with its kind, as the table names it.
Slot = tuple[Any, ...]


@dataclass
class Tally:
    """What was counted over many kills.

    Attributes:
        kills: by what went on at that moment.
        said: how many things were said to be done, by kind.
        lost: of those, the ones that weren't there: milliseconds from being said to the kill.
        runs: tracks that came to their end, to be compared with the same ones without a kill, to the bit.
        wrong: whatever else should not have been so.
    """

    kills: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    lost: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    runs: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """How promises were broken; empty where they were kept."""
        late = [
            f"{kind}: lost, {ms} ms after it was said" for kind in self.lost for ms in self.lost[kind] if ms > PROMISED
        ]
        return [*self.wrong, *late]


class Ledger:
    """What a process said to be done, to be looked for once it was killed. Several threads may write to it."""

    def __init__(self, newer: frozenset[str]) -> None:
        """`newer` are kinds that go on without being asked, so that more may be there than was said."""
        self._newer = newer
        self._there: dict[Slot, Any] = {}
        self._said: list[tuple[Slot, Any, float]] = []  # times, and milliseconds before the kill once there was one
        self._ages: list[tuple[Slot, Any, float]] = []
        self._latest: dict[Slot, Any] = {}

    def say(self, slot: Slot, value: Any, when: float | None = None) -> None:
        """It was said (just now, or at a time of the monotonic clock) that this is so; None: that it is gone."""
        self._latest[slot] = value
        self._said.append((slot, value, time.monotonic() if when is None else when))

    def say_all(self, there: Mapping[Slot, Any], among: Callable[[Slot], bool], when: float) -> None:
        """It was said that of some slots just these are there."""
        for slot in {*there, *list(self._latest)}:
            if among(slot) and self._latest.get(slot) != there.get(slot):
                self.say(slot, there.get(slot), when)

    @property
    def latest(self) -> dict[Slot, Any]:
        """What it says there is."""
        return {slot: value for slot, value in dict(self._latest).items() if value is not None}

    def kill(self, when: float) -> None:
        """The process was killed at this time."""
        self._ages += [(slot, value, 1000 * max(0.0, when - said)) for slot, value, said in self._said]
        self._said = []

    def look(self, there: Mapping[Slot, Any], asked: Callable[[Slot], bool], tally: Tally) -> None:
        """Compares what was said with what is there. `asked` are slots that a question without an answer may or may not
        have changed.
        """
        history = {slot: [(self._there.get(slot), math.inf)] for slot in (*self._there, *there)}
        for slot, value, age in self._ages:
            tally.said[slot[0]] += 1
            history.setdefault(slot, [(None, math.inf)]).append((value, age))
        for slot, steps in history.items():
            found = there.get(slot)
            if asked(slot) or found == steps[-1][0]:
                continue
            at = next((i for i in reversed(range(len(steps))) if steps[i][0] == found), None)
            if at is not None:
                tally.lost[slot[0]].append(round(steps[at + 1][1], 1))
            elif found is None or slot[0] not in self._newer:
                tally.wrong.append(f"{slot} is {str(found)[:200]}, not {str(steps[-1][0])[:200]}")
        self._there, self._latest, self._ages = dict(there), dict(there), []


def summary(tally: Tally) -> dict[str, Any]:
    """A tally for JSON; what was lost as [how many, the worst in ms]."""
    lost = {kind: [len(found), max(found)] for kind, found in tally.lost.items()}
    return {"kills": tally.kills, "said": tally.said, "lost": lost, "runs": tally.runs, "broken": tally.broken}


def table(part: dict[str, Any]) -> str:
    """A summary as a table in Markdown."""
    lines = [
        "| what was said to be done | how many | lost | said before the kill, at most |",
        "| --- |" + " ---: |" * 3,
    ]
    for kind, count in sorted(part["said"].items()):
        lost, worst = part["lost"].get(kind, (0, None))
        lines.append(f"| {kind} | {count:,} | {lost} | {'–' if worst is None else f'{worst:.0f} ms'} |")
    kills = ", ".join(f"{count} while {what}" for what, count in sorted(part["kills"].items()))
    lines += ["", f"{sum(part['kills'].values())} kills: {kills}."]
    lines += [f"{part['runs']} tracks came to their end, and were compared with the same ones without a kill."]
    return "\n".join([*lines, *(part["broken"] or ["Every promise was kept."])])
