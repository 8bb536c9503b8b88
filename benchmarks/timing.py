"""Times of several ways, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from benchmarks.ways import Way


def interleaved(ways: Mapping[str, Way], repetitions: int) -> dict[str, list[float]]:
    """Go every way once for warming up, then each in turn, and return seconds by way.

    Taking turns lets a drift of the machine's speed fall on all ways alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(repetitions + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repetition:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Mapping[str, list[float]], to: str) -> dict[str, float]:
    """Return for every way the median of its ratios to another, turn by turn."""
    return {
        name: statistics.median(a / b for a, b in zip(own, seconds[to], strict=True))
        for name, own in seconds.items()
    }
