"""Writing and reading of tables other than those of tensors (the probe, the summary)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

from runner.errors import DamagedError, first_line
from runner.readable_files import ReadableFile
from runner.table_formats import FORMATS
from runner.tables.columns import SAMPLE_TYPES, SampleType, entries_of, flattened
from runner.tables.formulas import Formulas
from runner.tables.table_files import TableFile, read_file


class PlainTableWriter:
    """Writer of a plain table (the probe, the summary), some rows at a time.

    In CSV, a column of tensors is split into a column per entry: ``input0_1_2`` of ``input``.

    Parameters
    ----------
    sink
        File to write to, which is not closed.
    format
        A key of `runner.table_formats.FORMATS`.
    """

    def __init__(self, sink: BinaryIO, format: str) -> None:
        self._sink = sink
        self._format = format
        self._file: TableFile | None = None
        self._formulas = Formulas()

    def add(self, table: pa.Table) -> None:
        """Write rows, which all have the same columns.

        Raises
        ------
        InputError
            If a column of tensors is too wide for CSV.
        """
        if FORMATS[self._format].is_text:
            table = flattened(table)
            self._formulas.add(dict(zip(table.column_names, table.columns, strict=True)))
        if self._file is None:
            self._file = TableFile(self._sink, table.schema, self._format)
        for batch in table.to_batches():
            self._file.add(batch.columns)

    def finish(self, *, is_kept: bool = True) -> None:
        """Finish the file, which has rows; if it is kept, warn of texts that are like formulas."""
        assert self._file is not None
        self._file.finish()
        if is_kept:
            self._formulas.warn()


def write_table(sink: BinaryIO, table: pa.Table, format: str) -> None:
    """Write a whole plain table, without closing the sink.

    Raises
    ------
    InputError
        If a column of tensors is too wide for CSV.
    """
    writer = PlainTableWriter(sink, format)
    writer.add(table)
    writer.finish()


def read_samples(file: ReadableFile, format: str, sample_type: SampleType) -> np.ndarray:
    """Return the sample ids of a table, which have the recorded type.

    Returns
    -------
    ndarray
        Shape (samples,): int64, or objects that are text.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no sample ids.
    """
    types = {"sample": SAMPLE_TYPES[sample_type]}
    return np.asarray(read_file(file, format, ["sample"], types).column("sample").to_numpy())


def read_table(
    file: ReadableFile,
    format: str,
    types: Mapping[str, str] | None = None,
    optional: Collection[str] = (),
) -> pa.Table:
    """Return a plain table written by `write_table`.

    Parameters
    ----------
    file
        The table's file.
    format
        A key of `runner.table_formats.FORMATS`.
    types
        Columns, and Arrow's names of their types.
    optional
        Those that the table may lack.

    Raises
    ------
    InputError
        If the file is missing or damaged, or lacks a required column.
    """
    expected = {name: pa.type_for_alias(kind) for name, kind in (types or {}).items()}
    table = read_file(file, format, types=expected)
    for name in expected:
        if name not in table.column_names and name not in optional:
            raise DamagedError.of(file.place, f"expected a column '{name}', found none")
    return table


def named_entries(place: str, table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Return the names of the entries of each column of tensors that has such names.

    Raises
    ------
    DamagedError
        If the names do not fit the tensors; it names the file.
    """
    try:
        return {field.name: names for field in table.schema if (names := entries_of(field))}
    except (ValueError, RecursionError) as error:
        message = f"the names of the inputs cannot be read: {first_line(error)}"
        raise DamagedError.of(place, message) from error


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a plain table as a data frame; tensors are arrays in cells."""
    return pd.DataFrame(
        {
            name: _tensor_cells(column)
            if isinstance(column.type, pa.FixedShapeTensorType)
            else column.to_pandas()
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )


def _tensor_cells(column: pa.ChunkedArray) -> pd.Series:
    tensors = [tensor for chunk in column.chunks for tensor in chunk.to_numpy_ndarray()]
    return pd.Series(tensors, dtype=object)
