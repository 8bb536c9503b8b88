"""The number of a tensor's units that are 0 for every sample."""

from math import prod

import numpy as np

from runner.tables.statistic import Chunk, Statistic, Tally
from runner.tensors import TensorSpec

_FOLDS = 16
"""Number of rows combined before the search for zeros, since few channels make short rows."""


class _SilentUnits(Tally):
    """Which units were exactly 0 so far; without values, none is counted as dead."""

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        # Adjacent values of one unit: more than one if the unit axis is not the last.
        self._run = prod(spec.shape[spec.unit_axis + 1 :])
        self._silent = np.ones(spec.units, dtype=bool)
        self._has_values = False

    @property
    def count(self) -> int:
        """Number of silent units."""
        return int(self._silent.sum()) if self._has_values else 0

    def add(self, chunk: Chunk) -> None:
        self._has_values = True
        if not self._silent.any():
            return
        units = self._silent.size
        if self._run == 1:
            folds = _FOLDS if chunk.is_zero.size % (_FOLDS * units) == 0 else 1
            folded = chunk.is_zero.reshape(folds, -1).all(axis=0)
            self._silent &= folded.reshape(-1, units).all(axis=0)
            return
        runs = chunk.is_zero.reshape(-1, self._run).all(axis=1)
        places = (chunk.start // self._run + np.arange(runs.size)) % units
        np.logical_and.at(self._silent, places, runs)

    def merge(self, other: "_SilentUnits") -> None:
        self._silent &= other._silent
        self._has_values |= other._has_values


DEAD_UNITS = Statistic(
    _SilentUnits,
    lambda tally: tally.count,
    title="share of dead units",
    definition="number of units that are exactly 0 for every sample at every position",
    of="units",
    order=60,
    is_shown=True,
    is_in_every_run=True,
)
