"""Arrow files of many columns of numbers, written without an object of Arrow for each column.

The schema, the footer and the messages are Arrow's own, for fewer columns or rows; the lists of
what is in the file are replaced in them by longer ones.
Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from runner.flat_buffers import FlatTable, with_vectors

_MARK = b"ARROW1"
_CONTINUED = b"\xff\xff\xff\xff"  # begins each message
_ALIGNMENT = 8  # of messages and columns, in bytes
_AT_ONCE = 1 << 20  # bytes of short columns that are copied together
_LONG = 1 << 16  # bytes of a column that is written by itself

# Fields of Arrow's messages.
_HEADER, _BODY_LENGTH = 2, 3
_NODES, _BUFFERS = 1, 2
_BATCHES = 3

_BUFFER = np.dtype([("offset", "<i8"), ("length", "<i8")])
_NODE = np.dtype([("rows", "<i8"), ("missing", "<i8")])
_BLOCK = np.dtype([("offset", "<i8"), ("metadata", "<i4"), ("padding", "<i4"), ("body", "<i8")])


class _Message(NamedTuple):
    """A record batch as Arrow stores it: its FlatBuffer, and the bytes of its columns."""

    metadata: bytes
    body: memoryview


def is_wide(schema: pa.Schema) -> bool:
    """Return whether the last columns of a schema are at least two of the same type of numbers."""
    kinds = schema.types[-2:]
    number = kinds and (pa.types.is_integer(kinds[-1]) or pa.types.is_floating(kinds[-1]))
    return bool(number) and len(kinds) > 1 and kinds[0] == kinds[1]


class WideArrowWriter:
    """Writer of an Arrow file with a batch for each group of rows.

    Parameters
    ----------
    output
        File to write to, which is not closed.
    schema
        Columns and metadata.
    """

    def __init__(self, output: pa.NativeFile, schema: pa.Schema) -> None:
        self._output = output
        self._schema = schema
        self._blocks: list[tuple[int, int, int, int]] = []
        self._at = 0
        self._write(_MARK + b"\0\0")
        self._write(schema.serialize())

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write rows as one group."""
        if not len(batch):
            return
        message = _message(batch)
        self._begin(message.metadata, len(message.body))
        self._write(message.body)

    def write_columns(self, index: Sequence[pa.Array], values: np.ndarray) -> None:
        """Write rows as one group.

        Parameters
        ----------
        index
            The first columns.
        values
            All other columns: shape (column, row), contiguous along the last axis. They are not
            copied if they lie in memory as in the file, so they may not change afterwards.
        """
        columns, rows = values.shape
        if not (index and rows):
            arrays = [*index, *map(pa.array, values)]
            self.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
            return
        names = self._schema.names[: len(index)]
        first = _message(pa.RecordBatch.from_arrays(list(index), names))
        size = rows * values.itemsize
        room = _aligned(size)
        nodes = np.zeros(len(index) + columns, _NODE)
        nodes["rows"] = rows
        own = np.zeros((columns, 2), _BUFFER)  # of validity, which is empty, and of values
        own["offset"] = len(first.body) + room * np.arange(columns)[:, None]
        own["length"][:, 1] = size
        message = FlatTable.root(first.metadata)
        batch = message.child(_HEADER)
        buffers = np.concatenate([_entries(batch, _BUFFERS, _BUFFER), own.reshape(-1)])
        metadata = with_vectors(batch, {_NODES: nodes, _BUFFERS: buffers})
        body = len(first.body) + room * columns
        struct.pack_into("<q", metadata, message.place(_BODY_LENGTH), body)
        self._begin(metadata, body)
        self._write(first.body)
        for piece in _pieces(values, room):
            piece.flags.writeable = False
            self._write(piece)

    def close(self) -> None:
        """Write the footer."""
        empty = pa.BufferOutputStream()
        pa.ipc.new_file(empty, self._schema).close()
        content = empty.getvalue().to_pybytes()
        (length,) = struct.unpack("<i", content[-10:-6])
        footer = FlatTable.root(content[-10 - length : -10])
        blocks = np.array(self._blocks, _BLOCK)
        data = with_vectors(footer, {_BATCHES: blocks})
        end = _CONTINUED + bytes(4)
        self._write(end + data + struct.pack("<i", len(data)) + _MARK)

    def _begin(self, metadata: bytes | bytearray, body: int) -> None:
        """Write what comes before the columns of a batch."""
        size = _aligned(len(metadata))
        head = _CONTINUED + struct.pack("<i", size) + metadata + bytes(size - len(metadata))
        self._blocks.append((self._at, len(head), 0, body))
        self._write(head)

    def _write(self, data: bytes | memoryview | np.ndarray | pa.Buffer) -> None:
        buffer = pa.py_buffer(data)
        self._output.write(buffer)
        self._at += buffer.size


def _message(batch: pa.RecordBatch) -> _Message:
    data = memoryview(batch.serialize())
    start = len(_CONTINUED) + 4
    (size,) = struct.unpack_from("<i", data, len(_CONTINUED))
    return _Message(bytes(data[start : start + size]), data[start + size :])


def _entries(table: FlatTable, field: int, kind: np.dtype) -> np.ndarray:
    """Return a copy of a list of structs."""
    place, count = table.vector(field)
    return np.frombuffer(table.data, kind, count, place)


def _pieces(values: np.ndarray, room: int) -> Iterator[np.ndarray]:
    """Yield columns as they lie in the file, in which each takes so many bytes."""
    size = values.shape[1] * values.itemsize
    padding = np.zeros(room - size, np.uint8)
    if values.flags.c_contiguous and not padding.size:
        yield values.view()
    elif size >= _LONG:
        for column in values:
            yield column.view()
            yield padding
    else:
        at_once = _AT_ONCE // max(1, room)
        for start in range(0, len(values), at_once):
            some = values[start : start + at_once].view(np.uint8)
            piece = np.empty((len(some), room), np.uint8)
            piece[:, :size] = some
            piece[:, size:] = padding
            yield piece


def _aligned(size: int) -> int:
    """Return the number of bytes that something takes in the file."""
    return -(-size // _ALIGNMENT) * _ALIGNMENT
