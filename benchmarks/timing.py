"""Fair clocks: what is compared takes turns in one run, and medians are reported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Difference between the slowest and the quickest run as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Run every candidate once to warm up, then ``rounds`` times in turn, so that a busy moment hits all alike."""
    for run in candidates.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
