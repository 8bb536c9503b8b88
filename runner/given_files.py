"""Files of data that a user names: on this machine, or in an object store."""

from __future__ import annotations

import contextlib
import io
import mmap
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from runner.errors import InputError
from runner.readable_files import content_of
from runner.regular_files import begins, regular_file, written_file
from runner.store_urls import path_of, store_url
from runner.stores.bucket import Bucket, StoredObject, bucket_of
from runner.stores.object_file import ObjectFile

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SMALL = 1 << 20  # bytes: an object of this size is fetched in one request
_PIECE = 8 << 20  # bytes of a larger one that are fetched in one request
_AT_ONCE = 4  # requests that are under way at once

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class GivenFile(ABC):
    """A file of data, which is read piece by piece wherever it is.

    Attributes
    ----------
    place
        Its path or URL, as the user gave it; the file itself is shown so in messages.
    size
        In bytes.
    path
        Its path, if it is on this machine.
    """

    place: str
    size: int
    path: Path | None = None

    def __str__(self) -> str:
        return self.place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenFile) and self._whole_place() == other._whole_place()

    def __hash__(self) -> int:
        return hash(self._whole_place())

    def _whole_place(self) -> str:
        return self.place if self.path is None else str(self.path.resolve())

    @abstractmethod
    def open(self) -> BinaryIO:
        """Open the file at its beginning; it can be sought in.

        Raises
        ------
        InputError
            If it cannot be read, now or later.
        """

    @abstractmethod
    def content(self, ranges: Iterable[tuple[int, int]] | None = None) -> bytes | mmap.mmap:
        """Return the content of the file, mapped into memory.

        Parameters
        ----------
        ranges
            First and last byte of what will be read, the last one exclusive; the rest may be zero.
        """

    def start(self, count: int) -> bytes:
        """Return the first bytes."""
        with self.open() as file:
            return file.read(count)

    def what_it_is(self) -> str:
        """Return a phrase for the kind of the file, from its first bytes: ``it is a zip file``."""
        return f"it {begins(self.start(64))}"


class FileOnDisk(GivenFile):
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self.place = str(path)
        self.size = path.stat().st_size

    def open(self) -> BinaryIO:
        """Open the file."""
        try:
            return self.path.open("rb")
        except OSError as error:
            raise unreadable(self.place, error) from error

    def content(self, ranges: Iterable[tuple[int, int]] | None = None) -> bytes | mmap.mmap:  # noqa: ARG002
        """Return the whole content, mapped into memory."""
        with self.open() as file:
            return content_of(file)


class FileInStore(GivenFile):
    """An object, of which only what is read is fetched."""

    def __init__(self, place: str, bucket: Bucket, about: StoredObject) -> None:
        self.place = place
        self.size = about.size
        self.about = about
        self._bucket = bucket

    def open(self) -> BinaryIO:
        """Open the object: a small one is fetched, a large one in pieces."""
        if self.size <= _SMALL:
            return io.BytesIO(self._fetched(0, self.size))
        file = io.BufferedReader(_Streamed(self._bucket, self.about, self.place), 1 << 17)
        file.peek(1)
        return file

    def content(self, ranges: Iterable[tuple[int, int]] | None = None) -> bytes | mmap.mmap:
        """Return the content, with these ranges in a file on this machine's disk.

        Raises
        ------
        InputError
            If they cannot be fetched, or the disk is full.
        """
        wanted = _pieces(ranges if ranges is not None else [(0, self.size)], self.size)
        if not self.size:
            return b""
        try:
            with tempfile.TemporaryFile() as file:
                file.truncate(self.size)
                fetched = _ahead(lambda piece: self._fetched(*piece), wanted)
                for (start, _), data in zip(wanted, fetched, strict=True):
                    file.seek(start)
                    file.write(data)
                file.flush()
                return mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            message = f"{self.place} cannot be kept in {tempfile.gettempdir()}: {error.strerror}"
            raise InputError.of("TMPDIR", message, "name another folder in TMPDIR") from error

    def _fetched(self, start: int, end: int) -> bytes:
        if end <= start:
            return b""
        try:
            return self._bucket.get_range(self.about, start, end)
        except OSError as error:
            raise unreadable(self.place, error) from error


class _Streamed(ObjectFile):
    """An object that is fetched in larger pieces, the longer it is read on."""

    def __init__(self, bucket: Bucket, about: StoredObject, place: str) -> None:
        super().__init__(bucket, about)
        self._named = place
        self._held, self._start, self._fetch = b"", 0, 0

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes."""
        view = memoryview(buffer).cast("B")
        at = self._place - self._start
        if not 0 <= at < len(self._held):
            goes_on = self._held and at == len(self._held)
            self._fetch = min(2 * self._fetch, _PIECE) if goes_on else len(view)
            end = min(self._place + max(self._fetch, len(view)), self._about.size)
            if end <= self._place:
                return 0
            self._held = b""
            try:
                self._held = self._bucket.get_range(self._about, self._place, end)
            except OSError as error:
                raise unreadable(self._named, error) from error
            self._start, at = self._place, 0
        data = memoryview(self._held)[at : at + len(view)]
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


def unreadable(place: str, error: OSError) -> InputError:
    """Return the error that a file or folder cannot be read."""
    return InputError.of(place, f"cannot be read: {error.strerror}")


def _pieces(ranges: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Return ranges without what they share, in pieces of one request each."""
    joined: list[list[int]] = []
    for start, end in sorted((max(0, first), min(last, size)) for first, last in ranges):
        if joined and start <= joined[-1][1] + _SMALL // 8:  # a gap is cheaper than a request
            joined[-1][1] = max(joined[-1][1], end)
        elif start < end:
            joined.append([start, end])
    return [pair for start, end in joined for pair in pairwise([*range(start, end, _PIECE), end])]


@contextlib.contextmanager
def opened_ahead(files: Iterable[GivenFile]) -> Iterator[Iterator[BinaryIO]]:
    """Open files one after another; those in a store are fetched some files ahead."""
    with contextlib.closing(_opened_ahead(files)) as opened:
        yield opened


def _opened_ahead(files: Iterable[GivenFile]) -> Generator[BinaryIO, None, None]:
    for found in _ahead(lambda file: file.open() if file.path is None else file, files):
        with found.open() if isinstance(found, GivenFile) else found as opened:
            yield opened


def _ahead(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Yield what a function returns for items; it is called for some items ahead."""
    left = iter(items)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        waiting = [threads.submit(function, item) for item in islice(left, _AT_ONCE)]
        while waiting:
            found = waiting.pop(0).result()
            waiting += [threads.submit(function, item) for item in islice(left, 1)]
            yield found


def given_file(given: str | Path, key: str, *, whole: bool = False) -> GivenFile:
    """Return a file of data, on this machine or in an object store.

    Parameters
    ----------
    given
        Path or URL, as given by the user.
    key
        The key of the configuration that it comes from.
    whole
        Whether it will be read to its end.

    Raises
    ------
    InputError
        If there is no such file, or it is no regular one (see `runner.regular_files`).
    """
    url = store_url(given, key)
    if url is None:
        path_of(given, key, "read")
        return FileOnDisk((written_file if whole else regular_file)(given, key))
    try:
        bucket = bucket_of(url)
        return FileInStore(str(url), bucket, bucket.about(url.key))
    except FileNotFoundError as error:
        raise InputError.of(key, f"there is no object '{url}'") from error
    except OSError as error:
        raise InputError.of(key, f"'{url}' cannot be read: {error.strerror}") from error
