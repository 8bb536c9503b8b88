"""Progress of a comparison of many layers."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the unit that is counted (``layers`` or ``pairs``), the number done, the total."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


def titled(progress: Progress, title: str) -> Progress:
    """Return a function that reports to another one, a title before what is counted."""
    return lambda what, done, total: progress(f"{title}: {what}", done, total)


class Counted:
    """Counts layers and pairs and reports the progress.

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

    def read(self, layers: int, total: int) -> None:
        """Report the number of layers read, of those that fit into memory together."""
        self._progress("layers", layers, total)

    def compared(self, pairs: int) -> None:
        """Report that `pairs` more pairs are compared."""
        self._done += pairs
        self._progress("pairs", self._done, self._pairs)
