"""Statistics of a tensor, computed from a stream of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import nan, prod, sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from runner.errors import some
from runner.tensors import TensorSpec

_CHUNK = 32_768
"""Number of values processed at a time, few enough to stay in the cache."""

_FOLDS = 16
"""Number of rows combined before the search for zeros, since few channels make short rows."""

_SUMMARY = pa.schema(
    [
        ("name", pa.string()),
        ("kind", pa.string()),
        ("layer", pa.string()),
        ("class", pa.string()),
        ("shape", pa.string()),
        ("dtype", pa.string()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("mean", pa.float64()),
        ("std", pa.float64()),
        ("zeros", pa.float64()),
        ("dead_units", pa.int64()),
        ("units", pa.int64()),
        ("nan", pa.int64()),
        ("inf", pa.int64()),
    ]
)


SUMMARY = {field.name: str(field.type) for field in _SUMMARY}
"""Columns of a summary, and Arrow's names of their types."""


class RunningStatistics:
    """Statistics of a tensor, updated batch by batch, that can be merged.

    ``min``, ``max``, ``mean`` and ``std`` (of the population) are computed in float64 over the
    finite values; they are NaN if there are none. ``zeros`` is the share of all values that are
    exactly 0. A unit is an entry of the spec's unit axis (a channel of a map); it is dead if it
    is exactly 0 for every sample at every position. Without values, no unit is dead.

    Batches, and statistics of other samples (`merge`), are combined by the pairwise update of
    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), so that how the samples are divided affects the moments only by rounding.

    Parameters
    ----------
    spec
        Description of the tensor.
    """

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._units = spec.units
        # Adjacent values of one unit: more than one if the unit axis is not the last.
        self._run = prod(spec.shape[spec.unit_axis + 1 :])
        self._position = 0
        self._silent = np.ones(self._units, dtype=bool)
        self._total = self._zeros = self._nan = self._inf = 0
        self._count = 0
        self._min, self._max = np.inf, -np.inf
        self._mean = self._squares = 0.0
        whole = max(1, self._units if self._run == 1 else self._run)
        rows = max(1, _CHUNK // whole)
        rows -= rows % _FOLDS if rows > _FOLDS else 0
        self._float64 = np.empty(rows * whole)
        self._is_zero = np.empty(rows * whole, dtype=bool)

    def update(self, values: np.ndarray) -> None:
        r"""Add values.

        Parameters
        ----------
        values
            Shape (samples, \*shape) with any number of samples; or the shape of the weight.
        """
        if values.size == 0:
            return
        flat = values.reshape(-1)
        self._total += flat.size
        # Sums of values near the limit of float64 overflow to inf.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, flat.size, self._float64.size):
                self._position = start // self._run  # every update begins with a whole sample
                self._update_chunk(flat[start : start + self._float64.size])

    def _update_chunk(self, chunk: np.ndarray) -> None:
        """Add values that fit the buffers: whole runs over the last axis, or of one unit."""
        wide = self._float64[: chunk.size]
        np.copyto(wide, chunk)
        if chunk.dtype not in (np.float32, np.float64):
            chunk = wide  # faster for integers and narrower floats
        is_zero = self._is_zero[: chunk.size]
        np.equal(chunk, 0, out=is_zero)
        self._zeros += int(np.count_nonzero(is_zero))
        if self._silent.any():
            self._look_for_silence(is_zero)

        low, high = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(low) and np.isfinite(high)):  # NaN is contagious in min and max
            self._nan += int(np.count_nonzero(np.isnan(wide)))
            self._inf += int(np.count_nonzero(np.isinf(wide)))
            wide = wide[np.isfinite(wide)]
            if wide.size == 0:
                return
            low, high = float(wide.min()), float(wide.max())
        self._min, self._max = min(self._min, low), max(self._max, high)
        mean = float(wide.sum()) / wide.size
        wide -= mean
        # Not np.dot: BLAS would use the cores on which the model runs.
        self._add_moments(wide.size, mean, float(np.einsum("i,i->", wide, wide)))

    def _look_for_silence(self, is_zero: np.ndarray) -> None:
        if self._run == 1:
            folds = _FOLDS if is_zero.size % (_FOLDS * self._units) == 0 else 1
            folded = is_zero.reshape(folds, -1).all(axis=0)
            self._silent &= folded.reshape(-1, self._units).all(axis=0)
            return
        runs = is_zero.reshape(-1, self._run).all(axis=1)
        units = (self._position + np.arange(runs.size)) % self._units
        np.logical_and.at(self._silent, units, runs)

    def _add_moments(self, added: int, mean: float, squares: float) -> None:
        """Add the count, mean and sum of squared deviations of finite values."""
        count = self._count + added
        delta = mean - self._mean
        self._squares += squares + delta * delta * (self._count * added / count)
        self._mean += delta * (added / count)
        self._count = count

    def merge(self, other: RunningStatistics) -> None:
        """Add the statistics of other samples of the same tensor.

        Counts, minimum and maximum are exactly those of all values together; mean and standard
        deviation are the same to rounding.

        Raises
        ------
        ValueError
            If the other statistics describe a tensor of another shape or unit axis.
        """
        mine, theirs = ((s.spec.shape, s.spec.unit_axis) for s in (self, other))
        if mine != theirs:
            raise ValueError(f"expected statistics of a tensor {mine}, found {theirs}")
        self._silent &= other._silent
        self._total += other._total
        self._zeros += other._zeros
        self._nan += other._nan
        self._inf += other._inf
        self._min, self._max = min(self._min, other._min), max(self._max, other._max)
        if other._count:
            with np.errstate(over="ignore", invalid="ignore"):
                self._add_moments(other._count, other._mean, other._squares)

    def row(self) -> dict[str, str | int | float]:
        """Return the row of the summary for the tensor."""
        spec = self.spec
        seen = self._count > 0
        return {
            "name": spec.name,
            "kind": spec.kind,
            "layer": spec.layer_path,
            "class": spec.layer_class,
            "shape": str(list(spec.shape)),
            "dtype": spec.dtype,
            "min": self._min if seen else nan,
            "max": self._max if seen else nan,
            "mean": self._mean if seen else nan,
            "std": sqrt(self._squares / self._count) if seen else nan,
            "zeros": self._zeros / self._total if self._total else 0.0,
            "dead_units": int(self._silent.sum()) if self._total else 0,
            "units": self._units,
            "nan": self._nan,
            "inf": self._inf,
        }


def not_finite(rows: Iterable[Mapping[Any, Any]]) -> str:
    """Return a message with the counts of NaN and infinite values; empty if there are none.

    Parameters
    ----------
    rows
        Rows of the summary.
    """
    found = [row for row in rows if row["nan"] or row["inf"]]
    if not found:
        return ""
    nan, inf = (sum(int(row[key]) for row in found) for key in ("nan", "inf"))
    names = list(dict.fromkeys(str(row["name"]) for row in found))
    return f"{nan:,} NaN and {inf:,} infinite values: {some(names, most=3)}"


def summary_table(rows: Iterable[Mapping[str, str | int | float]]) -> pa.Table:
    """Return the summary of several tensors as a table, in which NaN is not null."""
    kept = list(rows)
    return pa.table(
        {field.name: [row[field.name] for row in kept] for field in _SUMMARY}, schema=_SUMMARY
    )
