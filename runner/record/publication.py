"""Atomic publication of a run's folder: it is complete or absent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from runner.bounds import Count, Sha256
from runner.errors import InputError, RunError
from runner.record.staging import Staging

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RECORD = "run.json"


@dataclass(frozen=True)
class FileDigest:
    """The size and hash of a file's content.

    Attributes
    ----------
    bytes
        Size in bytes.
    sha256
        SHA-256 of the content, in hexadecimal.
    """

    bytes: Count
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        """Return the size and hash of a file on the disk.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return cls(file.tell(), digest.hexdigest())

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes of SHA-256 {self.sha256[:12]}"


def check_target(target: Path) -> None:
    """Check that a run can be published to a folder.

    Raises
    ------
    InputError
        If `target` is neither absent nor an empty folder.
    """
    try:
        empty = next(target.iterdir(), None) is None
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError.of(
            str(target), f"cannot be an output folder: {error.strerror}", "name another one"
        ) from error
    if not empty:
        raise InputError.of(
            str(target),
            "the output folder exists and is not empty",
            "name another one, or move this one away",
        )


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises
    ------
    InputError
        If the file system does not allow it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = (
            error.strerror
            if isinstance(error, OSError)
            else "a name cannot contain a NUL character"
        )
        raise InputError.of(
            str(folder), f"the output folder cannot be made: {why}", "name another one"
        ) from error


class Publication:
    """Files that become one folder in a single step.

    They are staged in a sibling folder of the target, which is removed if the context ends
    before the files are complete.

    Parameters
    ----------
    target
        Folder to publish: absent, or empty.

    Attributes
    ----------
    target : Path
        Absolute path of the folder.
    files : dict[str, FileDigest]
        Digests of all files written and closed, by path inside the folder (with ``/``).

    Raises
    ------
    InputError
        On entering, if `target` is not empty or its parent cannot be written to.
    """

    _staging: Staging

    def __init__(self, target: Path) -> None:
        self.target = target.resolve()
        self.files: dict[str, FileDigest] = {}
        self._open: list[_StagedFile] = []
        self._folders = {""}
        self._complete = False

    def __enter__(self) -> Publication:
        check_target(self.target)
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._staging = Staging(self.target)
        except OSError as error:
            raise InputError.of(
                str(self.target.parent), f"nothing can be written here: {error.strerror}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._complete or kind is not None:
            self.discard()

    def discard(self) -> None:
        """Remove the staged files."""
        for file in self._open:
            file.abandon()
        self._staging.remove()

    def open(self, name: str) -> BinaryIO:
        """Open a new file, which must be closed before publishing.

        Parameters
        ----------
        name
            Path of the file inside the folder, with ``/``.

        Returns
        -------
        BinaryIO
            Writable file, which hashes its content while writing.

        Raises
        ------
        RunError
            If opening, writing or closing fails; the message names the file.
        """
        with _named(name):
            folder = name.rpartition("/")[0]
            if folder not in self._folders:
                (self._staging.path / folder).mkdir(parents=True, exist_ok=True)
                self._folders.add(folder)
            file = _StagedFile((self._staging.path / name).open("xb"), name, self.files)
        self._open.append(file)
        return file  # type: ignore[return-value]  # typeshed's io classes are no BinaryIO

    def remove(self, name: str) -> None:
        """Remove a closed file."""
        with _named(name):
            (self._staging.path / name).unlink()
        del self.files[name]

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        with self.open(name) as file:
            file.write(data)

    def staged(self, name: str) -> Path:
        """Return the path of a written file before publication."""
        return self._staging.path / name

    def make_room(self, name: str) -> Path:
        """Return a folder inside the staged one, where other code may write until `take_in`."""
        folder = self._staging.path / name
        with _named(name):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def take_in(self, name: str) -> None:
        """Add the files that other code has written to a folder to the files of the run.

        An empty folder is removed.

        Raises
        ------
        RunError
            If a file cannot be read, or is a link.
        """
        folder = self._staging.path / name
        found = sorted(folder.rglob("*"))
        for path in found:
            if path.is_symlink():
                inside = path.relative_to(self._staging.path).as_posix()
                raise RunError(f"{inside} is a link, which a run does not hold")
        paths = [path for path in found if path.is_file()]
        if not paths:
            shutil.rmtree(folder)
        for path in paths:
            inside = path.relative_to(self._staging.path).as_posix()
            with _named(inside):
                self.files[inside] = FileDigest.of(path)

    def complete(self, record: bytes) -> None:
        """Write ``run.json``, the last file."""
        assert all(file.closed for file in self._open), "a file is still open"
        self.write(RECORD, record)
        self._complete = True

    def publish(self, record: bytes) -> Path:
        """Complete the folder and move it to the target.

        Parameters
        ----------
        record
            Content of ``run.json``.

        Returns
        -------
        Path
            The target.

        Raises
        ------
        RunError
            As in `appear`.
        """
        self.complete(record)
        return self.appear()

    def appear(self) -> Path:
        """Move the completed folder to the target, after flushing it to the disk.

        If that fails, the staged files are removed.

        Returns
        -------
        Path
            The target.

        Raises
        ------
        RunError
            If writing to the disk fails, or another run was published there in the
            meantime.
        """
        assert self._complete, "the folder is not complete"
        inside = Path.cwd() == self.target
        try:
            self._make_durable()
            with _named(str(self.target)):
                _rename(self._staging.path, self.target)
                self._confirm()
        except BaseException:
            self.discard()
            raise
        if inside:  # the working directory was replaced: change to the new one
            os.chdir(self.target)
        return self.target

    def _confirm(self) -> None:
        """Flush the new name to the disk; undo the move if that fails."""
        if os.name != "nt":
            try:
                _sync(self.target.parent)
            except OSError:
                self.target.rename(self._staging.path)
                raise
        self._staging.release()

    def _make_durable(self) -> None:
        for name in self.files:
            with _named(name):
                _sync(self._staging.path / name)
        if os.name != "nt":  # Windows cannot open folders
            with _named(str(self.target)):
                for folder, _, _ in os.walk(self._staging.path):
                    _sync(folder)


class _StagedFile(io.BufferedIOBase):
    """A file that hashes and counts what is written to it."""

    def __init__(self, file: BinaryIO, name: str, files: dict[str, FileDigest]) -> None:
        self._file = file
        self._name = name
        self._files = files
        self._hash = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        with _named(self._name):
            self._file.write(data)
        self._hash.update(data)
        size = memoryview(data).nbytes
        self._bytes += size
        return size

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        with _named(self._name):
            self._file.close()
        self._files[self._name] = FileDigest(self._bytes, self._hash.hexdigest())

    def abandon(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            self._file.close()


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn an OSError into a RunError that names the file or folder."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror
        raise RunError(f"{name}: {reason}; the run was not published") from error


def _rename(staging: Path, target: Path) -> None:
    if os.name == "nt":  # Windows does not rename onto an empty folder
        with contextlib.suppress(OSError):
            target.rmdir()
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise RunError(
            f"{target}: another run was published here first; this one was not"
        ) from error


def _sync(path: str | Path) -> None:
    """Flush a file or folder to the disk.

    An earlier write error is reported to the next process that opens the file.
    """
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
