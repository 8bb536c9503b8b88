"""Lossless writing of tensors as tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from runner.tables.columns import (
    SAMPLE_TYPES,
    SampleType,
    copy_rows,
    room_for,
    schema_of,
)
from runner.tables.expected_rows import check_values
from runner.tables.layout import layout_of
from runner.tables.table_files import TableFile
from runner.tensors import TensorSpec

_MAX_GROUP_ROWS = 65_536


class TableWriter:
    """Writer of the table of one tensor, batch by batch.

    Rows are collected into groups of up to `buffer_bytes`, since every group costs the reader
    time, and every column of a group the writer. A batch of at least that size is written
    directly. Without `close`, the file stays incomplete.

    In CSV, sample ids are written unchanged, even with a leading ``=``: ids join rows to the
    user's own data, so they are not escaped for spreadsheets.

    Parameters
    ----------
    sink
        File to write to, which is not closed. Its ``write`` takes any bytes-like object.
    spec
        Description of the tensor, which has a row per sample.
    format
        A key of `runner.table_formats.FORMATS`.
    sample_type
        Type of the sample ids: ``int64`` or ``string``.
    buffer_bytes
        Memory for the rows of an incomplete group.

    Raises
    ------
    InputError
        If the format cannot hold the tensor.
    """

    def __init__(
        self,
        sink: BinaryIO,
        spec: TensorSpec,
        format: str,
        sample_type: SampleType,
        buffer_bytes: int = 32 << 20,
    ) -> None:
        self.spec = spec
        self._layout = layout_of(spec, format)
        self._sample_type = SAMPLE_TYPES[sample_type]
        samples = pa.field("sample", self._sample_type, nullable=False)
        self._file = TableFile(sink, schema_of(spec, self._layout, [samples]), format)
        row_bytes = max(1, self._layout.row_size * self._layout.cell.itemsize)
        self._capacity = min(_MAX_GROUP_ROWS, buffer_bytes // row_bytes)
        self._group: np.ndarray | None = None
        self._samples: list[np.ndarray] = []
        self._rows = 0

    def write(self, samples: np.ndarray, values: np.ndarray) -> None:
        r"""Add rows.

        Parameters
        ----------
        samples
            Shape (samples,): int64, or objects that are text.
        values
            Shape (samples, \*spec.shape), of `spec.dtype`. They may be written after the call,
            so they may not change.

        Raises
        ------
        ValueError
            If shape or dtype of `values` do not match the spec.
        """
        check_values(self.spec, values, (len(samples), *self.spec.shape))
        rows = values.reshape(len(samples), self._layout.row_size)
        if self._rows + len(rows) > self._capacity:
            self._flush()
        if len(rows) >= self._capacity:
            self._write_group([samples], self._arranged(rows))
            return
        if self._group is None:
            self._group = room_for(self._capacity, self._layout)
        copy_rows(rows, self._group[self._rows : self._rows + len(rows)])
        self._samples.append(samples)
        self._rows += len(rows)

    def close(self) -> None:
        """Write the remaining rows and finish the file."""
        self._flush()
        self._file.finish()

    def _arranged(self, rows: np.ndarray) -> np.ndarray:
        """Return rows in the memory order of the file, without a copy if possible."""
        if self._layout.column is not None:
            return np.ascontiguousarray(rows, self._layout.cell)
        arranged = room_for(len(rows), self._layout)
        copy_rows(rows, arranged)
        return arranged

    def _flush(self) -> None:
        if self._group is not None:
            group, self._group = self._group[: self._rows], None  # which is not filled again
            self._write_group(self._samples, group)
            self._rows, self._samples = 0, []

    def _write_group(self, samples: Sequence[np.ndarray], rows: np.ndarray) -> None:
        ids = pa.array(np.concatenate(samples), self._sample_type)
        self._file.add_rows([ids], rows, self._layout)


def write_weight(sink: BinaryIO, spec: TensorSpec, value: np.ndarray, format: str) -> None:
    """Write the table of one weight.

    Parameters
    ----------
    sink
        File to write to, which is not closed.
    spec
        Description of the weight.
    value
        Shape spec.shape, of `spec.dtype`. The table has a row per entry of all axes but the
        last, whose indices are in the columns ``i0``, ``i1``...
    format
        A key of `runner.table_formats.FORMATS`.

    Raises
    ------
    InputError
        If the format cannot hold the weight.
    ValueError
        If shape or dtype of `value` do not match the spec.
    """
    check_values(spec, value, spec.shape)
    layout = layout_of(spec, format)
    places = spec.shape[: len(layout.index)]
    rows = room_for(prod(places), layout)
    copy_rows(value.reshape(rows.shape), rows)
    index = [pa.array(axis.reshape(-1), pa.int64()) for axis in np.indices(places)]
    numbers = [pa.field(name, pa.int64(), nullable=False) for name in layout.index]
    file = TableFile(sink, schema_of(spec, layout, numbers), format)
    file.add_rows(index, rows, layout)
    file.finish()
