"""Arrow's file format, uncompressed, so that a file can be mapped into memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from mmap import mmap
from typing import BinaryIO

import pyarrow as pa
from pyarrow import ipc

from runner.flat_buffers import FlatTable
from runner.readable_files import content_of
from runner.tables.column_types import check_types
from runner.tables.expected_columns import ExpectedColumns
from runner.tables.table_error import check_rows, not_as_written
from runner.tables.table_format import GroupWriter, TableFormat
from runner.tables.wide_arrow import WideArrowWriter, is_wide

_RECORD_BATCH = 3
_END = b"ARROW1"


class Arrow(TableFormat):
    """Arrow's file format."""

    def writer(self, output: pa.NativeFile, schema: pa.Schema) -> GroupWriter:
        """Return a writer of many columns, or Arrow's own for others."""
        if is_wide(schema):
            return WideArrowWriter(output, schema)
        writer: GroupWriter = ipc.new_file(output, schema)
        return writer

    def read(self, file: BinaryIO, expected: ExpectedColumns) -> pa.Table:
        """Return columns of a table, which is mapped into memory."""
        table = ipc.open_file(pa.py_buffer(content_of(file)))
        expected.check(table.schema)
        return expected.checked(table.read_all())

    def pieces(self, file: BinaryIO, expected: ExpectedColumns, rows: int) -> Iterator[pa.Table]:  # noqa: ARG002
        """Yield columns of a table batch by batch, each mapped into memory."""
        with ipc.open_file(pa.py_buffer(content_of(file))) as table:
            expected.check(table.schema)
            for number in range(table.num_record_batches):
                yield expected.checked(pa.table(table.get_batch(number)))

    def check_expansion(self, file: BinaryIO, rows: int) -> None:
        """Check that a file has no compressed buffers, no dictionaries and no repeated batches."""
        _check_blocks(file)
        check_rows(rows, _rows(content_of(file), rows))


def _rows(data: bytes | mmap, most_batches: int) -> int:
    """Return the number of rows of an Arrow file, after validating its types and batches."""
    rows = size = 0
    most = len(data)
    with ipc.open_file(pa.py_buffer(data)) as file:
        check_types(file.schema)
        if (count := file.num_record_batches) > max(1, most_batches):
            raise not_as_written(f"{count:,} groups of fewer rows")
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            batch.validate()
            rows += batch.num_rows
            size += batch.nbytes
            if size > most:  # before its values are looked at, which may be those of other batches
                raise not_as_written(f"{size:,} bytes of values in fewer")
            batch.validate(full=True)
    return rows


def _check_blocks(file: BinaryIO) -> None:
    """Check that an Arrow file has no compressed buffers and no dictionaries."""
    end = file.seek(-10, os.SEEK_END)
    length, mark = struct.unpack("<i6s", file.read(10))
    if mark != _END or not 0 < length <= end:
        raise not_as_written("no end of an Arrow file")
    file.seek(end - length)
    footer = FlatTable.root(file.read(length))
    if footer.vector(2)[1]:
        raise not_as_written("dictionaries")
    start, count = footer.vector(3)
    for number in range(count):
        # A block: the offset of its message, and the lengths of its metadata and body.
        where, long = struct.unpack_from("<qi", footer.data, start + 24 * number)
        if not 8 < long <= end or not 0 <= where <= end:
            raise not_as_written("a block outside the file")
        file.seek(where)
        (marker,) = struct.unpack("<i", file.read(4))
        # Before Arrow 0.15, a message began with its length, without a marker.
        message = FlatTable.root(file.read(long - 4)[4 if marker == -1 else 0 :])
        if message.byte(1) != _RECORD_BATCH or message.child(2).has(3):
            raise not_as_written("compressed buffers")


ARROW = Arrow(".arrow", order=30)
