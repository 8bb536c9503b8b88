"""The files of a run in a folder on this machine's disk: only regular files inside the folder."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from runner.errors import DamagedError
from runner.file_names import HYDRA_FOLDER, LOG, PARTS, PROBE, RECORD, STEPS, SUMMARY
from runner.regular_files import is_sparse
from runner.stores.digests import FileDigest
from runner.stores.store import StoredRun, Unreadable
from runner.tensors import KINDS

_AGAIN = "make the run again"


class LocalRun(StoredRun):
    """The files of a run in a folder.

    Parameters
    ----------
    folder
        Folder of the run.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = str(folder) or "."
        self._shown = str(Path(folder))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalRun) and self._real() == other._real()

    def __hash__(self) -> int:
        return hash(self._real())

    def place(self, name: str = "") -> str:
        """Return the path of the folder, or of a file in it."""
        if not name:
            return self._shown
        return os.path.join("" if self._shown == "." else self._shown, name)  # noqa: PTH118

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self._folder)

    def open(self, name: str) -> BinaryIO:
        """Open a regular file inside the folder; links that lead out of it are refused."""
        return open(self._checked(name), "rb")  # noqa: PTH123

    def open_verified(self, name: str, digest: FileDigest) -> BinaryIO:
        """Open a file as in `StoredRun`; a sparse one is not read, whatever size it claims."""
        with contextlib.suppress(OSError):
            if is_sparse(os.stat(self._checked(name))):  # noqa: PTH116
                raise self._damaged(name, "is a sparse file: almost nothing is written in it")
        return super().open_verified(name, digest)

    def names(self) -> Iterator[str | Unreadable]:
        """Yield the names of all files, of links, and of folders that cannot be listed."""
        waiting = [""]
        while waiting:  # not os.walk, which fails for deep folders before Python 3.12
            inside = waiting.pop()
            try:
                with os.scandir(Path(self._folder, inside)) as entries:
                    found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            except OSError as error:
                name = inside.rstrip("/") or "."
                yield Unreadable(name, f"{name}: cannot be read: {error.strerror}")
                continue
            yield from (inside + name for name, is_folder in found if not is_folder)
            waiting += [f"{inside}{name}/" for name, is_folder in found if is_folder]

    def _real(self) -> str:
        return os.path.realpath(self._folder)

    def _checked(self, name: str) -> str:
        """Return the path of a regular file inside the folder; raise as `open` does otherwise.

        The path is text, as in `LocalStore.runs`.
        """
        if _is_outside(name):
            raise self._refused(name, "names a file outside the run")
        path, mode = self._folder, 0
        for part in name.split("/"):
            path = f"{path}/{part}"
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                if not Path(os.path.realpath(path)).is_relative_to(self._real()):
                    raise self._refused(name, "names a file outside the run, through a link")
                mode = os.stat(path).st_mode  # noqa: PTH116
        if not stat.S_ISREG(mode):
            raise self._refused(name, "is not a regular file")
        return path

    def _refused(self, name: str, why: str) -> DamagedError:
        return DamagedError.of(self.place(name), why, _AGAIN)


def holds_run(folder: str | Path) -> bool:
    """Return whether a folder holds the record of a run, readable or not."""
    return os.path.lexists(os.path.join(folder, RECORD))  # noqa: PTH118


def lost_record(names: Collection[str]) -> bool:
    """Return whether the entries of a folder without a record are those of a run.

    Other programs also make ``.hydra``, or folders of weights, so that no single name tells.
    """
    stems = {name.partition(".")[0] for name in names}
    folders = {STEPS, *(kind.folder for kind in KINDS.values())}
    has_tables = PARTS in names or not stems.isdisjoint(folders)
    return ({PROBE, SUMMARY} <= stems and has_tables) or {LOG, HYDRA_FOLDER} <= set(names)


@lru_cache(1024)
def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts
