"""Arrow's stream format as a table, read batch by batch from a disk or an object store.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import ipc

from runner.errors import InputError, first_line
from runner.flat_buffers import FlatTable
from runner.given_files import GivenFile
from runner.probe.compressed import check_samples
from runner.probe.stored_tables import StoredTable
from runner.sizes import readable

_MARK = b"\xff\xff\xff\xff"  # before each message
_SCHEMA, _RECORD_BATCH = 1, 3
_KIND, _HEADER, _BODY_BYTES = 1, 2, 3  # fields of a message
_ROWS, _COMPRESSION = 0, 3  # fields of a batch
_METADATA_BYTES = 2**24
_UNPACK = "save it as .npy and use probe=npy"


class ArrowStream(StoredTable):
    """A file of Arrow's stream format, uncompressed and without dictionaries.

    Parameters
    ----------
    file
        The file.

    Raises
    ------
    InputError
        If the file does not begin as one.
    """

    rows = None

    def __init__(self, file: GivenFile) -> None:
        self.place = file.place
        self._file = file
        self._limit = 0
        with self._reading(), file.open() as opened:
            kind, metadata, body = _message(opened) or (0, b"", 0)
            if kind != _SCHEMA or body:
                raise ValueError("it does not begin with its columns")
            self.schema = ipc.read_schema(ipc.read_message(metadata))
            self.names = self.schema.names

    def check(self, numbers: Sequence[str], texts: Sequence[str], limit: int) -> None:  # noqa: ARG002
        """Keep the limit: each batch is checked before it is read."""
        self._limit = limit

    def tables(self, include: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of each batch."""
        rows = 0
        with self._reading(), self._file.open() as opened:
            _message(opened)
            while (found := _message(opened)) is not None:
                kind, metadata, body = found
                rows += self._checked_rows(kind, metadata, body)
                check_samples(self._file, rows, _UNPACK)
                whole = metadata + opened.read(body)
                if len(whole) < len(metadata) + body:
                    raise ValueError("it ends within a batch")
                batch = ipc.read_record_batch(ipc.read_message(whole), self.schema)
                batch.validate()
                if batch.nbytes > body:  # the same values, in several columns
                    raise ValueError("its values overlap")
                batch.validate(full=True)
                yield pa.table(batch.select(list(include)))

    def _checked_rows(self, kind: int, metadata: bytes, body: int) -> int:
        if kind != _RECORD_BATCH:
            raise ValueError("it holds dictionaries")
        batch = FlatTable.root(metadata[8:]).child(_HEADER)
        if batch.has(_COMPRESSION):
            raise ValueError("it is compressed")
        if body > self._limit:
            raise InputError.of(
                "probe.max_bytes",
                f"{self._file}: a batch has {readable(body)}, the limit is {readable(self._limit)}",
                "if this is intended, raise probe.max_bytes",
            )
        return batch.long(_ROWS)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of Arrow into an InputError that describes the file."""
        try:
            yield
        except InputError:
            raise
        except (pa.ArrowException, OSError, ValueError, IndexError, struct.error) as error:
            message = f"{self._file} is no Arrow stream, or damaged: {first_line(error)}"
            raise InputError.of("probe.path", message) from error


def _message(file: BinaryIO) -> tuple[int, bytes, int] | None:
    """Return the kind of the next message, its bytes without its body, and the body's size."""
    start = file.read(8)
    length = int.from_bytes(start[4:], "little")
    if not start or (start[:4] == _MARK and length == 0):
        return None
    if start[:4] != _MARK or not 0 < length <= _METADATA_BYTES:
        raise ValueError("expected a message")
    metadata = file.read(length)
    if len(metadata) < length:
        raise ValueError("it ends within a message")
    message = FlatTable.root(metadata)
    body = message.long(_BODY_BYTES)
    if body < 0:
        raise ValueError("a message has no size")
    return message.byte(_KIND), start + metadata, body
