"""The size of the texts in attributes of an HDF5 file, found without reading the texts.

An attribute that is a list of texts consists of references, and thousands of them can point to
the same text of megabytes. Reading the attribute copies the text for each. Every reference
states a length, which HDF5 does not offer, so that the attributes are looked up here.

Source: HDF5 File Format Specification, version 3.0, sections IV.A.1 (object headers) and IV.A.2
(messages), https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from typing import IO

import numpy as np

_ATTRIBUTE, _CONTINUATION, _ELSEWHERE = 0x0C, 0x10, 0x15
"""Messages of an object: an attribute, more messages, and where further attributes stand."""
_PLAIN = (0, 1, 3, 4, 5, 8)
"""Types whose values stand in the attribute: numbers, texts of one length, bits, bytes, enums."""
_LISTS = 9
_NOWHERE = b"\xff" * 8
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])


_HEAP = b"GCOL\1\0\0\0"
"""The beginning of a collection of texts."""


def has_endless_heap(data: bytes | mmap.mmap) -> bool:
    """Return whether HDF5 would read a collection of texts in a file without end.

    It goes on by the size of each entry, also where that of unused room is nothing.

    Source: the specification above, section III.E (global heap).
    """
    left = len(data) // 4  # steps: collections may lie in each other only where they do harm
    start = data.find(_HEAP)
    while start >= 0 and start + 16 <= len(data):
        end = min(start + struct.unpack_from("<Q", data, start + 8)[0], len(data))
        place = start + 16
        while place + 16 <= end:
            number, size = struct.unpack_from("<H6xQ", data, place)
            step = 16 + -(-size // 8) * 8 if number else size
            left -= 1
            if step < 16 or left < 0:
                return True
            place += step
        start = data.find(_HEAP, start + 1)
    return False


class UncheckedError(Exception):
    """Attributes are stored in a way that Keras does not use, so that no size can be told."""


class HeldTexts:
    """Counts the texts in attributes of one object after the other.

    Parameters
    ----------
    file
        The HDF5 file, with addresses of 8 bytes that begin where the file does.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._read = 0

    def count(self, address: int) -> int:
        """Return the size in bytes of all texts in the attributes of an object.

        Parameters
        ----------
        address
            Of the object's header.

        Raises
        ------
        UncheckedError
            If it cannot be told.
        """
        try:
            return sum(_texts(kind, flags, data) for kind, flags, data in self._messages(address))
        except (struct.error, IndexError, ValueError) as error:
            raise UncheckedError from error

    def _messages(self, address: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield the messages of an object: their kinds, flags and contents."""
        start = self._at(address, 48)
        is_new = start[:4] == b"OHDR"
        if is_new:
            form = start[5]
            first = 6 + 16 * (form >> 5 & 1) + 4 * (form >> 4 & 1)
            width = 1 << (form & 3)
            length = int.from_bytes(start[first : first + width], "little")
            chunks, layout, extra = [(address + first + width, length)], "<BHB", form >> 1 & 2
        else:
            (length,) = struct.unpack_from("<I", start, 8)
            chunks, layout, extra = [(address + 16, length)], "<HHB", 3
        while chunks:
            chunk = self._at(*chunks.pop())
            place = 4 if chunk[:4] == b"OCHK" and is_new else 0
            while place + struct.calcsize(layout) + extra <= len(chunk):
                kind, size, flags = struct.unpack_from(layout, chunk, place)
                place += struct.calcsize(layout) + extra
                data = chunk[place : place + size]
                place += size
                if kind == _CONTINUATION:
                    chunks.append(struct.unpack_from("<QQ", data))
                else:
                    yield kind, flags, data

    def _at(self, address: int, length: int) -> bytes:
        self._read += length
        if self._read > 2 * self._size + 1000:  # the same messages again and again
            raise UncheckedError
        self._file.seek(address)
        return self._file.read(length)


def _texts(kind: int, flags: int, message: bytes) -> int:
    """Return the size of the texts in the attribute that a message holds, 0 if it holds none."""
    if kind == _ELSEWHERE and message[2 + 2 * (message[1] & 1) :][:8] != _NOWHERE:
        raise UncheckedError
    if kind != _ATTRIBUTE:
        return 0
    version, shared, name, type_, space = struct.unpack_from("<BBHHH", message)
    if flags & 2 or (version > 1 and shared):
        raise UncheckedError
    step = 8 if version == 1 else 1
    start = 8 + (version > 2) + -(-name // step) * step
    values = start + sum(-(-size // step) * step for size in (type_, space))
    form, is_text = message[start] & 15, message[start + 1] & 15 == 1
    if form in _PLAIN:
        return 0
    if form != _LISTS or not is_text:
        raise UncheckedError
    count = (len(message) - values) // _REFERENCE.itemsize
    return int(np.frombuffer(message, _REFERENCE, count, values)["length"].sum(dtype=np.int64))
