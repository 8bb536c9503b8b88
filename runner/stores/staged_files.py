"""The files of a run that is being written to a folder, a few of which are open at once."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MOST = 128  # half of what the strictest system lets a process open
_AT_ONCE = 1 << 20  # bytes: Linux takes longer for larger pieces
_PIECE = 8 << 20  # bytes that the system is asked at once to bring to the disk


class StagedFiles:
    """Any number of new files: a model may have more tables than a process may open files.

    Those that were written to last are open; the others are opened again for the next write.
    """

    def __init__(self) -> None:
        self._open: dict[Path, io.FileIO] = {}  # the one that was written to last is the last
        self._sent: dict[Path, int] = {}  # bytes on their way to the disk
        self._lock = threading.Lock()

    def new(self, path: Path) -> BinaryIO:
        """Open a new file.

        Raises
        ------
        OSError
            If there is such a file already, or it cannot be written.
        """
        with self._lock:
            self._make_room()
            self._open[path] = io.FileIO(path, "x")
        return io.BufferedWriter(_StagedFile(path, self))

    def write(self, path: Path, data: ReadableBuffer) -> int | None:
        """Write to the end of a file; return how many bytes were written, which may not be all."""
        with self._lock:
            file = self._open.pop(path, None)
            if file is None:
                self._make_room()
                file = io.FileIO(path, "r+")
                file.seek(0, io.SEEK_END)
            self._open[path] = file
            written = file.write(memoryview(data)[:_AT_ONCE])
            self._send(path, file)
            return written

    def close(self, path: Path) -> None:
        """Close a file."""
        with self._lock:
            file = self._open.pop(path, None)
            self._sent.pop(path, None)
        if file is not None:
            file.close()

    def _send(self, path: Path, file: io.FileIO) -> None:
        """Have the system begin to bring new data to the disk, for which the run waits at its end.

        That is what Linux does with dirty pages of which it is said that they are not needed; they
        stay in memory.
        """
        if sys.platform == "linux":
            start, end = self._sent.get(path, 0), file.tell()
            if end - start >= _PIECE:
                with contextlib.suppress(OSError):  # a hint, which a file system may not take
                    os.posix_fadvise(file.fileno(), start, end - start, os.POSIX_FADV_DONTNEED)
                self._sent[path] = end

    def _make_room(self) -> None:
        if len(self._open) >= _MOST:
            self._open.pop(next(iter(self._open))).close()


class _StagedFile(io.RawIOBase):
    def __init__(self, path: Path, files: StagedFiles) -> None:
        self._path = path
        self._files = files

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int | None:
        return self._files.write(self._path, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._files.close(self._path)
