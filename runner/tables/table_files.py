"""Writing and reading of table files of any format, independent of their content."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from runner.errors import DamagedError, InputError, OutOfMemoryError, first_line
from runner.readable_files import ReadableFile
from runner.table_formats import FORMATS
from runner.tables.columns import to_columns
from runner.tables.expected_columns import ExpectedColumns
from runner.tables.layout import Layout
from runner.tables.table_error import TableError
from runner.tables.table_format import ColumnsWriter

_OUTPUT_BUFFER = 1 << 16


class TableFile:
    """Writer of a table, one group of rows at a time.

    A file that is not finished stays incomplete.

    Parameters
    ----------
    sink
        File to write to, which is not closed. Its ``write`` takes any bytes-like object.
    schema
        Columns and metadata of the table.
    format
        A key of `runner.table_formats.FORMATS`.
    """

    def __init__(self, sink: BinaryIO, schema: pa.Schema, format: str) -> None:
        self._schema = schema
        self._sink = _Sink(sink)
        # A wide table has thousands of small pieces, and each call into Python may wait for
        # the thread that computes the model.
        self._output = pa.BufferedOutputStream(pa.PythonFile(self._sink, mode="w"), _OUTPUT_BUFFER)
        self._writer = FORMATS[format].writer(self._output, schema)

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Write columns of equal length as one group of rows."""
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def add_rows(self, index: Sequence[pa.Array], rows: np.ndarray, layout: Layout) -> None:
        """Write rows of a tensor as one group.

        Parameters
        ----------
        index
            The columns before the values.
        rows, layout
            As in `to_columns`. The rows may be written after the call, so they may not change.
        """
        rows = rows.view()
        rows.flags.writeable = False  # so that they are hashed behind the writer
        if layout.column is None and isinstance(self._writer, ColumnsWriter):
            self._writer.write_columns(index, rows.T)
        else:
            self.add([*index, *to_columns(rows, layout)])

    def finish(self) -> None:
        """Finish the file."""
        self._writer.close()
        self._output.flush()
        self._sink.release()

    def __del__(self) -> None:
        self._sink.release()


class _Sink:
    """A sink that can be detached from Arrow.

    Arrow finishes and closes a file when its writer is deleted, even after an error, and even
    after an error of the sink.
    """

    closed = False

    def __init__(self, sink: BinaryIO) -> None:
        self._sink: BinaryIO | None = sink

    def write(self, data: pa.Buffer | bytes) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.write(data)
            self._sink = sink  # only if it did not fail

    def flush(self) -> None:
        """Do nothing: the owner of the sink flushes it."""

    def close(self) -> None:
        """Do nothing: the owner of the sink closes it."""

    def release(self) -> None:
        """Ignore all further writes."""
        self._sink = None


def read_file(
    file: ReadableFile,
    format: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> pa.Table:
    """Return columns of a table written by `TableFile`.

    Parameters
    ----------
    file
        The table's file. An Arrow file on a disk is memory-mapped.
    format
        A key of `runner.table_formats.FORMATS`.
    columns
        Columns to read; default: all.
    types
        Types that columns must have; CSV is parsed as these. A CSV column without a type is
        text if it is quoted, otherwise its type is inferred.
    every
        Names of all columns that the file must have; ``None`` to accept any.

    Raises
    ------
    DamagedError
        If the file is missing or damaged, or its columns or types differ from the expected.
    """
    chosen = None if columns is None else list(columns)
    expected = ExpectedColumns(chosen, types or {}, every)
    with _opened(file, format) as opened:
        return FORMATS[format].read(opened, expected)


def read_pieces(
    file: ReadableFile,
    format: str,
    columns: Sequence[str] | None,
    rows: int,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield columns of a table in pieces of several rows.

    Memory use does not grow with the size of the file.

    Parameters
    ----------
    file, format, types, every
        As in `read_file`.
    columns
        Columns to read; ``None``: all.
    rows
        Maximum number of rows per piece.

    Raises
    ------
    DamagedError
        As in `read_file`.
    """
    chosen = None if columns is None else list(columns)
    expected = ExpectedColumns(chosen, types or {}, every)
    with _opened(file, format) as opened:
        for piece in FORMATS[format].pieces(opened, expected, rows):
            for start in range(0, len(piece), rows):
                yield piece.slice(start, rows).combine_chunks()


def part_of(
    file: BinaryIO, place: str, format: str, rows: int, columns: Collection[str]
) -> BinaryIO | None:
    """Return a copy of a table's file in which only some columns are filled in.

    Parameters
    ----------
    file, place, format, rows
        As in `check_expansion`.
    columns
        The columns.

    Returns
    -------
    BinaryIO | None
        ``None`` if the format does not keep columns apart.

    Raises
    ------
    DamagedError
        As in `check_expansion`.
    """
    with _damage_named(place, format):
        _refuse_empty(file, format)
        return FORMATS[format].part(file, rows, columns)  # type: ignore[return-value]


def check_expansion(file: BinaryIO, place: str, format: str, rows: int) -> None:
    """Check that a table cannot take far more memory than the size of its file.

    Parameters
    ----------
    file, place
        The table's file, open at its beginning, and where it is.
    format
        As in `read_file`.
    rows
        Number of rows that the table must have.

    Raises
    ------
    DamagedError
        If the table is compressed or encoded, or has another number of rows.
    """
    with _damage_named(place, format):
        _refuse_empty(file, format)
        FORMATS[format].check_expansion(file, rows)


@contextlib.contextmanager
def _opened(table: ReadableFile, format: str) -> Iterator[BinaryIO]:
    """Open a table's file; errors are those of `_damage_named`."""
    with _damage_named(table.place, format), table.open() as opened:
        _refuse_empty(opened, format)
        yield opened


@contextlib.contextmanager
def _damage_named(place: str, format: str) -> Iterator[None]:
    """Turn errors of reading a file into a DamagedError: it is missing or damaged.

    A MemoryError is passed on, since it does not mean that the file is damaged.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except TableError as error:
        raise DamagedError.of(place, str(error)) from None
    except FileNotFoundError:
        raise DamagedError.of(place, "expected a table, found no file") from None
    except Exception as error:  # a damaged file may raise anything, also in another package
        if os.strerror(errno.ENOMEM) in str(error):  # from mapping a file; Arrow sets no errno
            raise MemoryError(first_line(error)) from error
        raise DamagedError.of(
            place, f"expected a table as {format}, found a damaged file ({first_line(error)})"
        ) from error


def _refuse_empty(file: BinaryIO, format: str) -> None:
    if not file.read(1):
        raise TableError(f"expected a table as {format}, found an empty file")
    file.seek(0)


@contextlib.contextmanager
def whole_in_memory(place: str, tensor: str) -> Iterator[None]:
    """Turn a MemoryError into an OutOfMemoryError that names the tensor being read.

    Raises
    ------
    OutOfMemoryError
        If a `MemoryError` is raised in the context; another one is passed on.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(
            f"{place}: memory ran out while '{tensor}' was read as a whole; "
            f"run.blocks('{tensor}') yields it in pieces"
        ) from error
