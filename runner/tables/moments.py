"""The mean of the finite values of a tensor, and their spread around it, as they pass by."""

from __future__ import annotations

import numpy as np

from runner.tables.statistic import Chunk, Tally


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
        mean = float(np.add.reduce(chunk.finite)) / chunk.finite.size
        deviations = np.subtract(chunk.finite, mean, out=chunk.scratch)
        # Not np.dot: BLAS would use the cores on which the model runs.
        self._add(chunk.finite.size, mean, float(np.einsum("i,i->", deviations, deviations)))

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
