"""A value for every pair of many, each pair once, without the matrix that has it twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pair_count(count: int) -> int:
    """Return how many pairs there are of so many."""
    return count * (count - 1) // 2


class Triangle:
    """The part of a symmetric matrix above its diagonal, row after row.

    Parameters
    ----------
    values
        Shape (pairs,): where the values are put. NaN until then.
    count
        How many rows the matrix has.
    """

    def __init__(self, values: np.ndarray, count: int) -> None:
        self.values = values
        self._count = count
        values[:] = np.nan

    def row(self, place: int) -> slice:
        """Return where the pairs of one with all after it stand."""
        start = place * (2 * self._count - place - 1) // 2
        return slice(start, start + self._count - place - 1)

    def put(self, one: int, other: int, value: float) -> None:
        """Set the value of a pair, the earlier first."""
        self.values[self.row(one).start + other - one - 1] = value

    def between(self, left: Sequence[int], right: Sequence[int]) -> int:
        """Return how many pairs there are of two groups that are the same or share none."""
        return pair_count(len(left)) if left is right else len(left) * len(right)
