"""Parquet files whose values are stored as they lie in memory, written without Arrow's writer.

Arrow's writer looks at every value of a list to find out where the lists begin. In these files
that is known: all lists of a column have the same length, and no value is missing. Schema and
metadata are those of an empty file that Arrow writes.
Format: https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from runner.parquet_layout import (
    DATA_PAGE,
    MARK,
    PLAIN,
    UNCOMPRESSED,
    footer_of,
    offsets_of_groups,
)
from runner.thrift import I32, I64, STRUCT, TEXT, integer_field, list_field, varint

_PAGE_BYTES = 1 << 20  # of values; a page has at least one row
_LARGEST_PAGE = 1 << 30  # in bytes; its header has a signed size of 32 bits
_RLE = 3  # number of an encoding: that of levels

# Numbers of the types that Parquet stores in as many bytes as Arrow; of a float16, bytes of fixed
# length. Narrower integers would be widened, and booleans have no bytes of their own.
_PHYSICAL = {
    pa.int32(): 1,
    pa.uint32(): 1,
    pa.int64(): 2,
    pa.uint64(): 2,
    pa.float32(): 4,
    pa.float64(): 5,
    pa.float16(): 7,
}
_BYTE_ARRAY = 6


class _Column(NamedTuple):
    """A column of the file.

    Attributes
    ----------
    value
        Type of the values.
    length
        Number of values in a row; ``None`` if the column holds no lists.
    defined
        The definition level of a value that is there.
    entry
        The beginning of its entry in the footer, which is the same for each group of rows.
    """

    value: pa.DataType
    length: int | None
    defined: int
    entry: bytes


def is_plain(schema: pa.Schema) -> bool:
    """Return whether `PlainWriter` can write tables of a schema.

    No column is nullable. Its columns hold text, numbers that Parquet stores in as many bytes as
    Arrow does, or tensors or lists of a fixed length of such numbers, neither empty nor so large
    that one is too large for a page.
    """
    kinds = [kind for kind, _ in itertools.groupby(schema.types)]  # few, of thousands of columns
    return all(map(_is_plain, kinds)) and not any(field.nullable for field in schema)


def _is_plain(kind: pa.DataType) -> bool:
    if kind == pa.string():
        return True
    value, length = _value_type(kind), _length(kind)
    if value not in _PHYSICAL:
        return False
    return length is None or 0 < length * value.bit_width < 8 * _LARGEST_PAGE


class PlainWriter:
    """Writer of a Parquet file with a group of rows for each record batch.

    Parameters
    ----------
    output
        File to write to, which is not closed.
    schema
        Columns and metadata, for which `is_plain` holds.
    """

    def __init__(self, output: pa.NativeFile, schema: pa.Schema) -> None:
        self._output = output
        self._columns, self._before, self._after = _frame(schema.serialize().to_pybytes())
        self._groups: list[bytes] = []
        self._rows = 0
        self._at = len(MARK)
        output.write(MARK)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write rows as one group.

        Parameters
        ----------
        batch
            Rows without missing values.
        """
        if len(batch):
            begin = self._at
            chunks = self._chunks(self._columns, batch.columns)
            self._end_group(begin, chunks, len(batch))

    def write_columns(self, index: Sequence[pa.Array], values: np.ndarray) -> None:
        """Write rows as one group, with one page for each column of values.

        Parameters
        ----------
        index
            The first columns.
        values
            All other columns: shape (column, row), contiguous along the last axis.
        """
        begin, rows = self._at, values.shape[1]
        if not rows:
            return
        columns = self._columns[len(index) :]
        chunks = self._chunks(self._columns[: len(index)], index)
        head = np.frombuffer(_page_header(rows * values.itemsize, rows), np.uint8)
        size = len(head) + rows * values.itemsize
        chunks += [
            _entry(column, rows, size, self._at + size * place)
            for place, column in enumerate(columns)
        ]
        at_once = max(1, _PAGE_BYTES // size)
        for start in range(0, len(columns), at_once):
            some = values[start : start + at_once]
            pages = np.empty((len(some), size), np.uint8)
            pages[:, : len(head)] = head
            pages[:, len(head) :] = some.view(np.uint8)
            pages.flags.writeable = False
            self._output.write(pages)
        self._at += size * len(columns)
        self._end_group(begin, chunks, rows)

    def close(self) -> None:
        """Write the footer."""
        rows = integer_field(I64, self._rows)
        footer = self._before + rows + list_field(STRUCT, self._groups) + self._after
        self._output.write(footer + struct.pack("<I", len(footer)) + MARK)

    def _end_group(self, begin: int, chunks: Sequence[bytes], rows: int) -> None:
        size = integer_field(I64, self._at - begin) + integer_field(I64, rows)
        self._groups.append(list_field(STRUCT, chunks) + size + b"\0")
        self._rows += rows

    def _chunks(self, columns: Sequence[_Column], arrays: Sequence[pa.Array]) -> list[bytes]:
        """Write columns, and return their entries in the footer."""
        return [self._chunk(*each) for each in zip(columns, arrays, strict=True)]

    def _chunk(self, column: _Column, array: pa.Array) -> bytes:
        begin, values = self._at, 0
        for held, levels, data in _pages(column, array):
            head = _page_header(len(levels) + len(data), held) + levels
            self._output.write(head)
            self._output.write(data)
            self._at += len(head) + len(data)
            values += held
        return _entry(column, values, self._at - begin, begin)


def _entry(column: _Column, values: int, size: int, place: int) -> bytes:
    """Return the entry in the footer of a column with so many values in so many bytes."""
    return b"".join((column.entry, _counts(values, size), integer_field(I64, place, 2), b"\0\0"))


@functools.lru_cache(64)
def _counts(values: int, size: int) -> bytes:
    """Return how many values a column has, and in how many bytes, with and without compression."""
    length = integer_field(I64, size)
    return integer_field(I64, values) + length + length


def _pages(column: _Column, array: pa.Array) -> Iterator[tuple[int, bytes, pa.Buffer | bytes]]:
    """Yield the number of values of each page, its levels and the bytes of its values."""
    if column.value == pa.string():
        yield len(array), b"", _texts(array)
        return
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    width = column.value.bit_width // 8 * (column.length or 1)
    values = array if column.length is None else array.flatten()
    data = values.buffers()[1].slice(
        values.offset * column.value.bit_width // 8, len(array) * width
    )
    most = max(1, _PAGE_BYTES // width)
    for start in range(0, len(array), most):
        rows = min(most, len(array) - start)
        levels = b"" if column.length is None else _levels(rows, column.length, column.defined)
        yield rows * (column.length or 1), levels, data.slice(start * width, rows * width)


def _texts(array: pa.Array) -> bytes:
    """Return the bytes of texts, each after its length."""
    texts = [text.encode() for text in array.to_pylist()]
    return b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))


@functools.lru_cache(64)
def _levels(rows: int, length: int, defined: int) -> bytes:
    """Return the levels of a page of lists that all have the same length and lack no value.

    Repetition levels are 0 for the first value of a list and 1 for the others; definition levels
    are the same for all. Both are runs: twice the number of levels, then the level.
    """
    ones = varint(length - 1 << 1) + b"\1" if length > 1 else b""
    repeated = (b"\2\0" + ones) * rows if ones else varint(rows << 1) + b"\0"
    present = varint(rows * length << 1) + bytes([defined])
    return b"".join(struct.pack("<I", len(part)) + part for part in (repeated, present))


@functools.lru_cache(64)
def _page_header(size: int, values: int) -> bytes:
    """Return the header of a page, with empty statistics, as Arrow writes it."""
    sizes = integer_field(I32, size)
    encodings = integer_field(I32, PLAIN) + integer_field(I32, _RLE) + integer_field(I32, _RLE)
    page = integer_field(I32, values) + encodings + bytes([1 << 4 | STRUCT, 0, 0])
    return integer_field(I32, DATA_PAGE) + sizes + sizes + bytes([2 << 4 | STRUCT]) + page + b"\0"


@functools.lru_cache(16)
def _frame(serialized: bytes) -> tuple[list[_Column], bytes, bytes]:
    """Return the columns, and the footer before its number of rows and after its groups.

    Parameters
    ----------
    serialized
        The schema; not itself, since older versions of Arrow cannot hash its metadata.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    columns, before, known = _columns(schema.remove_metadata().serialize().to_pybytes())
    footer = footer_of(_empty(schema))
    assert footer.startswith(known)  # the schema's metadata comes after the groups
    return columns, before, footer[len(known) :]


@functools.lru_cache(16)
def _columns(serialized: bytes) -> tuple[list[_Column], bytes, bytes]:
    """Return the columns of a schema without metadata, which many tables of a run may share.

    Also the footer of an empty file before its number of rows, and up to the end of its groups.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(serialized))
    empty = _empty(schema)
    stored = pq.ParquetFile(pa.BufferReader(empty)).schema
    columns: list[_Column] = []
    for kind, alike in itertools.groupby(enumerate(schema), lambda item: item[1].type):
        fields = list(alike)
        place, first = fields[0]
        leaf, value, length = stored.column(place), _value_type(kind), _length(kind)
        inside = [_text(name) for name in leaf.path.removeprefix(first.name).split(".")[1:]]
        begin = (
            integer_field(I64, 0, 2)  # place of a copy of this entry: none
            + bytes([1 << 4 | STRUCT])
            + integer_field(I32, _PHYSICAL.get(value, _BYTE_ARRAY))
            + list_field(I32, [varint(number << 1) for number in (PLAIN, _RLE)])
        )
        codec = integer_field(I32, UNCOMPRESSED)
        columns += [
            _Column(
                value,
                length,
                leaf.max_definition_level,
                begin + list_field(TEXT, [_text(field.name), *inside]) + codec,
            )
            for _, field in fields
        ]
    rows, groups_end = offsets_of_groups(empty)
    footer = footer_of(empty)
    return columns, footer[:rows], footer[:groups_end]


def _empty(schema: pa.Schema) -> bytes:
    """Return the file that Arrow writes for a table without rows."""
    sink = pa.BufferOutputStream()
    pq.ParquetWriter(sink, schema, compression="none").close()
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _text(text: str) -> bytes:
    """Return a text after its length in bytes."""
    encoded = text.encode()
    return varint(len(encoded)) + encoded


def _value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values: its own, or that of the entries of its lists."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_fixed_size_list(kind) else kind


def _length(kind: pa.DataType) -> int | None:
    """Return the length of a column's lists."""
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None
