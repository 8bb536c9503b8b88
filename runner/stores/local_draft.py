"""A run that is written to a folder: staged beside it, flushed to the disk and renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from runner.errors import InputError, RunError
from runner.file_names import RECORD
from runner.sizes import check_disk
from runner.stores.digests import FileDigest
from runner.stores.local_run import LocalRun
from runner.stores.staged_files import StagedFiles
from runner.stores.staging import Staging
from runner.stores.store import Draft, StoredRun, failure_named


class LocalDraft(Draft):
    """Files that become one folder in a single step.

    They are staged in a sibling folder of the target.

    Parameters
    ----------
    target
        Folder to publish: absent, or empty.
    """

    _staging: Staging

    def __init__(self, target: Path) -> None:
        self._target = target.resolve()  # the working directory may change before it is used
        self._given = target
        self._names: list[str] = []
        self._files = StagedFiles()
        self._folders = {""}

    def place(self, name: str = "") -> str:
        """Return the absolute path of the folder, or of a file in it."""
        return str(self._target / name)

    def check(self) -> None:
        """Check that the folder is absent or empty."""
        try:
            empty = next(self._target.iterdir(), None) is None
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError.of(
                str(self._given),
                f"cannot be an output folder: {error.strerror}",
                "name another one",
            ) from error
        if not empty:
            raise InputError.of(
                str(self._given),
                "the output folder exists and is not empty",
                "name another one, or move this one away",
            )

    def begin(self) -> None:
        """Make the folder in which files are staged."""
        self.check()
        parent = self._target.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._staging = Staging(self._target)
        except OSError as error:
            raise InputError.of(
                str(parent), f"nothing can be written here: {error.strerror}"
            ) from error

    def check_room(self, size: int) -> None:
        """Check that the disk has room."""
        check_disk(size, self._target.parent)

    def open(self, name: str) -> BinaryIO:
        """Open a new file in the staged folder."""
        file = self._files.new(self._made(name))
        self._names.append(name)
        return file

    def _made(self, name: str) -> Path:
        """Return the path of a staged file, whose folder is made if it is missing."""
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            (self._staging.path / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        return self._staging.path / name

    def remove(self, name: str) -> None:
        """Remove a file from the staged folder."""
        (self._staging.path / name).unlink()
        self._names.remove(name)

    def reopen(self, name: str) -> BinaryIO:
        """Open a file in the staged folder."""
        return (self._staging.path / name).open("rb")

    def take_over(self, name: str, part: StoredRun) -> str:
        """Link a file of another folder, or copy it where the file system has no links."""
        if part.folder is not None and self._linked(part.folder / name, name):
            return name
        return super().take_over(name, part)

    def _linked(self, source: Path, name: str) -> bool:
        place = self._made(name)
        try:
            place.hardlink_to(source)
        except OSError:
            return False
        return True  # its content was flushed to the disk when that run was published

    def local_folder(self, name: str) -> Path:
        """Make a folder in the staged folder."""
        path = self._staging.path / name
        path.mkdir(parents=True)
        return path

    def take_in(self, folder: str) -> dict[str, FileDigest]:
        """Add what is in a staged folder."""
        top = self._staging.path / folder
        digests = {}
        found = sorted(top.rglob("*"))
        for path in found:
            if path.is_symlink():
                inside = path.relative_to(self._staging.path).as_posix()
                raise RunError(f"{inside} is a link, which a run does not hold")
        for path in found:
            if path.is_file():
                inside = path.relative_to(self._staging.path).as_posix()
                with failure_named(inside), path.open("rb") as file:
                    digests[inside] = FileDigest.of(file)
        if not digests:
            shutil.rmtree(top)
        self._names += digests
        return digests

    def commit(self, record: bytes) -> LocalRun:
        """Write the record, flush all files to the disk, and rename the staged folder."""
        inside = Path.cwd() == self._target
        with failure_named(RECORD), self.open(RECORD) as file:
            file.write(record)
        self._make_durable()
        _rename(self._staging.path, self._target)
        self._confirm()
        if inside:  # the working directory was replaced: change to the new one
            os.chdir(self._target)
        return LocalRun(self._target)

    def abandon(self) -> None:
        """Remove the staged folder."""
        self._staging.remove()

    def _make_durable(self) -> None:
        for name in self._names:
            with failure_named(name):
                _sync(self._staging.path / name)
        if os.name != "nt":  # Windows cannot open folders
            for folder, _, _ in os.walk(self._staging.path):
                _sync(folder)

    def _confirm(self) -> None:
        """Flush the new name to the disk; undo the move if that fails."""
        if os.name != "nt":
            try:
                _sync(self._target.parent)
            except OSError:
                self._target.rename(self._staging.path)
                raise
        self._staging.release()


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
