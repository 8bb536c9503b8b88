"""A file in an object store, of which only the parts that are read are fetched."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO

from runner.stores.bucket import Bucket, StoredObject

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 17  # bytes fetched at least, except at the end


class ObjectFile(io.RawIOBase):
    """An object as a file that can be read and sought in; it must not change meanwhile.

    Parameters
    ----------
    bucket, about
        The object.
    """

    def __init__(self, bucket: Bucket, about: StoredObject) -> None:
        self._bucket = bucket
        self._about = about
        self._place = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._about.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fetch the next bytes."""
        view = memoryview(buffer).cast("B")
        end = min(self._place + len(view), self._about.size)
        if end <= self._place:
            return 0
        data = self._bucket.get_range(self._about, self._place, end)
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


def ranged(bucket: Bucket, about: StoredObject) -> BinaryIO:
    """Return an object as a buffered file."""
    return io.BufferedReader(ObjectFile(bucket, about), _BUFFER)
