"""Thrift's compact protocol, the format of Parquet's metadata: a reader and a writer.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap
from typing import Any

I32, I64, TEXT, STRUCT = 5, 6, 8, 12
"""Kinds of values."""

_DEEPEST = 30
_MOST_FIELDS = 2**15  # other readers wrap larger numbers
_TRUE, _FALSE, _BYTE, _I16, _DOUBLE, _LIST, _SET = 1, 2, 3, 4, 7, 9, 10


class CompactReader:
    """Reader of values in the order in which they are stored.

    Every method raises IndexError if the data ends too early, is not valid, or holds a field of
    a struct twice.

    Parameters
    ----------
    data
        The bytes to read.
    at
        Offset of the first value.

    Attributes
    ----------
    at : int
        Offset of the next value.
    """

    def __init__(self, data: bytes | mmap, at: int) -> None:
        self._data = data
        self.at = at

    def struct(self, inner: Mapping[int, Any]) -> dict[int, Any]:
        """Read a struct and return its integers by the numbers of their fields.

        Other fields are skipped, so that the result is never larger than what was asked for.

        Parameters
        ----------
        inner
            Fields that are returned too: a struct, with the fields to return of it, or a text,
            with None.
        """
        data, at, field = self._data, self.at, 0
        found: dict[int, Any] = {}
        # Files have as many of these structs as columns, so that calls are avoided here.
        while kind := (byte := data[at]) & 0x0F:
            at += 1
            if byte >> 4:
                field += byte >> 4
            else:
                value, at = _varint(data, at)
                field = value >> 1 ^ -(value & 1)
            if field in found or not 0 < field < _MOST_FIELDS:
                raise IndexError
            if _I16 <= kind <= I64 and field not in inner:
                value = data[at]
                at += 1
                if value >= 0x80:
                    value, at = _varint(data, at - 1)
                found[field] = value >> 1 ^ -(value & 1)
            elif field not in inner:
                at = _after(data, at, kind, 0)
            elif kind == STRUCT and inner[field] is not None:
                self.at = at
                found[field] = self.struct(inner[field])
                at = self.at
            elif kind == TEXT and inner[field] is None:
                size, start = _varint(data, at)
                at = _after(data, at, kind, 0)
                found[field] = data[start : start + size]
            else:
                raise IndexError
        self.at = at + 1
        return found

    def fields(self) -> Iterator[tuple[int, int]]:
        """Read a struct field by field: yield the number and the kind of each.

        The caller reads the field with `integer` or `structs`, or skips it.
        """
        field = 0
        found: set[int] = set()
        while kind := (byte := self._data[self.at]) & 0x0F:
            self.at += 1
            field = field + (byte >> 4) if byte >> 4 else self.integer(_I16)
            if field in found or not 0 < field < _MOST_FIELDS:
                raise IndexError
            found.add(field)
            yield field, kind
        self.at += 1

    def structs(self, kind: int) -> range:
        """Read the beginning of a list of structs, and return their numbers."""
        if kind not in (_LIST, _SET):
            raise IndexError
        inside, count, self.at = _list(self._data, self.at)
        if inside != STRUCT and count:
            raise IndexError
        return range(count)

    def integer(self, kind: int) -> int:
        """Read an integer."""
        if not _I16 <= kind <= I64:
            raise IndexError
        value, self.at = _varint(self._data, self.at)
        return value >> 1 ^ -(value & 1)

    def skip(self, kind: int) -> None:
        """Skip a value of a kind."""
        self.at = _after(self._data, self.at, kind, 0)


def _after(data: bytes | mmap, at: int, kind: int, depth: int) -> int:
    """Return the offset of the end of a value."""
    if depth > _DEEPEST:
        raise IndexError
    if kind in (_LIST, _SET):
        kind, count, at = _list(data, at)
        if kind in (_TRUE, _FALSE, _BYTE):  # a byte each, other than as fields
            at += count
        elif _I16 <= kind <= I64:
            for _ in range(count):
                while data[at] >= 0x80:
                    at += 1
                at += 1
        else:
            for _ in range(count):
                at = _after(data, at, kind, depth + 1)
    elif kind == STRUCT:
        while inside := (byte := data[at]) & 0x0F:
            at += 1
            if not byte >> 4:
                _, at = _varint(data, at)
            at = _after(data, at, inside, depth + 1)
        at += 1
    elif _I16 <= kind <= I64:
        while data[at] >= 0x80:
            at += 1
        at += 1
    elif kind == TEXT:
        size, at = _varint(data, at)
        at += size
    elif kind in (_BYTE, _DOUBLE):
        at += 1 if kind == _BYTE else 8
    elif kind not in (_TRUE, _FALSE):  # without content; Parquet has no maps
        raise IndexError
    if at > len(data):
        raise IndexError
    return at


def _list(data: bytes | mmap, at: int) -> tuple[int, int, int]:
    """Return the kind of a list's values, their number, and the offset of the first."""
    byte = data[at]
    if byte >> 4 < 15:
        return byte & 0x0F, byte >> 4, at + 1
    count, at = _varint(data, at + 1)
    return byte & 0x0F, count, at


def _varint(data: bytes | mmap, at: int) -> tuple[int, int]:
    """Return a number, and the offset of its end."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 or shift > 63:
            return value, at


def varint(value: int) -> bytes:
    """Return a count that is not negative: seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def integer_field(kind: int, value: int, step: int = 1) -> bytes:
    """Return a field of a struct that holds an integer that is not negative.

    Parameters
    ----------
    kind
        `I32` or `I64`.
    value
        The integer.
    step
        Number of the field minus that of the field before it.
    """
    return bytes([step << 4 | kind]) + varint(value << 1)


def list_field(kind: int, items: Sequence[bytes]) -> bytes:
    """Return a field of a struct, the next one, that holds a list.

    Parameters
    ----------
    kind
        Kind of its items.
    items
        The items as they are written.
    """
    count = len(items)
    start = bytes([count << 4 | kind]) if count < 15 else bytes([15 << 4 | kind]) + varint(count)
    return bytes([1 << 4 | _LIST]) + start + b"".join(items)
