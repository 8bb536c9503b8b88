"""Table files in each of the formats, without a thought of what the tables hold."""

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

_OUTPUT_BUFFER = 1 << 16

# Dictionaries and statistics cost more than the writing itself and give nothing for figures
# that hardly repeat.
_PARQUET_OPTIONS: dict[str, Any] = {
    "use_dictionary": False,
    "compression": "none",
    "write_statistics": False,
    "write_batch_size": 1 << 16,
}

_SMALL = 1 << 20  # bytes of a file that one thread reads sooner than several

_PARQUET_BUFFER = 1 << 16  # of each column

# A row of the most columns that CSV takes must fit into one.
_CSV_BLOCK = 8 << 20

_CSV_CELL = re.compile(r'("(?:[^"]|"")*"|[^",\n]*)([,\n])')


class TableFile:
    """A table being written, a group of rows at a time.

    A file that is dropped before it is finished stays as it is.

    Parameters
    ----------
    sink
        Where the bytes go; it is not closed. Its ``write`` takes any bytes-like object.
    schema
        The table's columns and metadata.
    format
        A key of `runner.table_formats.FORMATS`.
    """

    def __init__(self, sink: BinaryIO, schema: pa.Schema, format: str) -> None:
        self._schema = schema
        self._sink = _Sink(sink)
        # A wide table has thousands of small pieces; each call into Python may wait for the
        # thread that computes the model.
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
        """Write what belongs at the end."""
        self._writer.close()
        self._output.flush()
        self._sink.release()

    def __del__(self) -> None:
        self._sink.release()


class _Sink:
    """A sink that can be taken back.

    Arrow finishes and closes a file of its own accord when it is dropped, even if that
    is because of an error, and even if the error was the sink's.
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
        """Leave it to the sink's owner."""

    def close(self) -> None:
        """Leave it to the sink's owner."""

    def release(self) -> None:
        """Let nothing more through."""
        self._sink = None


def read_file(
    path: Path,
    format: str,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> pa.Table:
    """Read columns of a table that `TableFile` wrote.

    Parameters
    ----------
    path
        Its file. An Arrow file is mapped, not read.
    format
        A key of `runner.table_formats.FORMATS`.
    columns
        What to read, or ``None`` for all.
    types
        The types that columns must have; CSV is read as these. Without one, a CSV
        column is text if it is quoted, and otherwise what it looks like.
    every
        All the columns that the file must have, or ``None`` if that is left open.

    Raises
    ------
    DamagedError
        If the file is missing, damaged, or not as it must be.
    """
    types = types or {}
    with _damage_named(path, format):
        if format == "parquet":
            # Not read_table: it takes a folder named lr=0.1 for a column. Given a path, Arrow
            # looks for a file system first, which takes as long as to read a small table.
            with pa.memory_map(str(path)) as source, pq.ParquetFile(source) as file:
                _check_columns(path, file.schema_arrow.names, columns, every)
                table = file.read(columns, use_threads=source.size() > _SMALL)
        elif format == "arrow":
            table = ipc.open_file(pa.memory_map(str(path))).read_all()
            _check_columns(path, table.column_names, columns, every)
            table = table if columns is None else table.select(columns)
        else:
            table = csv.read_csv(path, **_csv_options(path, columns, types, every))
    _check_values(path, table, types)
    return table


def read_pieces(
    path: Path,
    format: str,
    columns: Sequence[str],
    rows: int,
    types: Mapping[str, pa.DataType] | None = None,
    every: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield columns of a table, some rows at a time.

    Memory does not grow with the file.

    Parameters
    ----------
    path, format, types, every
        As in `read_file`.
    columns
        What to read.
    rows
        How many at most.

    Raises
    ------
    DamagedError
        If the file is missing, damaged, or not as it must be.
    """
    types = types or {}
    with _damage_named(path, format):
        for whole in _groups(path, format, columns, rows, types, every):
            _check_values(path, whole, types)
            for start in range(0, len(whole), rows):
                yield whole.slice(start, rows).combine_chunks()


def _groups(
    path: Path,
    format: str,
    columns: Sequence[str],
    rows: int,
    types: Mapping[str, pa.DataType],
    every: Sequence[str] | None,
) -> Iterator[pa.Table]:
    """Yield rows as the file gives them: batches, groups, or what blocks of text hold."""
    if format == "parquet":
        # With a buffer, a group of rows is read as it is needed, however large it is.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_PARQUET_BUFFER) as file:
            _check_columns(path, file.schema_arrow.names, columns, every)
            for batch in file.iter_batches(rows, columns=list(columns)):
                yield pa.table(batch)
    elif format == "arrow":
        with ipc.open_file(pa.memory_map(str(path))) as file:
            _check_columns(path, file.schema.names, columns, every)
            for number in range(file.num_record_batches):
                yield pa.table(file.get_batch(number)).select(list(columns))
    else:
        options = _csv_options(path, columns, types, every)
        blocks = csv.ReadOptions(block_size=_CSV_BLOCK)
        with csv.open_csv(path, read_options=blocks, **options) as file:
            for batch in file:
                yield pa.table(batch)


@contextlib.contextmanager
def _damage_named(path: Path, format: str) -> Iterator[None]:
    """Say of a file that cannot be read that it is missing or damaged.

    Too little memory says nothing about the file, and passes.
    """
    try:
        yield
    except FileNotFoundError:
        raise DamagedError.of(str(path), "expected a table, found no file") from None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if os.strerror(errno.ENOMEM) in str(error):  # of a file to be mapped; Arrow sets no errno
            raise MemoryError(first_line(error)) from error
        raise DamagedError.of(
            str(path), f"expected a {format} table, found a damaged file ({first_line(error)})"
        ) from error


@contextlib.contextmanager
def whole_in_memory(path: Path, tensor: str) -> Iterator[None]:
    """Name the tensor that is read as a whole where memory is too small for that.

    Raises
    ------
    OutOfMemoryError
        Instead of a `MemoryError` raised inside.
    """
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError(
            f"{path}: memory ran out while '{tensor}' was read as a whole; "
            f"run.blocks('{tensor}') yields it in pieces"
        ) from error


def _check_values(path: Path, table: pa.Table, types: Mapping[str, pa.DataType]) -> None:
    """Refuse columns of other types than they must have, and missing values."""
    for field, column in zip(table.schema, table.columns, strict=True):
        expected = types.get(field.name, field.type)
        if field.type != expected:
            raise DamagedError.of(
                str(path), f"expected '{field.name}' to be {expected}, found {field.type}"
            )
        if column.null_count:
            raise DamagedError.of(
                str(path), f"expected a value everywhere, found none in '{field.name}'"
            )


def _check_columns(
    path: Path, names: list[str], columns: Sequence[str] | None, every: Sequence[str] | None
) -> None:
    """Refuse a file whose columns are others than they must be."""
    known = set(names)
    missing = [name for name in every or columns or () if name not in known]
    if missing:
        raise DamagedError.of(str(path), f"expected a column '{missing[0]}', found {_some(names)}")
    if every is not None and names != list(every):
        raise DamagedError.of(str(path), f"expected {_some(every)}, found {_some(names)}")


def _some(names: Sequence[str]) -> str:
    """Return what columns there are, in a few words."""
    shown = ", ".join([*names[:3], "...", names[-1]] if len(names) > 4 else names)
    return f"{len(names):,} columns ({shown})"


def _csv_columns(path: Path) -> dict[str, bool]:
    """Return the columns of a CSV file, and for each whether it is quoted, that is, text."""
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
    """Return how to read a CSV file that has the columns that it must have."""
    quoted = _csv_columns(path)
    _check_columns(path, list(quoted), columns, every)
    text = {name: pa.string() for name, is_text in quoted.items() if is_text}
    return {
        "parse_options": csv.ParseOptions(newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            column_types=text | dict(types), include_columns=columns, null_values=[]
        ),
    }
