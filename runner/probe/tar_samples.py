"""The samples of tar files as WebDataset writes them: consecutive files with a name in common.

Convention: https://github.com/webdataset/webdataset#the-webdataset-format
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from runner.errors import InputError, first_line
from runner.given_files import GivenFile
from runner.probe.compressed import COMPRESSIONS, Unpacked
from runner.regular_files import BINARY_START, binary_kind
from runner.sizes import readable

ENDINGS = (".tar", ".tar.gz", ".tgz")
"""Endings of the names of tar files."""

_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError)
_HEADER_BYTES = 2**16  # of a member: its name and attributes


@dataclass
class TarSample:
    """The files of one sample.

    Attributes
    ----------
    shard
        The tar file, for messages.
    key
        What their names have in common.
    files
        Content of the files that are wanted, by what follows the key and a dot, in small letters.
    """

    shard: str
    key: str
    files: dict[str, bytes] = field(default_factory=dict)

    def place(self, ending: str) -> str:
        """Return where a file of the sample is, for messages."""
        return f"{self.shard}/{self.key}.{ending}"


class TarSamples:
    """The samples of a tar file, read in one pass.

    Parameters
    ----------
    file
        The file, plain or compressed.
    limit
        Largest size of a sample's file in bytes.
    """

    def __init__(self, file: GivenFile, limit: int) -> None:
        self._file = file
        self._limit = limit

    def samples(self, wanted: tuple[str, ...]) -> Iterator[TarSample]:
        """Yield the samples with their files of some endings; the content of others is not read.

        Raises
        ------
        InputError
            If the file is damaged, holds links or devices, or a sample has two files of one ending.
        """
        sample: TarSample | None = None
        with self._reading(), self._opened() as content:
            for member in content.members():
                found = _NAME.fullmatch(member.name.removeprefix("./"))
                if found is None or not member.isreg():
                    continue
                key, ending = found[1], found[2].lower()
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    sample = TarSample(self._file.place, key)
                if ending in sample.files:
                    raise ValueError(f"two files are named '{member.name}'")
                sample.files[ending] = b""
                if ending in wanted:
                    if member.size > self._limit:
                        raise InputError.of(
                            sample.place(ending),
                            f"has {readable(member.size)}, the limit is {readable(self._limit)}",
                        )
                    sample.files[ending] = content.of(member)
        if sample is None:
            raise InputError.of("probe.path", f"{self._file} holds no samples")
        yield sample

    @contextlib.contextmanager
    def _opened(self) -> Iterator[_Members]:
        kind = binary_kind(self._file.start(BINARY_START))
        if kind in COMPRESSIONS:
            with io.BufferedReader(Unpacked(self._file, COMPRESSIONS[kind]), 2**16) as file:
                yield _Members(file)
        else:
            with self._file.open() as file:
                yield _Members(file)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except InputError:
            raise
        except _DAMAGED as error:
            kind, said = self._file.what_it_is(), first_line(error)
            message = f"{self._file} is damaged, or no tar file: {said}"
            raise InputError.of("probe.path", message, kind) from error


class _Members:
    """The members of a tar file, read forwards; no header may be large or point back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._place = 0

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members; what is neither a file nor a folder raises ValueError."""
        end = 0
        file: Any = self  # with all that is called of it
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                vars(archive)["members"] = []  # which would hold all of them
                if member.size < 0 or member.offset_data < end:
                    raise ValueError(f"'{member.name}' has no size")
                end = member.offset_data + (member.size if member.isreg() else 0)
                if member.issparse() or not (member.isreg() or member.isdir()):
                    raise ValueError(f"'{member.name}' is neither a file nor a folder")
                yield member

    def of(self, member: tarfile.TarInfo) -> bytes:
        """Return the content of a member."""
        self.seek(member.offset_data)
        data = self._file.read(member.size)
        self._place += len(data)
        if len(data) < member.size:
            raise ValueError(f"it ends within '{member.name}'")
        return data

    def read(self, size: int) -> bytes:
        """Return the next bytes of a header."""
        if not 0 <= size <= _HEADER_BYTES:
            raise ValueError("the header of a file is damaged")
        data = self._file.read(size)
        self._place += len(data)
        return data

    def tell(self) -> int:
        """Return the place in the file."""
        return self._place

    def seek(self, place: int) -> None:
        """Go on to a place in the file."""
        if place < self._place:
            raise ValueError("the header of a file points back")
        if self._file.seekable():
            self._place = self._file.seek(place)
        while self._place < place:
            skipped = len(self._file.read(min(2**16, place - self._place)))
            if not skipped:
                return
            self._place += skipped
