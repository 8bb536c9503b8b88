"""Progress of a comparison of many layers, and a warning if it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.caller_warnings import warn_caller

Progress = Callable[[str, int, int], None]
"""Called with the unit that is counted (``layers`` or ``pairs``), the number done, the total."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


def titled(progress: Progress, title: str) -> Progress:
    """Return a function that reports to another one, a title before what is counted."""
    return lambda what, done, total: progress(f"{title}: {what}", done, total)


_PATIENCE = 10  # seconds until it is estimated how long the rest takes
_LONG = 30  # seconds from which on that is told


class SlowWarning(UserWarning):
    """A comparison takes long."""


class Counted:
    """Counts layers and pairs and reports the progress.

    A warning says how long the comparison will take, once, if that is long.

    Parameters
    ----------
    progress
        Function to report to.
    pairs
        Number of pairs in total.
    """

    def __init__(self, progress: Progress, pairs: int) -> None:
        self._progress = progress
        self._pairs = pairs
        self._done = 0
        self._began = time.monotonic()
        self._is_told = False

    def read(self, layers: int, total: int) -> None:
        """Report the number of layers read, of those that fit into memory together."""
        self._progress("layers", layers, total)

    def compared(self, pairs: int) -> None:
        """Report that `pairs` more pairs are compared."""
        self._done += pairs
        self._progress("pairs", self._done, self._pairs)
        passed = time.monotonic() - self._began
        if self._is_told or passed < _PATIENCE:
            return
        self._is_told = True
        left = passed * (self._pairs - self._done) / max(1, self._done)
        if left > _LONG:
            warn_caller(
                f"similarity: {self._pairs:,} pairs take about {left / 60:,.1f} minutes more; "
                "compare fewer runs, or name the layers that matter",
                SlowWarning,
            )
