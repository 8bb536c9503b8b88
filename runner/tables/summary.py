"""The summary of a run: a row of statistics per tensor, computed from a stream of its values."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping
from math import isfinite, isnan, prod
from typing import Any

import numpy as np
import pyarrow as pa

from runner.errors import InputError, some
from runner.tables.statistic import Buffers, Chunk, Statistic
from runner.tables.statistics import STATISTICS
from runner.tensors import TensorSpec

_CHUNK = 131_072
"""Number of values processed at a time, few enough to stay in the cache."""

_ROWS = 16
"""A chunk of many rows has a multiple of this number, so that a tally can combine them."""

_BUFFERS = Buffers()

DESCRIPTION = {
    **dict.fromkeys(("name", "kind", "layer", "class", "shape", "dtype"), "string"),
    "units": "int64",
}
"""Columns of a summary that describe a tensor, and Arrow's names of their types."""


def all_statistics() -> dict[str, Statistic[Any]]:
    """Return all statistics of Runner and of installed packages.

    Raises
    ------
    InputError
        If one of them cannot be loaded, or has the name of another column.
    """
    return _statistics(tuple(sys.path))


@functools.lru_cache(16)
def _statistics(_path: tuple[str, ...]) -> dict[str, Statistic[Any]]:
    for name in STATISTICS.names:
        if name in ("step", *DESCRIPTION):
            package = "".join(STATISTICS.packages([name]))
            raise InputError.of(
                "statistic",
                f"'{name}' of the package {package} has the name of another column",
                "update or remove that package",
            )
    return dict(STATISTICS)


def summary_columns() -> dict[str, str]:
    """Return the columns of a summary in order, and Arrow's names of their types.

    The number of units follows the number of dead ones.
    """
    columns = {name: kind for name, kind in DESCRIPTION.items() if name != "units"}
    for name, statistic in all_statistics().items():
        columns[name] = statistic.column_type
        if statistic.of == "units":
            columns.setdefault("units", DESCRIPTION["units"])
    return columns


class RunningStatistics:
    """Statistics of a tensor, updated batch by batch, that can be merged.

    A unit is an entry of the spec's unit axis (a channel of a map).

    Parameters
    ----------
    spec
        Description of the tensor.
    statistics
        The statistics by name; by default `all_statistics`.
    """

    def __init__(
        self, spec: TensorSpec, statistics: Mapping[str, Statistic[Any]] | None = None
    ) -> None:
        self.spec = spec
        self._statistics = all_statistics() if statistics is None else statistics
        kinds = dict.fromkeys(statistic.tally for statistic in self._statistics.values())
        self._tallies = {tally: tally(spec) for tally in kinds}
        run = prod(spec.shape[spec.unit_axis + 1 :])
        whole = max(1, spec.units if run == 1 else run)
        rows = max(1, _CHUNK // whole)
        rows -= rows % _ROWS if rows > _ROWS else 0
        self._size = rows * whole

    def update(self, values: np.ndarray) -> None:
        r"""Add values.

        Parameters
        ----------
        values
            Shape (samples, \*shape) with any number of samples; or the shape of the weight.
        """
        flat = values.reshape(-1)
        # Sums of values near the limit of float64 overflow to inf.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, flat.size, self._size):
                # Every update begins with a whole sample.
                chunk = Chunk(flat[start : start + self._size], start, _BUFFERS)
                for tally in self._tallies.values():
                    tally.add(chunk)

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
        with np.errstate(over="ignore", invalid="ignore"):
            for kind, tally in self._tallies.items():
                tally.merge(other._tallies[kind])

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the states of the tallies as plain data, by their names."""
        return {_name_of(kind): tally.state() for kind, tally in self._tallies.items()}

    def restore(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Set the states of the tallies to those of other statistics, given their `states`.

        Raises
        ------
        KeyError
            If a tally is not in them.
        """
        for kind, tally in self._tallies.items():
            tally.restore(states[_name_of(kind)])

    def row(self) -> dict[str, str | int | float]:
        """Return the row of the summary for the tensor."""
        spec = self.spec
        row: dict[str, str | int | float] = {
            "name": spec.name,
            "kind": spec.kind,
            "layer": spec.layer_path,
            "class": spec.layer_class,
            "shape": str(list(spec.shape)),
            "dtype": spec.dtype,
            "units": spec.units,
        }
        for name, statistic in self._statistics.items():
            row[name] = statistic.value(self._tallies[statistic.tally])
        return row


def _name_of(tally: type) -> str:
    return f"{tally.__module__}.{tally.__qualname__}"


def is_possible(row: Mapping[Any, Any], values: int) -> bool:
    """Return whether a tensor of so many values can have the statistics in a row of the summary."""
    for name, statistic in all_statistics().items():
        if name in row and not statistic.is_possible(row[name], row["units"], values):
            return False
    low, high, mean, std = (row[key] for key in ("min", "max", "mean", "std"))
    finite = values - row["nan"] - row["inf"]
    if finite <= 0:
        return finite == 0 and all(map(isnan, (low, high, mean, std)))
    if not isfinite(low) or not isfinite(high) or low > high or std < 0:
        return False
    rounding = 1e-6 * max(abs(low), abs(high))
    # Sums of values near the limit of float64 overflow.
    return not isfinite(mean) or low - rounding <= mean <= high + rounding


def not_finite(rows: Iterable[Mapping[Any, Any]]) -> str:
    """Return a message with the counts of NaN and infinite values; empty if there are none.

    Parameters
    ----------
    rows
        Rows of the summary.
    """
    concerned = [row for row in rows if row["nan"] or row["inf"]]
    if not concerned:
        return ""
    nan, inf = (sum(int(row[key]) for row in concerned) for key in ("nan", "inf"))
    names = list(dict.fromkeys(str(row["name"]) for row in concerned))
    return f"{nan:,} NaN and {inf:,} infinite values: {some(names, most=3)}"


def summary_table(rows: Iterable[Mapping[str, str | int | float]]) -> pa.Table:
    """Return the summary of several tensors as a table, in which NaN is not null."""
    listed = list(rows)
    columns = summary_columns()
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    return pa.table({name: [row[name] for row in listed] for name in columns}, schema=schema)
