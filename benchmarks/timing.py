"""Times of several ways, measured in turns, and their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Way = Callable[[], Any]
"""What is measured; if it returns a function, that cleans up, which is not measured."""

_SLOW = 20.0  # seconds


@dataclass(frozen=True)
class Times:
    """What a way took, in seconds.

    Attributes
    ----------
    wall
        Seconds on the clock.
    cpu
        Seconds of all threads of this process.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Spread:
    """The median, the lowest and the highest of `n` figures."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, figures: list[float]) -> Spread:
        """Summarize figures."""
        return cls(statistics.median(figures), min(figures), max(figures), len(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def interleaved(ways: Mapping[str, Way], repetitions: int) -> dict[str, list[Times]]:
    """Go every way once for warming up, then each in turn, and return the times of each.

    A drift of the machine's speed thus affects all ways alike. A way that takes very long is warm
    from its first steps, and is gone once.
    """
    first = {name: timed(way) for name, way in ways.items()}
    times: dict[str, list[Times]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            slow = first[name].wall > _SLOW
            times[name].append(first[name] if slow else timed(way))
    return times


def timed(way: Way) -> Times:
    """Go a way once, and return what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    clean_up = way()
    times = Times(time.perf_counter() - wall, time.process_time() - cpu)
    if callable(clean_up):
        clean_up()
    return times


def ratios(seconds: Mapping[str, list[float]], to: str) -> dict[str, Spread]:
    """Return the ratios of every way to another, turn by turn."""
    return {
        name: Spread.of([a / b for a, b in zip(own, seconds[to], strict=True)])
        for name, own in seconds.items()
    }
