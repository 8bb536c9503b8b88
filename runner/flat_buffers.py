"""FlatBuffers, the format of LiteRT files, and of the metadata of Arrow files."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping

import numpy as np


class FlatTable:
    """A table of FlatBuffers, the format of Arrow's metadata.

    The layout is that of https://flatbuffers.dev/internals: a table begins with the distance
    back to its list of fields, which are counted from the table's beginning. Damaged ones raise
    `IndexError` or `struct.error`.

    Parameters
    ----------
    data
        The bytes that it is in.
    place
        Where it begins.
    """

    def __init__(self, data: bytes | mmap.mmap, place: int) -> None:
        self.data = data
        self._place = place
        fields = place - struct.unpack_from("<i", data, place)[0]
        if fields < 0:
            raise IndexError("a table outside of its data")
        self._fields = fields
        self._count = (struct.unpack_from("<H", data, fields)[0] - 4) // 2

    @classmethod
    def root(cls, data: bytes | mmap.mmap) -> FlatTable:
        """Return the outermost table."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        """Return whether a field is there, which is not if it has its default value."""
        return field < self._count and self._offset(field) > 0

    def byte(self, field: int) -> int:
        """Return the value of a field of one byte."""
        return self.data[self.place(field)] if self.has(field) else 0

    def long(self, field: int) -> int:
        """Return the value of a field of eight bytes."""
        return (
            int(struct.unpack_from("<q", self.data, self.place(field))[0]) if self.has(field) else 0
        )

    def place(self, field: int) -> int:
        """Return the offset of a field that is there."""
        return self._place + self._offset(field)

    def child(self, field: int) -> FlatTable:
        """Return the table in a field."""
        return FlatTable(self.data, self._followed(field))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the offset of the entries of a list, and their number."""
        if not self.has(field):
            return 0, 0
        place = self._followed(field)
        return place + 4, struct.unpack_from("<I", self.data, place)[0]

    def tables(self, field: int) -> Iterator[FlatTable]:
        """Yield the tables in a list."""
        start, count = self.vector(field)
        for place in range(start, start + 4 * count, 4):
            yield FlatTable(self.data, place + struct.unpack_from("<I", self.data, place)[0])

    def _offset(self, field: int) -> int:
        return int(struct.unpack_from("<H", self.data, self._fields + 4 + 2 * field)[0])

    def _followed(self, field: int) -> int:
        place = self.place(field)
        return int(place + struct.unpack_from("<I", self.data, place)[0])


def with_vectors(table: FlatTable, vectors: Mapping[int, np.ndarray]) -> bytearray:
    """Return a copy of the data of a table in which lists of structs are replaced.

    Parameters
    ----------
    table
        A table.
    vectors
        The lists by field, which must be there: structured arrays, whose longest entries have
        eight bytes.

    Returns
    -------
    bytearray
        The data, whose length is a multiple of eight bytes. The new lists are at its end, the old
        ones stay without being referred to.
    """
    data = bytearray(table.data)
    for field, entries in vectors.items():
        data += bytes(-len(data) % 8 + 4)  # the structs after the count are aligned
        struct.pack_into("<I", data, table.place(field), len(data) - table.place(field))
        data += struct.pack("<I", len(entries)) + entries.tobytes()
    return data + bytes(-len(data) % 8)
