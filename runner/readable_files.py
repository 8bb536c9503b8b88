"""Files and tables that can be opened wherever they are kept, and the content of an open file."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# However large the file is, only what is filled in takes memory.
_SPARSE: dict[str, int] = {}
if sys.platform != "win32":
    _SPARSE["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)


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

    def path(self) -> Path | None:
        """Open the file, and return its path if it is on a disk: also where it was fetched to."""
        with self.open() as file:
            name = getattr(file, "name", None)
            return Path(name).absolute() if isinstance(name, str | Path) else None


@dataclass(frozen=True)
class ReadableTable:
    """A table in one file, or in several files that hold its rows one after another.

    Attributes
    ----------
    place
        Where it is; used in messages.
    files
        Its files.
    """

    place: str
    files: tuple[ReadableFile, ...]

    @classmethod
    def of(cls, file: ReadableFile) -> ReadableTable:
        """Return a table in one file."""
        return cls(file.place, (file,))


class MemoryFile(io.RawIOBase):
    """A file in memory of which only some ranges are known; the others take no memory.

    Parameters
    ----------
    size
        Size in bytes.

    Attributes
    ----------
    content : mmap
        The content, which is zero where nothing was filled in. It stays when the file is closed.
    """

    def __init__(self, size: int) -> None:
        self.content = mmap.mmap(-1, size, **_SPARSE)
        self._place = 0

    def fill(self, start: int, data: bytes) -> None:
        """Fill in a range."""
        self.content[start : start + len(data)] = data

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the file, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self.content)}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        data = self.content[self._place : self._place + len(view)]
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


def content_of(file: IO[bytes]) -> bytes | mmap.mmap:
    """Return the content of an open file: mapped into memory if it is on a disk, else read.

    It stays when the file is closed.
    """
    if isinstance(file, MemoryFile):
        return file.content
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with contextlib.suppress(io.UnsupportedOperation):
        number = file.fileno()
        if size and os.fstat(number).st_size == size:  # not of a compressed file behind this one
            return mmap.mmap(number, size, access=mmap.ACCESS_READ)
    return file.read()
