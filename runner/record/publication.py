"""The publication of a run: its files with their digests, and its record as the last."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from runner.record.hashing_thread import LEAST_BYTES, HashingThread
from runner.stores.digests import HASH, FileDigest
from runner.stores.store import Draft, StoredRun, failure_named

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Publication:
    """Files that become a run in a single step, in any store.

    They are removed if the context ends before they are complete.

    Parameters
    ----------
    draft
        The run in its store.

    Attributes
    ----------
    draft : Draft
        As given.
    files : dict[str, FileDigest]
        Digests of all files written and closed, by path inside the run (with ``/``).
    hashing : HashingThread
        The thread that hashes them while they are written, until the context ends.

    Raises
    ------
    InputError
        On entering, if something is in the place of the run, or nothing can be written there.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.files: dict[str, FileDigest] = {}
        self.hashing = HashingThread()
        self._open: list[HashedFile] = []
        self._record: bytes | None = None

    def __enter__(self) -> Publication:
        with failure_named(self.draft.place()):
            self.draft.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hashing.stop()
        if self._record is None or kind is not None:
            self.discard()

    def discard(self) -> None:
        """Remove all files."""
        for file in self._open:
            file.abandon(self.draft)
        self.draft.abandon()

    def open(self, name: str) -> BinaryIO:
        """Open a new file, which must be closed before publishing.

        Parameters
        ----------
        name
            Path of the file inside the run, with ``/``.

        Returns
        -------
        BinaryIO
            Writable file, which hashes its content while writing.

        Raises
        ------
        RunError
            If opening, writing or closing fails; the message names the file.
        """
        with failure_named(name):
            file = HashedFile(self.draft.open(name), name, self.files, self.hashing)
        self._open.append(file)
        return file  # type: ignore[return-value]  # typeshed's io classes are no BinaryIO

    def remove(self, name: str) -> None:
        """Remove a closed file."""
        with failure_named(name):
            self.draft.remove(name)
        del self.files[name]

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        with self.open(name) as file:
            file.write(data)

    def take_over(self, name: str, part: StoredRun, digest: FileDigest) -> str:
        """Add a file of a part of this run, and return its path inside this run.

        Parameters
        ----------
        name
            Path of the file in the part.
        part
            The part, in the same store.
        digest
            The recorded digest of the file.

        Raises
        ------
        RunError
            If it cannot be read or written.
        """
        with failure_named(name):
            inside = self.draft.take_over(name, part)
        self.files[inside] = digest
        return inside

    def reopen(self, name: str) -> BinaryIO:
        """Open a closed file for reading.

        Raises
        ------
        InputError
            If the store cannot read what is not published.
        """
        with failure_named(name):
            return self.draft.reopen(name)

    def local_folder(self, name: str) -> Path:
        """Return a new folder on this machine for `take_in`.

        Raises
        ------
        InputError
            If the store keeps no files on this machine.
        """
        with failure_named(name):
            return self.draft.local_folder(name)

    def take_in(self, name: str) -> None:
        """Add the files that other code has written to a folder to the files of the run.

        Raises
        ------
        RunError
            If a file cannot be read, or is a link.
        """
        with failure_named(name):
            self.files |= self.draft.take_in(name)

    def complete(self, record: bytes) -> None:
        """Set the content of ``run.json``; from here on, the run can appear."""
        assert all(file.closed for file in self._open), "a file is still open"
        self._record = record

    def publish(self, record: bytes) -> StoredRun:
        """Complete the run and let it appear.

        Parameters
        ----------
        record
            Content of ``run.json``.

        Returns
        -------
        StoredRun
            The published run.

        Raises
        ------
        RunError
            As in `appear`.
        """
        self.complete(record)
        return self.appear()

    def appear(self) -> StoredRun:
        """Publish the completed run.

        If that fails, all files are removed.

        Returns
        -------
        StoredRun
            The published run.

        Raises
        ------
        RunError
            If writing fails, or another run was published there in the meantime.
        """
        assert self._record is not None, "the run is not complete"
        try:
            with failure_named(self.draft.place()):
                return self.draft.commit(self._record)
        except BaseException:
            self.discard()
            raise


class HashedFile(io.BufferedIOBase):
    """A file that hashes and counts what is meant to be written, whatever its store makes of it.

    Parameters
    ----------
    file
        The open file of a draft.
    name
        Path of the file inside the run, named in errors.
    files
        Receives the digest, by this name, when the file is closed.
    hashing
        The thread that hashes.
    """

    def __init__(
        self, file: BinaryIO, name: str, files: dict[str, FileDigest], hashing: HashingThread
    ) -> None:
        self._file = file
        self._name = name
        self._files = files
        self._hashing = hashing
        self._hash = HASH()
        self._hashed: Future[object] | None = None  # when the last piece of much data is
        self._bytes = 0

    def writable(self) -> bool:
        """Return True, as every file that can be written does."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes.

        Parameters
        ----------
        data
            The bytes. If they are read-only, they are hashed later, and nobody may change them.

        Raises
        ------
        RunError
            If that fails.
        """
        view = memoryview(data)
        size, update = view.nbytes, self._hash.update
        behind = self._hashed is not None and not self._hashed.done()
        with failure_named(self._name):
            if view.readonly and (behind or size >= LEAST_BYTES):
                self._hashed = self._hashing.later(update, data, size)
                self._file.write(data)
            else:
                self._catch_up()
                with self._hashing.beside(update, data, size):
                    self._file.write(data)
        self._bytes += size
        return size

    def _catch_up(self) -> None:
        """Wait until everything that was written is hashed."""
        if self._hashed is not None:
            self._hashed.result()
            self._hashed = None

    def close(self) -> None:
        """Close the file and store its digest.

        Raises
        ------
        RunError
            If what was written last cannot be.
        """
        if self.closed:
            return
        super().close()
        with failure_named(self._name):
            self._file.close()
            self._catch_up()
        self._files[self._name] = FileDigest(self._bytes, self._hash.hexdigest())

    def abandon(self, draft: Draft) -> None:
        """Close the file, which is incomplete unless it was closed before."""
        super().close()
        with contextlib.suppress(OSError):
            draft.drop(self._file)
