"""FlatBuffers, the format of the metadata of Arrow files."""

from __future__ import annotations

import struct
from collections.abc import Mapping

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

    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self._place = place
        fields = place - struct.unpack_from("<i", data, place)[0]
        if fields < 0:
            raise IndexError("a table outside of its data")
        size = struct.unpack_from("<H", data, fields)[0]
        self._fields = struct.unpack_from(f"<{max(0, size - 4) // 2}H", data, fields + 4)

    @classmethod
    def root(cls, data: bytes) -> FlatTable:
        """Return the outermost table."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        """Return whether a field is there, which is not if it has its default value."""
        return field < len(self._fields) and self._fields[field] > 0

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
        return int(self._place + self._fields[field])

    def child(self, field: int) -> FlatTable:
        """Return the table in a field."""
        return FlatTable(self.data, self._followed(field))

    def vector(self, field: int) -> tuple[int, int]:
        """Return the offset of the entries of a list, and their number."""
        if not self.has(field):
            return 0, 0
        place = self._followed(field)
        return place + 4, struct.unpack_from("<I", self.data, place)[0]

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
