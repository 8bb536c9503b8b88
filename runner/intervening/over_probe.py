"""The means and medians of units over a probe, without interventions."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.intervening.edits import floats_of
from runner.showing.showing import Showing
from runner.sizes import check_memory
from runner.tensors import TensorSpec

Asked = tuple[TensorSpec, tuple[int, ...], str | None]
"""A tensor, the axes of a sample along which its units lie, and ``mean`` or ``median``."""


def measured(showing: Showing, wanted: Iterable[Asked]) -> dict[Asked, np.ndarray]:
    """Return the means and medians of units over the probe, each of shape (unit,)."""
    asked = {each for each in wanted if each[2] is not None}
    if not asked:
        return {}
    capture = showing.capture
    sources = dict(capture.aliases)
    places = {spec: capture.tensors.index(sources.get(spec, spec)) for spec, *_ in asked}
    for spec, _, how in asked:
        if how == "median":
            size = int(np.prod(spec.shape)) * np.dtype(floats_of(spec)).itemsize
            check_memory(spec.name, size * (showing.rows or 1), copies=2)
    found = {each: _STATISTICS[each[2]]() for each in asked}
    for _, arrays in showing:
        for each, statistic in found.items():
            spec, axes, _ = each
            array = arrays[places[spec]]
            if array is None:
                raise InputError.of("intervene", f"'{spec.name}': {capture.lost[spec]}")
            statistic.add(_by_unit(array, axes))
    return {each: statistic.result() for each, statistic in found.items()}


class _Mean:
    """The mean of each unit."""

    def __init__(self) -> None:
        self._sum: Any = 0
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Add values of shape (value, unit)."""
        self._sum += values.sum(axis=0, dtype=np.float64)
        self._count += len(values)

    def result(self) -> np.ndarray:
        """Return the mean of shape (unit,)."""
        mean: np.ndarray = self._sum / self._count
        return mean


class _Median:
    """The median of each unit, which needs all values."""

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Add values of shape (value, unit)."""
        self._values.append(values)

    def result(self) -> np.ndarray:
        """Return the median of shape (unit,)."""
        median: np.ndarray = np.median(np.concatenate(self._values), axis=0)
        return median


_STATISTICS: dict[str | None, type[_Mean | _Median]] = {"mean": _Mean, "median": _Median}


def _by_unit(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return values of shape (sample, ...) as a copy of shape (value, unit)."""
    if array.ndim == 1:
        return np.array(array).reshape(-1, 1)
    last = range(-len(axes), 0)
    moved = np.moveaxis(array, [axis + 1 for axis in axes], last)
    units = prod(moved.shape[-len(axes) :])
    return np.array(moved.reshape(-1, units))
