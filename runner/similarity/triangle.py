"""A symmetric matrix stored as its upper triangle, so that each pair is held once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pair_count(count: int) -> int:
    """Return the number of pairs of `count` items."""
    return count * (count - 1) // 2


class Triangle:
    """The part of a symmetric matrix above its diagonal, row after row.

    Parameters
    ----------
    values
        Array of shape (pairs,) that the values are written to, filled with NaN first.
    count
        Number of rows of the matrix.
    """

    def __init__(self, values: np.ndarray, count: int) -> None:
        self.values = values
        self._count = count
        values[:] = np.nan

    def row(self, place: int) -> slice:
        """Return the slice of the pairs of a row with all rows after it."""
        start = place * (2 * self._count - place - 1) // 2
        return slice(start, start + self._count - place - 1)

    def put(self, one: int, other: int, value: float) -> None:
        """Set the value of a pair, where `one` is before `other`."""
        self.values[self.row(one).start + other - one - 1] = value

    def between(self, left: Sequence[int], right: Sequence[int]) -> int:
        """Return the number of pairs between two groups that are identical or disjoint."""
        return pair_count(len(left)) if left is right else len(left) * len(right)
