"""The table of the probe as shown to the model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.probe.batch import Batch, is_text, named_inputs
from runner.record.probe_layout import ProbeColumns, Role
from runner.table_formats import FORMATS
from runner.tables.columns import field_of, free_name
from runner.tables.layout import MAX_CSV_COLUMNS, MAX_UNIT_COLUMNS, unit_places
from runner.tensors import InputSpec

# Only the source and hash of larger inputs are recorded.
_LIMIT_BYTES = 64 * 2**20


class ProbeTable:
    """Collects the batches of a probe in one table.

    Its columns are ``sample``, ``label`` and the targets, if there are any, then the inputs.
    A vector has one column per entry: named as in its source table, or ``input0, input1, ...``
    (prefixed by the input's name if there are several inputs). An input with more axes, or more
    entries than a table has columns for, has one column of fixed-shape tensors; if its entries
    have names, these are metadata of the column. Inputs that are too large to be stored again,
    or too wide for the format, are left out; so are targets that are too large.

    Parameters
    ----------
    table_format
        A key of `runner.table_formats.FORMATS`.
    inputs
        The probe's inputs, for the name of a single one.
    entries
        Names of the entries of the one input, if they have any.
    """

    def __init__(
        self,
        table_format: str = "parquet",
        inputs: Sequence[InputSpec] = (),
        entries: Sequence[str] = (),
    ) -> None:
        self._format = table_format
        self._inputs = inputs
        self._entries = entries
        self._batches: list[Batch] = []
        self._bytes = {"inputs": 0, "targets": 0}

    @property
    def has_inputs(self) -> bool:
        """Whether the table holds the inputs."""
        return self._batches[0].inputs is not None

    def add(self, batch: Batch) -> None:
        """Add the next batch."""
        inputs = named_inputs(batch.inputs, self._inputs)
        self._bytes["inputs"] += sum(array.nbytes for array in inputs.values())
        self._bytes["targets"] += 0 if batch.targets is None else batch.targets.nbytes
        if self._batches and self._batches[0].inputs is None:
            batch = replace(batch, inputs=None)
        if self._batches and self._batches[0].targets is None:
            batch = replace(batch, targets=None)
        self._batches.append(batch)
        fits = all(_fits(array, self._format) for array in inputs.values())
        if batch.inputs is not None and (not fits or sum(self._bytes.values()) > _LIMIT_BYTES):
            self._batches = [replace(kept, inputs=None) for kept in self._batches]
        targets_fit = batch.targets is None or _fits(batch.targets, self._format)
        too_large = self._bytes["targets"] > _LIMIT_BYTES
        if batch.targets is not None and (not targets_fit or too_large):
            self._batches = [replace(kept, targets=None) for kept in self._batches]

    def table(self) -> pa.Table:
        """Return the table of the whole probe, without inputs that do not fit."""
        samples = _arrow(np.concatenate([batch.samples for batch in self._batches]))
        columns: dict[str, pa.Array] = {"sample": samples}
        fields = [pa.field("sample", samples.type)]
        for role, name, array in self._arrays():
            names = _column_names(name, array, self._format)
            whole = array.ndim > 1 and names == [name]
            arrays = _columns(array, whole=whole)
            named = role == "input" and len(self._entries) == math.prod(array.shape[1:])
            entries = self._entries if named else ()
            for column, values in zip(names if whole else entries or names, arrays, strict=True):
                free = free_name(column, columns)  # an input's column may be named `label`
                columns[free] = values
                fields.append(field_of(free, values.type, entries if whole else ()))
        if FORMATS[self._format].is_text:
            _warn_of_formulas(columns)
        return pa.table(list(columns.values()), schema=pa.schema(fields))

    def layout(self) -> tuple[ProbeColumns, ...]:
        """Return the role of each column of the table."""
        found: list[ProbeColumns] = []
        first = 1
        for role, name, array in self._arrays():
            count = len(_column_names(name, array, self._format))
            dtype = "string" if is_text(array) else _plain(array[:0]).dtype.name
            found.append(ProbeColumns(role, name, first, count, array.shape[1:], dtype))
            first += count
        return tuple(found)

    def _arrays(self) -> Iterator[tuple[Role, str, np.ndarray]]:
        """Yield the contents of the table except the sample ids, in the order of its columns."""
        batches = self._batches
        labels = [batch.labels for batch in batches if batch.labels is not None]
        if labels:
            yield "label", "label", np.concatenate(labels)
        targets = [batch.targets for batch in batches if batch.targets is not None]
        if targets:
            yield "target", "target", np.concatenate(targets)
        if self.has_inputs:
            named = [named_inputs(batch.inputs, self._inputs) for batch in batches]
            for name in named[0]:
                yield "input", name, np.concatenate([inputs[name] for inputs in named])


def _warn_of_formulas(columns: Mapping[str, pa.Array]) -> None:
    """Warn about texts that a spreadsheet would read as formulas, which CSV cannot prevent."""
    for name, texts in columns.items():
        if texts.type == pa.string():
            runs = pc.match_substring_regex(texts, r"^[=@\t\r]|^[+-]([^0-9.]|[0-9.]+[^0-9.eE])")
            if count := pc.sum(runs).as_py():
                first = texts.filter(runs)[0].as_py()
                warnings.warn(
                    f"{count} texts in column '{name}' begin like formulas ({first!r}), which "
                    "a spreadsheet would run: open the tables elsewhere, or use format=parquet",
                    stacklevel=3,
                )


def _fits(array: np.ndarray, table_format: str) -> bool:
    """Return whether an array can be stored in columns."""
    size = math.prod(array.shape[1:])
    if is_text(array) and array.ndim > 2:
        return False
    return size <= (MAX_CSV_COLUMNS if FORMATS[table_format].is_text else 2**31 - 1)


def _column_names(name: str, array: np.ndarray, table_format: str) -> list[str]:
    """Return the names of an array's columns, without regard to other arrays."""
    if array.ndim == 1:
        return [name]
    narrow = array.ndim == 2 and array.shape[1] <= MAX_UNIT_COLUMNS
    if narrow or is_text(array) or FORMATS[table_format].is_text:
        return [name + place for place in unit_places(array.shape[1:])]
    return [name] if array.size else []


def _columns(array: np.ndarray, *, whole: bool) -> list[pa.Array]:
    """Return an array as columns: one of whole samples, or one for each entry."""
    if whole:
        tensors = np.ascontiguousarray(_plain(array))
        return [pa.FixedShapeTensorArray.from_numpy_ndarray(tensors)]
    return [_arrow(values) for values in array.reshape(len(array), math.prod(array.shape[1:])).T]


def _arrow(column: np.ndarray) -> pa.Array:
    if is_text(column):
        texts = [value.decode() if isinstance(value, bytes) else value for value in column.tolist()]
        return pa.array(texts, pa.string())
    return pa.array(np.ascontiguousarray(_plain(column)), from_pandas=False)


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array with a dtype that Arrow supports."""
    if array.dtype.name == "bfloat16":
        return array.astype("float32")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
