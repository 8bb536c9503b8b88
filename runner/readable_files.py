"""Files that can be opened wherever they are kept, and the content of an open file."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import BinaryIO


@dataclass(frozen=True)
class ReadableFile:
    """A file that can be opened for reading, wherever it is kept.

    Attributes
    ----------
    place
        Where it is; used in messages.
    open
        Opens it at its beginning. The open file can be sought in.
    """

    place: str
    open: Callable[[], BinaryIO]


def content_of(file: BinaryIO) -> bytes | mmap:
    """Return the content of an open file: mapped into memory if it is on a disk, else read.

    It stays when the file is closed.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with contextlib.suppress(io.UnsupportedOperation):
        number = file.fileno()
        if os.fstat(number).st_size == size:  # not that of a compressed file behind this one
            return mmap(number, size, access=ACCESS_READ)
    return file.read()
