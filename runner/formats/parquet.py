"""Parquet without compression and encodings, so that a file is about as large as its values."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from mmap import mmap
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet as pq

from runner.parquet_layout import (
    DATA_PAGE,
    PLAIN,
    UNCOMPRESSED,
    Chunk,
    Leaf,
    pages,
    read_layout,
)
from runner.readable_files import MemoryFile, content_of
from runner.tables.expected_columns import ExpectedColumns
from runner.tables.plain_parquet import plain_file, small_content
from runner.tables.plain_writer import PlainWriter, is_plain
from runner.tables.table_error import check_rows, not_as_written
from runner.tables.table_format import GroupWriter, TableFormat

# Dictionaries and statistics take longer than the writing itself, and are useless for values
# that hardly repeat.
_OPTIONS: dict[str, Any] = {
    "use_dictionary": False,
    "compression": "none",
    "write_statistics": False,
    "write_batch_size": 1 << 16,
}

_BUFFER = 1 << 16  # bytes per column
_FOOTER = 1 << 16  # bytes at the end of a file that hold the footer of most tables


class Parquet(TableFormat):
    """Parquet."""

    def writer(self, output: pa.NativeFile, schema: pa.Schema) -> GroupWriter:
        """Return a writer of plain values, or Arrow's own for other columns."""
        if is_plain(schema):
            return PlainWriter(output, schema)
        writer: GroupWriter = pq.ParquetWriter(output, schema, **_OPTIONS)
        return writer

    def read(self, file: BinaryIO, expected: ExpectedColumns) -> pa.Table:
        """Return columns of a table."""
        data = small_content(file)
        if (plain := plain_file(data)) is not None:  # whose values are all valid
            expected.check(plain.schema)
            return expected.selected(plain.table(data))
        with pq.ParquetFile(pa.BufferReader(content_of(file))) as table:
            expected.check(table.schema_arrow)
            return expected.checked(table.read(expected.columns, use_threads=not data))

    def pieces(self, file: BinaryIO, expected: ExpectedColumns, rows: int) -> Iterator[pa.Table]:
        """Yield columns of a table, from each group of rows only what is needed."""
        # With a buffer, a row group is read as needed, however large it is.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table:
            expected.check(table.schema_arrow)
            for batch in table.iter_batches(rows, columns=expected.columns):
                yield expected.checked(pa.table(batch))

    def part(self, file: BinaryIO, rows: int, columns: Collection[str]) -> MemoryFile:
        """Return a copy in which the footer and the chunks of some columns are filled in."""
        size = file.seek(0, os.SEEK_END)
        copy = MemoryFile(size)

        def fetch(start: int, end: int) -> None:
            file.seek(start)
            copy.fill(start, file.read(end - start))

        fetch(max(0, size - _FOOTER), size)
        length = int.from_bytes(copy.content[-8:-4], "little") + 8
        if _FOOTER < length <= size:
            fetch(size - length, size - _FOOTER)
        layout = read_layout(copy.content)
        for chunk in layout.chunks:
            if layout.leaves[chunk.leaf].name in columns:
                fetch(chunk.start, min(chunk.end, size))
        _check_chunks(copy.content, rows, columns)
        return copy

    def check_expansion(self, file: BinaryIO, rows: int) -> None:
        """Check that a file holds every value of its columns, neither packed nor encoded."""
        if (plain := plain_file(small_content(file))) is not None:
            check_rows(rows, plain.rows)
        else:
            _check_chunks(content_of(file), rows)


def _check_chunks(data: bytes | mmap, rows: int, filled: Collection[str] | None = None) -> None:
    layout = read_layout(data)
    for found in (layout.rows, sum(layout.groups)):
        check_rows(rows, found)
    columns = len(layout.leaves)
    if [(chunk.group, chunk.leaf) for chunk in layout.chunks] != [
        (group, leaf) for group in range(len(layout.groups)) for leaf in range(columns)
    ]:
        raise not_as_written("row groups with other columns")
    total = sum(chunk.end - chunk.start for chunk in layout.chunks)
    if total > len(data):
        raise not_as_written(f"{total:,} bytes of values in fewer")
    for chunk in layout.chunks:
        leaf = layout.leaves[chunk.leaf]
        if filled is not None and leaf.name not in filled:
            continue
        if not leaf.lists and chunk.values != layout.groups[chunk.group]:
            raise not_as_written(f"{chunk.values:,} values in '{leaf.name}'")
        if why := _unlike_plain(data, chunk, leaf):
            raise not_as_written(f"{why} in '{leaf.name}'")


def _unlike_plain(data: bytes | mmap, chunk: Chunk, leaf: Leaf) -> str:
    """Return how a chunk differs from values stored one after another; empty if it does not."""
    if chunk.codec != UNCOMPRESSED:
        return "compression"
    values = 0
    for page in pages(data, chunk):
        values += page.values
        if page.kind != DATA_PAGE or page.encoding != PLAIN or page.packed != page.unpacked:
            return "encoded values"
        if page.values * leaf.bits > 8 * page.unpacked:
            return "missing or repeated values"
    return "" if values == chunk.values else "another number of values"


PARQUET = Parquet(".parquet", order=0, is_queried=True)
