"""Checks that a table's file does not expand in memory: no compression, no repeated values.

Runner writes such files, which take a few times their size in memory. Other files can take a
thousand times their size, which shows only while they are read.
"""

from __future__ import annotations

import os
import struct
from mmap import mmap
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from runner.errors import DamagedError, first_line
from runner.parquet_layout import (
    DATA_PAGE,
    PLAIN,
    UNCOMPRESSED,
    Chunk,
    Leaf,
    mapped,
    pages,
    read_layout,
)
from runner.tables.column_types import check_types
from runner.tables.plain_parquet import plain_file, small_content

_RECORD_BATCH = 3
_END = b"ARROW1"

_MOST_COLUMNS = 100_000
_LONGEST_HEADER = 4 << 20


def check_expansion(path: Path, format: str, rows: int) -> None:
    """Check that a table cannot take far more memory than the size of its file.

    Parameters
    ----------
    path
        Path of the table's file.
    format
        A key of `runner.table_formats.FORMATS`.
    rows
        Number of rows that the table must have.

    Raises
    ------
    DamagedError
        If the table is compressed or encoded, or has another number of rows.
    """
    try:
        if format == "csv":
            _check_csv(path)
        elif format == "arrow":
            _check_blocks(path)
            _check_rows(path, rows, _arrow_rows(path))
        elif (plain := plain_file(small_content(path))) is not None:
            _check_rows(path, rows, plain.rows)
        else:
            with mapped(path) as data:
                _check_chunks(path, data, rows)
    except DamagedError:
        raise
    except (pa.ArrowException, OSError, struct.error, IndexError, ValueError) as error:
        raise DamagedError.of(
            str(path), f"expected a {format} table, found a damaged file ({first_line(error)})"
        ) from error


def _check_rows(path: Path, expected: int, found: int) -> None:
    if found != expected:
        raise DamagedError.of(str(path), f"expected {expected:,} rows, found {found:,}")


def _check_chunks(path: Path, data: mmap, rows: int) -> None:
    """Check that a Parquet file holds every value of its columns, neither packed nor encoded."""
    layout = read_layout(data)
    for found in (layout.rows, sum(layout.groups)):
        _check_rows(path, rows, found)
    columns = len(layout.leaves)
    if [(chunk.group, chunk.leaf) for chunk in layout.chunks] != [
        (group, leaf) for group in range(len(layout.groups)) for leaf in range(columns)
    ]:
        raise _refused(path, "row groups with other columns")
    total = sum(chunk.end - chunk.start for chunk in layout.chunks)
    if total > len(data):
        raise _refused(path, f"{total:,} bytes of values in fewer")
    for chunk in layout.chunks:
        leaf = layout.leaves[chunk.leaf]
        if not leaf.lists and chunk.values != layout.groups[chunk.group]:
            raise _refused(path, f"{chunk.values:,} values in '{leaf.name}'")
        if why := _unlike_plain(data, chunk, leaf):
            raise _refused(path, f"{why} in '{leaf.name}'")


def _unlike_plain(data: mmap, chunk: Chunk, leaf: Leaf) -> str:
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


def _check_csv(path: Path) -> None:
    with path.open("rb") as file:
        columns = file.readline(_LONGEST_HEADER).count(b",") + 1
    if columns > _MOST_COLUMNS:
        raise DamagedError.of(
            str(path), f"expected at most {_MOST_COLUMNS:,} columns, found {columns:,}"
        )


def _arrow_rows(path: Path) -> int:
    """Return the number of rows of an Arrow file, after validating its types and batches."""
    rows = size = 0
    with ipc.open_file(pa.memory_map(str(path))) as file:
        check_types(path, file.schema)
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            batch.validate(full=True)
            rows += batch.num_rows
            size += batch.nbytes
    if size > path.stat().st_size:
        raise _refused(path, f"{size:,} bytes of values in fewer")
    return rows


def _check_blocks(path: Path) -> None:
    """Check that an Arrow file has no compressed buffers and no dictionaries."""
    with path.open("rb") as file:
        end = file.seek(-10, os.SEEK_END)
        length, mark = struct.unpack("<i6s", file.read(10))
        if mark != _END or not 0 < length <= end:
            raise _refused(path, "no end of an Arrow file")
        file.seek(end - length)
        footer = _Flat.root(file.read(length))
        if footer.vector(2)[1]:
            raise _refused(path, "dictionaries")
        start, count = footer.vector(3)
        for number in range(count):
            # A block: the offset of its message, and the lengths of its metadata and body.
            where, long = struct.unpack_from("<qi", footer.data, start + 24 * number)
            if not 8 < long <= end or not 0 <= where <= end:
                raise _refused(path, "a block outside the file")
            file.seek(where)
            (marker,) = struct.unpack("<i", file.read(4))
            # Before Arrow 0.15, a message began with its length, without a marker.
            message = _Flat.root(file.read(long - 4)[4 if marker == -1 else 0 :])
            if message.byte(1) != _RECORD_BATCH or message.child(2).has(3):
                raise _refused(path, "compressed buffers")


class _Flat:
    """A table of FlatBuffers, the format of Arrow's metadata.

    The layout is that of https://flatbuffers.dev/internals: a table begins with the distance
    back to its list of fields, which are counted from the table's beginning.
    """

    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self._place = place
        fields = place - struct.unpack_from("<i", data, place)[0]
        if fields < 0:
            raise IndexError("a table outside of its data")
        size = struct.unpack_from("<H", data, fields)[0]
        self._fields = struct.unpack_from(f"<{max(0, size - 4) // 2}H", data, fields + 4)

    @classmethod
    def root(cls, data: bytes) -> _Flat:
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        return field < len(self._fields) and self._fields[field] > 0

    def byte(self, field: int) -> int:
        return self.data[self._place + self._fields[field]] if self.has(field) else 0

    def child(self, field: int) -> _Flat:
        return _Flat(self.data, self._followed(field))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the offset of the entries of a list, and their number."""
        if not self.has(field):
            return 0, 0
        place = self._followed(field)
        return place + 4, struct.unpack_from("<I", self.data, place)[0]

    def _followed(self, field: int) -> int:
        place = self._place + self._fields[field]
        return int(place + struct.unpack_from("<I", self.data, place)[0])


def _refused(path: Path, what: str) -> DamagedError:
    return DamagedError.of(
        str(path), f"expected a table as Runner writes it, uncompressed, found {what}"
    )
