"""Reader of structs in Thrift's compact protocol, the format of Parquet's metadata.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

_DEEPEST = 30
_TRUE, _FALSE = 1, 2


class CompactStruct:
    """Reader of the struct at the beginning of some bytes.

    Parameters
    ----------
    data
        Bytes that begin with the struct.

    Attributes
    ----------
    at
        Offset of the end of the bytes read so far.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def fields(self, depth: int = 0) -> dict[int, object]:
        """Return the fields of the struct by number: integers, structs and lists of these.

        Other values (texts, fractions) are ``None``.

        Raises
        ------
        IndexError
            If the struct does not end within the data, or is not valid.
        """
        found: dict[int, object] = {}
        field = 0
        while (byte := self._byte()) & 0x0F:
            field = field + (byte >> 4) if byte >> 4 else self._zigzag()
            found[field] = self._value(byte & 0x0F, depth)
        return found

    def _value(self, kind: int, depth: int) -> object:
        if depth > _DEEPEST:
            raise IndexError
        match kind:
            case 1 | 2:  # true and false have no content
                return kind == _TRUE
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._zigzag()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 9 | 10:
                return self._list(depth)
            case 12:
                return self.fields(depth + 1)
            case _:
                raise IndexError  # Parquet has no maps
        return None

    def _list(self, depth: int) -> list[object] | None:
        byte = self._byte()
        count = byte >> 4 if byte >> 4 < 15 else self._varint()
        kind = byte & 0x0F
        if kind in (_TRUE, _FALSE):  # a byte each, other than as fields
            self._skip(count)
            return None
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 63:
                return value

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
