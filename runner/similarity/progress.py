"""How far a comparison of many layers is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is counted (``layers`` or ``pairs``), how many are done, and of how many."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Report nothing."""


class Counted:
    """Counts what is done and reports it.

    Parameters
    ----------
    progress
        Whom to report it to.
    pairs
        How many pairs there are.
    """

    def __init__(self, progress: Progress, pairs: int) -> None:
        self._progress = progress
        self._pairs = pairs
        self._done = 0

    def read(self, layers: int, total: int) -> None:
        """Report that so many layers of those that fit into memory together are read."""
        self._progress("layers", layers, total)

    def compared(self, pairs: int) -> None:
        """Report that so many pairs more are compared."""
        self._done += pairs
        self._progress("pairs", self._done, self._pairs)
