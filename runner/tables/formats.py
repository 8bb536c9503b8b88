"""Writing and reading of table files in each format, independent of their content."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv, ipc
from pyarrow import parquet as pq

from runner.errors import DamagedError, OutOfMemoryError, first_line
from runner.table_formats import FORMATS
from runner.tables.column_types import check_types, checked
from runner.tables.plain_parquet import plain_file, small_content

_OUTPUT_BUFFER = 1 << 16

# Dictionaries and statistics take longer than the writing itself, and are useless for values
# that hardly repeat.
_PARQUET_OPTIONS: dict[str, Any] = {
    "use_dictionary": False,
    "compression": "none",
    "write_statistics": False,
    "write_batch_size": 1 << 16,
}

_PARQUET_BUFFER = 1 << 16  # bytes per column

# A row with the maximum number of CSV columns must fit into one block.
_CSV_BLOCK = 8 << 20

_CSV_CELL = re.compile(r'("(?:[^"]|"")*"|[^",\n]*)([,\n])')


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
        stored = FORMATS[format].stored_as
        self._output.write(FORMATS[format].begins_with)
        if stored == "parquet":
            self._writer = pq.ParquetWriter(self._output, schema, **_PARQUET_OPTIONS)
        elif stored == "arrow":
            self._writer = ipc.new_file(self._output, schema)
        else:
            self._writer = csv.CSVWriter(self._output, schema)

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Write columns of equal length as one group of rows."""
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

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
    path: Path,
    format: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> pa.Table:
    """Return columns of a table written by `TableFile`.

    Parameters
    ----------
    path
        Path of the table's file. An Arrow file is memory-mapped.
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
    types = types or {}
    with _damage_named(path, format):
        if format == "parquet":
            data = small_content(path)
            if (plain := plain_file(data)) is not None:
                _check_names(path, plain.schema.names, columns, every)
                _check_types(path, plain.schema, types)
                table = plain.table(data)
                return table if columns is None else table.select(columns)
            # Not read_table: it takes a folder named lr=0.1 for a column. Not a path: Arrow
            # would look for a file system first, which takes as long as reading a small table.
            with pa.memory_map(str(path)) as source, pq.ParquetFile(source) as file:
                _check_columns(path, file.schema_arrow, columns, every)
                table = file.read(columns, use_threads=not data)
        elif format == "arrow":
            file = ipc.open_file(pa.memory_map(str(path)))
            _check_columns(path, file.schema, columns, every)
            table = file.read_all()
            table = table if columns is None else table.select(columns)
        else:
            table = csv.read_csv(path, **_csv_options(path, columns, types, every))
            check_types(path, table.schema)
        return _expected(path, table, types)


def read_pieces(
    path: Path,
    format: str,
    columns: Sequence[str],
    rows: int,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield columns of a table in pieces of several rows.

    Memory use does not grow with the size of the file.

    Parameters
    ----------
    path, format, types, every
        As in `read_file`.
    columns
        Columns to read.
    rows
        Maximum number of rows per piece.

    Raises
    ------
    DamagedError
        As in `read_file`.
    """
    types = types or {}
    with _damage_named(path, format):
        for whole in _groups(path, format, columns, rows, types, every):
            whole = _expected(path, whole, types)
            for start in range(0, len(whole), rows):
                yield whole.slice(start, rows).combine_chunks()


def check_parquet(path: Path, types: Mapping[str, pa.DataType], every: Sequence[str]) -> None:
    """Check the columns of a Parquet file without reading their values.

    Parameters
    ----------
    path, types, every
        As in `read_file`.

    Raises
    ------
    DamagedError
        As in `read_file`.
    """
    with _damage_named(path, "parquet"), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow, None, every)
        _check_types(path, file.schema_arrow, types)


def _groups(
    path: Path,
    format: str,
    columns: Sequence[str],
    rows: int,
    types: Mapping[str, pa.DataType],
    every: Sequence[str] | None,
) -> Iterator[pa.Table]:
    """Yield the rows of a file in its own pieces: batches, row groups or blocks of text."""
    if format == "parquet":
        # With a buffer, a row group is read as needed, however large it is.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER) as file:
            _check_columns(path, file.schema_arrow, columns, every)
            for batch in file.iter_batches(rows, columns=list(columns)):
                yield pa.table(batch)
    elif format == "arrow":
        with ipc.open_file(pa.memory_map(str(path))) as file:
            _check_columns(path, file.schema, columns, every)
            for number in range(file.num_record_batches):
                yield pa.table(file.get_batch(number)).select(list(columns))
    else:
        options = _csv_options(path, columns, types, every)
        blocks = csv.ReadOptions(block_size=_CSV_BLOCK)
        with csv.open_csv(path, read_options=blocks, **options) as file:
            check_types(path, file.schema)
            for batch in file:
                yield pa.table(batch)


@contextlib.contextmanager
def _damage_named(path: Path, format: str) -> Iterator[None]:
    """Turn errors of reading a file into a DamagedError: it is missing or damaged.

    A MemoryError is passed on, since it does not mean that the file is damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise DamagedError.of(str(path), "expected a table, found no file") from None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if os.strerror(errno.ENOMEM) in str(error):  # from mapping a file; Arrow sets no errno
            raise MemoryError(first_line(error)) from error
        raise DamagedError.of(
            str(path), f"expected a {format} table, found a damaged file ({first_line(error)})"
        ) from error


@contextlib.contextmanager
def whole_in_memory(path: Path, tensor: str) -> Iterator[None]:
    """Turn a MemoryError into an OutOfMemoryError that names the tensor being read.

    Raises
    ------
    OutOfMemoryError
        If a `MemoryError` is raised in the context.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(
            f"{path}: memory ran out while '{tensor}' was read as a whole; "
            f"run.blocks('{tensor}') yields it in pieces"
        ) from error


def _expected(path: Path, table: pa.Table, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return a table with valid values, after checking that columns have the expected types."""
    _check_types(path, table.schema, types)
    return checked(path, table)


def _check_types(path: Path, schema: pa.Schema, types: Mapping[str, pa.DataType]) -> None:
    for name, kind in zip(schema.names, schema.types, strict=True):
        if kind != types.get(name, kind):
            raise DamagedError.of(str(path), f"expected '{name}' to be {types[name]}, found {kind}")


def _check_columns(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None, every: Sequence[str] | None
) -> None:
    """Check that a file has the expected columns, and only such as Runner writes."""
    _check_names(path, schema.names, columns, every)
    check_types(path, schema)


def _check_names(
    path: Path, names: list[str], columns: Sequence[str] | None, every: Sequence[str] | None
) -> None:
    """Check that a file has columns of the expected names."""
    known = set(names)
    missing = [name for name in every or columns or () if name not in known]
    if missing:
        raise DamagedError.of(str(path), f"expected a column '{missing[0]}', found {_some(names)}")
    if every is not None and names != list(every):
        raise DamagedError.of(str(path), f"expected {_some(every)}, found {_some(names)}")


def _some(names: Sequence[str]) -> str:
    """Return a short description of columns: their number and some of their names."""
    shown = ", ".join([*names[:3], "...", names[-1]] if len(names) > 4 else names)
    return f"{len(names):,} columns ({shown})"


def _csv_columns(path: Path) -> dict[str, bool]:
    """Return the columns of a CSV file, and whether each is quoted and thus text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = [cell.strip('"') for cell in file.readline().rstrip("\n").split(",")]
        start = file.read(1 << 22)
    cells = []
    for match in _CSV_CELL.finditer(start):
        cells.append(match[1])
        if match[2] == "\n":
            break
    cells += [""] * (len(names) - len(cells))
    return {name: cell.startswith('"') for name, cell in zip(names, cells, strict=False)}


def _csv_options(
    path: Path,
    columns: Sequence[str] | None,
    types: Mapping[str, pa.DataType],
    every: Sequence[str] | None,
) -> dict[str, Any]:
    """Return the options for reading a CSV file, after checking its columns."""
    quoted = _csv_columns(path)
    _check_names(path, list(quoted), columns, every)
    text = {name: pa.string() for name, is_text in quoted.items() if is_text}
    return {
        "parse_options": csv.ParseOptions(newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            column_types=text | dict(types), include_columns=columns, null_values=[]
        ),
    }
