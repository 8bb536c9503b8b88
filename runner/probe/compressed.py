"""What a compressed file may unpack to: a multiple of its own size, or little anyway."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa

from runner.errors import InputError
from runner.given_files import GivenFile
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

# A file may hold so many samples, or a sample for so many bytes that it may unpack to: showing one
# to a model takes about as long as reading a kilobyte.
_SAMPLES, _SAMPLE_BYTES = 2**23, 128


def expands(size: int, unpacked: int, *, text: bool = False) -> bool:
    """Return whether values take far more than the file that they are read from.

    Parameters
    ----------
    size, unpacked
        Sizes of the file and of the values in bytes.
    text
        Whether the values are text.
    """
    return unpacked > largest(size, text=text)


def largest(size: int, *, text: bool = False) -> int:
    """Return what the values of a file of a size may take, in bytes."""
    return max(_TEXT_BYTES if text else _NUMBER_BYTES, _TIMES * size)


def check_unpacked(
    file: GivenFile, unpacked: int, advice: str, *, place: str = "probe.path", text: bool = False
) -> None:
    """Check that the values of a file do not take far more than the file, before they are read.

    Parameters
    ----------
    file
        The file.
    unpacked
        Size of the values in bytes, as the file declares it.
    advice
        How to save them without compression.
    place
        Key of the file.
    text
        Whether the values are text.

    Raises
    ------
    InputError
        If they do.
    """
    size = file.size
    if expands(size, unpacked, text=text):
        raise InputError.of(
            place,
            f"{file} has {readable(size)}, and unpacks to {readable(unpacked)}",
            f"if this is intended, {advice}",
        )


def check_samples(file: GivenFile, samples: int, advice: str) -> None:
    """Check that a file does not hold far more samples than its size suggests.

    Parameters
    ----------
    file
        The file.
    samples
        Number of samples.
    advice
        As in `check_unpacked`.

    Raises
    ------
    InputError
        If it does.
    """
    size = file.size
    most = max(_SAMPLES, _TIMES * size // _SAMPLE_BYTES)
    if samples > most:
        raise InputError.of(
            "probe.path",
            f"{file} has {readable(size)}, and unpacks to {samples:,} samples, the limit for this "
            f"size is {most:,}",
            f"if this is intended, {advice}",
        )


class Unpacked(io.RawIOBase):
    """The text in a compressed file, with a maximum size.

    Parameters
    ----------
    file
        The file.
    compression
        A value of `COMPRESSIONS`.

    Raises
    ------
    InputError
        During reading, if the file is damaged, or unpacks to far more than its size.
    """

    def __init__(self, file: GivenFile, compression: str) -> None:
        self._file = file
        self._size = file.size
        self._most = self._left = max(_TEXT_BYTES, _TIMES * self._size)
        self._stream: Any = pa.CompressedInputStream(file.open(), compression)

    def readable(self) -> bool:
        """Return true: the content can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; return their number."""
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            raise InputError.of("probe.path", f"{self._file} is damaged") from error
        self._left -= len(data)
        if self._left < 0:
            raise InputError.of(
                "probe.path",
                f"{self._file} has {readable(self._size)}, and unpacks to more than "
                f"{readable(self._most)}",
                "if this is intended, unpack it first",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()
