"""What a store of runs must provide: how a run is written, listed, read and verified."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.errors import DamagedError, InputError, RunError
from runner.stores.digests import FileDigest

_PIECE = 1 << 20  # bytes


class Store(ABC):
    """A place that holds runs.

    Files of a run are named by their path inside the run, with ``/``.
    """

    @abstractmethod
    def place(self) -> str:
        """Return where the store is; used in messages."""

    @abstractmethod
    def draft(self, name: str) -> Draft:
        """Return a new run, of which nothing is written yet.

        Parameters
        ----------
        name
            Where the run is to appear, inside the store.
        """

    @abstractmethod
    def runs(self) -> Iterator[StoredRun | Unreadable]:
        """Yield every published run, in the order of their places; never one that is a draft.

        A part of the store that cannot be listed is yielded as `Unreadable`, since it may hold
        runs.
        """

    def index(self) -> None:  # noqa: B027  few stores are faster with one
        """Prepare for reading the records of all runs, after a sweep wrote to the store.

        Whatever this writes may be out of date later, and must not be taken for the records.
        """

    def remove(self, kept: Container[str] = (), names: Iterable[str] = ()) -> None:
        """Remove everything in the store; what cannot be removed stays.

        Only asked of a store that holds the parts of one run.

        Parameters
        ----------
        kept
            Places of files that the run has taken over, and that may lie in the store.
        names
            Paths of files inside the store that its listing may not show yet.
        """
        raise NotImplementedError


class Draft(ABC):
    """The files of a run before it is published: they appear together, or never.

    Several files are open at once, and two threads may write different ones. An `OSError` of what
    begins, writes or publishes becomes one line that names the file or the run.
    """

    @abstractmethod
    def place(self, name: str = "") -> str:
        """Return where the run, or a file of it, is to appear; used in messages."""

    @abstractmethod
    def check(self) -> None:
        """Check that the run can be written, without writing anything.

        Raises
        ------
        InputError
            If something is there already.
        """

    def begin(self) -> None:
        """Prepare for the first file, after the same check.

        Raises
        ------
        InputError
            As in `check`, or if nothing can be written there.
        """
        self.check()

    def check_room(self, size: int) -> None:  # noqa: B027  many stores do not know
        """Check that there is room for files of about this size in bytes, if that is known.

        Raises
        ------
        RunError
            If there is not.
        """

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a new file for writing; it is closed before `commit`.

        Raises
        ------
        OSError
            If there is such a file already, or it cannot be written.
        """

    def drop(self, file: BinaryIO) -> None:
        """Close a file that is incomplete, before the run is abandoned."""
        file.close()

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a closed file."""

    def reopen(self, name: str) -> BinaryIO:
        """Open a closed file for reading, from which the workbook is made. By default, refused.

        Raises
        ------
        InputError
            If the store cannot read what is not published.
        """
        raise InputError.of(self.place(name), "its store reads published runs alone")

    def local_folder(self, name: str) -> Path:
        """Return a new folder on this machine, to which callbacks of a training write files.

        By default, refused.

        Raises
        ------
        InputError
            If the store keeps no files on this machine.
        """
        raise InputError.of(self.place(name), "its store keeps no files on this machine")

    def take_in(self, folder: str) -> Mapping[str, FileDigest]:
        """Add what other code wrote to a `local_folder` to the files of the run.

        A folder without files is removed.

        Returns
        -------
        Mapping[str, FileDigest]
            Digests of the files, by path inside the run.

        Raises
        ------
        RunError
            If there is a link in the folder.
        """
        raise NotImplementedError  # not asked where `local_folder` is refused

    def take_over(self, name: str, part: StoredRun) -> str:
        """Add a file of a part of this run, and return its path inside this run.

        By default, it is copied by the same name.

        Raises
        ------
        OSError
            If it cannot be read or written.
        """
        with part.open(name) as file, self.open(name) as copy:
            shutil.copyfileobj(file, copy, _PIECE)
        return name

    @abstractmethod
    def commit(self, record: bytes) -> StoredRun:
        """Publish the run: all files and the record appear at once, and stay after a power cut.

        If this fails or the process ends, no run appears. Of several drafts of one place, one is
        published, and the others fail.

        Parameters
        ----------
        record
            Content of `RECORD`, the last file.

        Raises
        ------
        RunError
            If another run was published there since `check`.
        OSError
            If writing fails.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Remove all files, unless the run was published; errors are ignored."""


class StoredRun(ABC):
    """The files of a published run, which may have been damaged or changed since.

    Objects for the same run are equal. They can be pickled, since many runs are verified in
    several processes.
    """

    @abstractmethod
    def place(self, name: str = "") -> str:
        """Return where the run, or a file of it, is; used in messages."""

    @property
    def folder(self) -> Path | None:
        """The folder of the run, if it has one on this machine."""
        return None

    @property
    def is_named(self) -> bool:
        """Whether a command can name the run by its place."""
        return self.folder is not None

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file of the run for reading from its beginning; it can be sought in.

        The name may come from anyone; what is opened must lie inside the run. A file on a disk is
        mapped into memory where that saves reading it, one without a descriptor is read.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        OSError
            If it cannot be read.
        DamagedError
            If it is not a file, or lies outside the run.
        """

    @abstractmethod
    def names(self) -> Iterator[str | Unreadable]:
        """Yield the names of all files of the run, in any order; nothing else is read.

        A folder that cannot be listed is yielded as `Unreadable`, by its path inside the run.
        """

    def open_verified(self, name: str, digest: FileDigest) -> BinaryIO:
        """Open a file as `open` does, after comparing its content with its digest.

        A file of the wrong size is not read.

        Raises
        ------
        DamagedError
            If it is not as recorded, is missing or cannot be read.
        """
        try:
            with contextlib.ExitStack() as unless_returned:
                file = unless_returned.enter_context(self.open(name))
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                found = FileDigest.of(file) if size == digest.bytes else f"{size:,} bytes"
                if found != digest:
                    raise self._damaged(name, f"damaged: expected {digest}, found {found}")
                file.seek(0)
                unless_returned.pop_all()
        except FileNotFoundError as error:
            raise self._damaged(name, "is missing") from error
        except OSError as error:
            raise self._damaged(name, f"cannot be read: {error.strerror or error}") from error
        return file

    def open_part(self, name: str, digest: FileDigest) -> BinaryIO | None:  # noqa: ARG002
        """Open a file of which only what is read is fetched.

        Only its size can be compared with its digest. ``None``, the default, is right where
        opening the whole file takes no longer.

        Raises
        ------
        DamagedError
            If it has another size, is missing or cannot be read.
        """
        return None

    def _damaged(self, name: str, why: str) -> DamagedError:
        return DamagedError.of(self.place(name), why, "make the run again")

    def damages(self, digests: Mapping[str, FileDigest]) -> Iterator[tuple[str, str]]:
        """Yield the name of each file that is not as recorded, and why.

        Parameters
        ----------
        digests
            Recorded digests of files by name.
        """
        for name, digest in digests.items():
            try:
                self.open_verified(name, digest).close()
            except DamagedError as error:
                yield name, error.problems[0].message


@dataclass(frozen=True)
class Unreadable:
    """A run or a folder that cannot be read.

    Attributes
    ----------
    place
        Where it is.
    why
        Reason in one line, naming the file.
    """

    place: str
    why: str

    @property
    def name(self) -> str:
        """The last part of the place."""
        return Path(self.place).name


@contextlib.contextmanager
def failure_named(place: str) -> Iterator[None]:
    """Turn an OSError of writing into a RunError that names the file or the run.

    Raises
    ------
    RunError
        If an `OSError` is raised in the context.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or error
        raise RunError(f"{place}: {reason}; the run was not published") from error
