"""The probe as shown, kept beside what it brought forth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from runner.layout import MAX_UNIT_COLUMNS
from runner.probe import Batch

# A larger probe is recorded by its source and hash alone.
_LIMIT_BYTES = 64 * 2**20


class ProbeTable:
    """Gathers the batches of a probe into one table, unless they grow too large.

    Its columns are ``sample``, ``label`` and the targets where there are any, then the
    inputs: a vector gets a column an entry (``input0, input1, ...``, several inputs under
    their own names), anything with more axes one column of fixed-shape tensors.
    """

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._bytes = 0

    def add(self, batch: Batch) -> None:
        """Add the next batch."""
        self._bytes += sum(array.nbytes for array in _named(batch.inputs).values())
        if self._bytes > _LIMIT_BYTES:
            self._batches.clear()
        else:
            self._batches.append(batch)

    def table(self) -> pa.Table | None:
        """Return the whole probe, or ``None`` if it is too large to be kept twice."""
        if self._bytes > _LIMIT_BYTES:
            return None
        batches = self._batches
        columns: dict[str, Any] = {"sample": np.concatenate([batch.samples for batch in batches])}
        if all(batch.labels is not None for batch in batches):
            columns["label"] = np.concatenate([batch.labels for batch in batches])
        arrays = {}
        if all(batch.targets is not None for batch in batches):
            arrays["target"] = np.concatenate([batch.targets for batch in batches])
        for name in _named(batches[0].inputs):
            arrays[name] = np.concatenate([_named(batch.inputs)[name] for batch in batches])
        for name, array in arrays.items():
            columns.update(_columns(name, array))
        return pa.table({name: _arrow(column) for name, column in columns.items()})


def _named(inputs: Any) -> dict[str, np.ndarray]:
    if isinstance(inputs, dict):
        return inputs
    if isinstance(inputs, (list, tuple)):
        return {f"input{position}": array for position, array in enumerate(inputs)}
    return {"input": inputs}


def _columns(name: str, array: np.ndarray) -> dict[str, Any]:
    if array.ndim == 1:
        return {name: array}
    if array.ndim == 2 and array.shape[1] <= MAX_UNIT_COLUMNS:
        return {f"{name}{unit}": array[:, unit] for unit in range(array.shape[1])}
    return {name: pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))}


def _arrow(column: Any) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    if column.dtype == object:
        return pa.array(column, pa.string())
    return pa.array(np.ascontiguousarray(column), from_pandas=False)
