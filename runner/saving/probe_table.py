"""The table of the probe as shown to the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from runner.file_names import PROBE, plain_table
from runner.probe.batch import Batch, is_text, named_inputs
from runner.probe.probe import Probe
from runner.record.probe_layout import ProbeColumns, Role
from runner.record.publication import Publication
from runner.table_formats import FORMATS
from runner.tables.columns import field_of, free_name
from runner.tables.layout import MAX_CSV_COLUMNS, MAX_UNIT_COLUMNS, unit_places
from runner.tables.plain_tables import PlainTableWriter

# Only the source and hash of larger inputs are recorded.
_LIMIT_BYTES = 64 * 2**20

# Memory for the rows that wait to be written.
_GROUP_BYTES = 4 * 2**20


class ProbeTable:
    """Writes the batches of a probe to one table, some at a time.

    Its columns are ``sample``, ``label`` and the targets, if there are any, then the inputs.
    A vector has one column per entry: named as in its source table, or ``input0, input1, ...``
    (prefixed by the input's name if there are several inputs). An input with more axes, or more
    entries than a table has columns for, has one column of fixed-shape tensors; if its entries
    have names, these are metadata of the column. Inputs that are too large to be stored again,
    or too wide for the format, are left out; so are targets that are too large. The table of a
    probe of unknown length is begun again without them once they are.

    Parameters
    ----------
    publication
        The run.
    probe
        The probe.
    table_format
        A key of `runner.table_formats.FORMATS`, which decides the columns.
    stored_as
        The format of the file, if that is another one.

    Attributes
    ----------
    file : str
        Path of the table inside the run.
    layout : tuple[ProbeColumns, ...]
        The role of each column, available when the table is complete.
    """

    layout: tuple[ProbeColumns, ...] = ()

    def __init__(
        self,
        publication: Publication,
        probe: Probe,
        table_format: str,
        stored_as: str | None = None,
    ) -> None:
        self._stored_as = stored_as or table_format
        self.file = plain_table(PROBE, self._stored_as)
        self._publication = publication
        self._probe = probe
        self._format = table_format
        self._open: tuple[PlainTableWriter, BinaryIO] | None = None
        # A run without values is small.
        keeps_values = FORMATS[table_format].keeps_values
        self._left_out: set[Role] = set() if keeps_values else {"input", "target"}
        self._samples = 0
        self._waiting: list[Batch] = []
        self._bytes_waiting = 0
        self._written: list[Batch] = []  # what the table needs if it is begun again

    @property
    def has_inputs(self) -> bool:
        """Whether the table holds the inputs."""
        return "input" not in self._left_out

    def add(self, batch: Batch) -> None:
        """Add the next batch."""
        self._samples += len(batch)
        too_large = self._too_large(batch)
        if not too_large <= self._left_out:
            self._left_out |= too_large
            self._begin_again()
        self._waiting.append(self._kept(batch))
        self._bytes_waiting += batch.samples.nbytes
        for _, _, [array] in self._arrays(self._waiting[-1:]):
            self._bytes_waiting += array.nbytes
        if self._bytes_waiting >= _GROUP_BYTES:
            self._write()

    def finish(self) -> None:
        """Complete the table."""
        if self._waiting:
            self._write()
        assert self._open is not None, "a probe has samples"
        writer, sink = self._open
        writer.finish()
        sink.close()

    def _too_large(self, batch: Batch) -> set[Role]:
        """Return what the table cannot hold, as far as a batch tells."""
        rows = self._samples if self._probe.rows is None else self._probe.rows
        inputs = list(named_inputs(batch.inputs).values())
        targets = [] if batch.targets is None else [batch.targets]
        of_inputs, of_targets = (
            sum(array.nbytes for array in arrays) * rows // len(batch)
            for arrays in (inputs, targets)
        )
        found: set[Role] = set()
        if of_inputs + of_targets > _LIMIT_BYTES or not _fit(inputs, self._format):
            found.add("input")
        if of_targets > _LIMIT_BYTES or not _fit(targets, self._format):
            found.add("target")
        return found

    def _kept(self, batch: Batch) -> Batch:
        """Return a batch without what is left out."""
        return replace(
            batch,
            inputs=None if "input" in self._left_out else batch.inputs,
            targets=None if "target" in self._left_out else batch.targets,
        )

    def _begin_again(self) -> None:
        if self._open is not None:
            writer, sink = self._open
            writer.finish(is_kept=False)
            sink.close()
            self._publication.remove(self.file)
            self._open = None
        self._waiting = [self._kept(batch) for batch in (*self._written, *self._waiting)]
        self._written.clear()

    def _write(self) -> None:
        """Write the waiting batches as one group of rows."""
        table = self._table()
        if self._open is None:
            sink = self._publication.open(self.file)
            self._open = PlainTableWriter(sink, self._stored_as), sink
        self._open[0].add(table)
        if self._probe.rows is None:
            self._written += (replace(batch, inputs=None) for batch in self._waiting)
        self._waiting.clear()
        self._bytes_waiting = 0

    def _table(self) -> pa.Table:
        """Return the waiting batches as a table, and set the layout."""
        samples = _arrow(np.concatenate([batch.samples for batch in self._waiting]))
        columns: dict[str, pa.Array] = {"sample": samples}
        fields = [pa.field("sample", samples.type)]
        layout: list[ProbeColumns] = []
        for role, name, parts in self._arrays(self._waiting):
            array = np.concatenate(parts)
            names = _column_names(name, array, self._format)
            whole = array.ndim > 1 and names == [name]
            arrays = _columns(array, whole=whole)
            named = role == "input" and len(self._probe.columns) == math.prod(array.shape[1:])
            entries = self._probe.columns if named else ()
            dtype = "string" if is_text(array) else _plain(array[:0]).dtype.name
            layout.append(ProbeColumns(role, name, len(fields), len(names), array.shape[1:], dtype))
            for column, values in zip(names if whole else entries or names, arrays, strict=True):
                free = free_name(column, columns)  # an input's column may be named `label`
                columns[free] = values
                fields.append(field_of(free, values.type, entries if whole else ()))
        self.layout = tuple(layout)
        return pa.table(list(columns.values()), schema=pa.schema(fields))

    def _arrays(self, batches: Sequence[Batch]) -> Iterator[tuple[Role, str, list[np.ndarray]]]:
        """Yield what the table holds beside sample ids, in the order of its columns, by batch."""
        labels = [batch.labels for batch in batches if batch.labels is not None]
        if labels:
            yield "label", "label", labels
        targets = [batch.targets for batch in batches if batch.targets is not None]
        if targets:
            yield "target", "target", targets
        if self.has_inputs:
            named = [named_inputs(batch.inputs, self._probe.inputs) for batch in batches]
            for name in named[0]:
                yield "input", name, [inputs[name] for inputs in named]


def _fit(arrays: Sequence[np.ndarray], table_format: str) -> bool:
    """Return whether arrays can be stored in columns."""
    most = MAX_CSV_COLUMNS if FORMATS[table_format].is_text else 2**31 - 1
    return all(
        math.prod(array.shape[1:]) <= most and not (is_text(array) and array.ndim > 2)
        for array in arrays
    )


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
