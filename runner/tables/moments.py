"""The mean of the finite values of a tensor, and their spread around it, as they pass by."""

from __future__ import annotations

import numpy as np

from runner.tables.statistic import Chunk, Tally

_LEAST_SPREAD = 2.0**-10
"""Share of a sum of squares that must be left when the square of the mean is subtracted.

The difference then lacks no more than 10 of the 53 bits of float64.
"""

_ROW = 512
"""Number of squares added in one call of BLAS: too few for it to use several cores."""


class Moments(Tally):
    """Number, mean and sum of squared deviations of finite values.

    Chunks and tallies are combined by the pairwise update of Chan, Golub and LeVeque, "Updating
    formulae and a pairwise algorithm for computing sample variances" (1979), so that how the
    samples are divided affects the moments only by rounding.
    """

    count = 0
    mean = squares = 0.0

    def add(self, chunk: Chunk) -> None:
        """Add values."""
        if chunk.finite.size == 0:
            return
        values, count = chunk.finite, chunk.finite.size
        total, squares = float(np.add.reduce(values)), _sum_of_squares(values)
        mean = total / count
        centred = squares - total * mean
        if not centred >= _LEAST_SPREAD * squares:
            deviations = np.subtract(values, mean, out=chunk.scratch)
            centred = _sum_of_squares(deviations)
        self._add(count, mean, centred)

    def merge(self, other: Moments) -> None:
        """Add the moments of other values."""
        if other.count:
            self._add(other.count, other.mean, other.squares)

    def _add(self, added: int, mean: float, squares: float) -> None:
        count = self.count + added
        delta = mean - self.mean
        self.squares += squares + delta * delta * (self.count * added / count)
        self.mean += delta * (added / count)
        self.count = count


def _sum_of_squares(values: np.ndarray) -> float:
    """Return the sum of squares, computed on one core, since the model runs on the others."""
    whole = values.size - values.size % _ROW
    rows, rest = values[:whole].reshape(-1, 1, _ROW), values[whole:]
    return float((rows @ rows.transpose(0, 2, 1)).sum() + rest @ rest)
