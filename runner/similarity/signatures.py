"""Layers as long vectors, computed and multiplied strip by strip to save memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from runner.similarity.conditions import check_structure

_ROWS = 32
_BYTES = 1 << 28


@dataclass(frozen=True)
class Signature:
    """A layer as a vector with an entry for every pair of samples.

    Two layers are as similar as the cosine of the angle between their vectors.

    Attributes
    ----------
    samples
        Number of samples.
    strip
        Returns the entries for a range of samples, each paired with the samples from the
        start of the range on, in any shape; equally many for every layer.
    whole
        Trace of the centred Gram matrix if the vector is the U-centred matrix, of which only
        rounding may remain.
    """

    samples: int
    strip: Callable[[int, int], np.ndarray]
    whole: float | None = None

    def check(self, norm: float) -> None:
        """Check that a vector is more than rounding.

        Raises
        ------
        UndefinedError
            If its norm is too small.
        """
        if self.whole is not None:
            check_structure(norm, self.whole, self.samples)


def products(left: Sequence[Signature], right: Sequence[Signature]) -> np.ndarray:
    """Return the inner products of all vectors of one side with all of the other.

    Parameters
    ----------
    left, right
        Layers that were shown the same samples.

    Returns
    -------
    numpy.ndarray
        Shape (left, right), float64.
    """
    found = np.zeros((len(left), len(right)))
    if not found.size:
        return found
    samples = left[0].samples
    rows = max(1, min(_ROWS, _BYTES // (8 * samples * max(len(left), len(right)))))
    of_left = _SideBySide(left)
    of_right = of_left if right is left else _SideBySide(right)
    for start in range(0, samples, rows):
        one = of_left.strip(start, start + rows)
        other = one if of_right is of_left else of_right.strip(start, start + rows)
        found += one @ other.T
    return found


def cosine(one: Signature, other: Signature) -> float:
    """Return the cosine of the angle between two vectors.

    Raises
    ------
    UndefinedError
        If only rounding remains of one of them.
    """
    both = (one, other)
    found = products(both, both)
    norms = np.sqrt(np.diag(found))
    for signature, norm in zip(both, norms, strict=True):
        signature.check(float(norm))
    return float(found[0, 1] / norms[0] / norms[1])


class _SideBySide:
    """Matrix with vectors as rows, read by strips of columns into the same memory."""

    def __init__(self, signatures: Sequence[Signature]) -> None:
        self._signatures = signatures
        self._room = np.empty(0)

    def strip(self, start: int, end: int) -> np.ndarray:
        first = self._signatures[0].strip(start, end).reshape(-1)
        size = len(self._signatures) * len(first)
        if size > self._room.size:  # happens once, since the first strip is the longest
            self._room = np.empty(size)
        rows = self._room[:size].reshape(len(self._signatures), len(first))
        rows[0] = first
        for row, signature in zip(rows[1:], self._signatures[1:], strict=True):
            row[:] = signature.strip(start, end).reshape(-1)
        return rows
