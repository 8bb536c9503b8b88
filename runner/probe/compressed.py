"""What a compressed file may unpack to: a multiple of its own size, or little anyway."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa

from runner.errors import InputError
from runner.sizes import readable

COMPRESSIONS = {
    "a gzip file": "gzip",
    "a bzip2 file": "bz2",
    "a zstd file": "zstd",
    "an lz4 file": "lz4",
}
"""Arrow's names of compressions, by what `runner.regular_files.binary_kind` calls the files."""

# A file may unpack to this multiple of its own size, or to this size: of text, whose reading takes
# longer, or of numbers.
_TIMES, _TEXT_BYTES, _NUMBER_BYTES = 200, 2**26, 2**30


def check_unpacked(path: Path, unpacked: int, advice: str) -> None:
    """Check that the numbers of a file do not take far more than the file, before they are read.

    Parameters
    ----------
    path
        Path of the file.
    unpacked
        Size of the numbers in bytes, as the file declares it.
    advice
        How to save them without compression.

    Raises
    ------
    InputError
        If they do.
    """
    size = path.stat().st_size
    if unpacked > max(_NUMBER_BYTES, _TIMES * size):
        raise InputError.of(
            "probe.path",
            f"{path} has {readable(size)}, and unpacks to {readable(unpacked)}",
            f"if this is intended, {advice}",
        )


class Unpacked(io.RawIOBase):
    """The text in a compressed file, with a maximum size.

    Parameters
    ----------
    path
        Path of the file.
    compression
        A value of `COMPRESSIONS`.

    Raises
    ------
    InputError
        During reading, if the file is damaged, or unpacks to far more than its size.
    """

    def __init__(self, path: Path, compression: str) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._most = self._left = max(_TEXT_BYTES, _TIMES * self._size)
        self._stream: Any = pa.CompressedInputStream(pa.OSFile(str(path)), compression)

    def readable(self) -> bool:
        """Return true: the content can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; return their number."""
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            raise InputError.of("probe.path", f"{self._path} is damaged") from error
        self._left -= len(data)
        if self._left < 0:
            raise InputError.of(
                "probe.path",
                f"{self._path} has {readable(self._size)}, and unpacks to more than "
                f"{readable(self._most)}",
                "if this is intended, unpack it first",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()
