"""Times of several ways, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from benchmarks.ways import Way

_SLOW = 20.0  # seconds


def interleaved(ways: Mapping[str, Way], repetitions: int) -> dict[str, list[float]]:
    """Go every way once for warming up, then each in turn, and return seconds by way.

    Taking turns lets a drift of the machine's speed fall on all ways alike. A way that takes
    very long is warm from its first steps, and goes once.
    """
    first = {name: _timed(way) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            seconds[name].append(first[name] if first[name] > _SLOW else _timed(way))
    return seconds


def _timed(way: Way) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def ratios(seconds: Mapping[str, list[float]], to: str) -> dict[str, float]:
    """Return for every way the median of its ratios to another, turn by turn."""
    return {
        name: statistics.median(a / b for a, b in zip(own, seconds[to], strict=True))
        for name, own in seconds.items()
    }
