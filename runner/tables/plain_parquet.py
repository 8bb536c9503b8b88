"""Small Parquet files of plain numbers, read without Arrow's reader.

Arrow takes 0.2 ms to open and read a file, however small it is. The files of a sweep have the same
footer, which is parsed once.
"""

from __future__ import annotations

import functools
import os
from typing import BinaryIO, NamedTuple

import pyarrow as pa
from pyarrow import parquet as pq

from runner.parquet_layout import MARK, UNCOMPRESSED, read_layout
from runner.thrift import varint

SMALL = 1 << 20
"""Size in bytes up to which a file is read here."""

_END = 8  # bytes of the footer's length, and of the mark
_TYPES = (pa.int32(), pa.int64(), pa.float32(), pa.float64())


class PlainFile(NamedTuple):
    """A file with one group of rows, in which each column is one plain page without nulls.

    Attributes
    ----------
    schema
        Its columns, of the types ``int32``, ``int64``, ``float32`` and ``float64``, without
        metadata. Their names differ.
    rows
        Number of rows.
    chunks
        For each column, the offsets of its page, of the values in the page, and of their end.
    """

    schema: pa.Schema
    rows: int
    chunks: tuple[tuple[int, int, int], ...]

    def table(self, data: bytes) -> pa.Table:
        """Return the table, given the content of the file."""
        columns = [
            pa.Array.from_buffers(kind, self.rows, [None, pa.py_buffer(data[place:end])])
            for (_, place, end), kind in zip(self.chunks, self.schema.types, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)


def small_content(file: BinaryIO) -> bytes:
    """Return the content of an open file; nothing if it is not small."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return file.read(size) if size <= SMALL else b""


def plain_file(data: bytes) -> PlainFile | None:
    """Return where a Parquet file holds its values, or ``None`` if it must be read by Arrow.

    Parameters
    ----------
    data
        Content of the file.
    """
    length = int.from_bytes(data[-_END:-4], "little")
    found = _by_footer(data[-_END - length :]) if length + _END <= len(data) else None
    if found is not None:
        for start, place, end in found.chunks:
            if data[start:place] not in _headers(end - place, found.rows):
                return None
    return found


@functools.lru_cache(64)
def _by_footer(end: bytes) -> PlainFile | None:
    """Return where a file with this footer, which ends in the mark, would hold plain values."""
    try:
        layout = read_layout(MARK + end)
        rows = layout.rows
        chunks = []
        for chunk, leaf in zip(layout.chunks, layout.leaves, strict=True):
            place = chunk.end - rows * leaf.bits // 8
            if (chunk.codec, chunk.values) != (UNCOMPRESSED, rows) or not 0 < chunk.start < place:
                return None
            chunks.append((chunk.start, place, chunk.end))
        order = [chunk.leaf for chunk in layout.chunks]
        if layout.groups != [rows] or order != [*range(len(order))]:
            return None
        schema = pq.ParquetFile(pa.BufferReader(MARK + end)).schema_arrow.remove_metadata()
    except (pa.ArrowException, OSError, ValueError):
        return None
    if len(set(schema.names)) != len(chunks) or not all(
        field.type in _TYPES and field.type.bit_width == leaf.bits and not field.nullable
        for field, leaf in zip(schema, layout.leaves, strict=True)
    ):
        return None
    return PlainFile(schema, rows, tuple(chunks))


@functools.lru_cache(256)
def _headers(size: int, rows: int) -> tuple[bytes, bytes]:
    """Return the headers with which Arrow's versions begin a page of plain values.

    In Thrift's compact protocol: the kind of page (0), its size twice, and a struct of the number
    of values, their encoding (0: plain), that of the levels (3) twice, and empty statistics.
    """
    length, count = varint(size << 1), varint(rows << 1)
    start = b"\x15\x00\x15%b\x15%b\x2c\x15%b\x15\x00\x15\x06\x15\x06" % (length, length, count)
    return start + b"\x1c\x00\x00\x00", start + b"\x00\x00"
