"""The files of a run's folder, opened in one way: nothing outside it, no pipe and no device."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from pathlib import Path

from runner.errors import DamagedError
from runner.record.publication import FileDigest

_AT_ONCE = 1 << 20  # bytes that are read with one call


def file_of_run(folder: Path, name: str) -> Path:
    """Return a file of a run by its path in the run's folder.

    Every file of a run is opened by the path that this returned.

    Parameters
    ----------
    folder
        The run's folder.
    name
        The file's path in it, with ``/``.

    Raises
    ------
    DamagedError
        If it is not there, may not be read, is not a regular file, or is outside the
        folder: by its name, or because it or a folder on the way is a link to there.
    """
    path = folder / name
    if why := _unfit(folder, name):
        raise DamagedError.of(str(path), why, "make the run again")
    return path


def file_damage(folder: Path, name: str, digest: FileDigest) -> str:
    """Return how a file of a run differs from what was written; empty if it does not.

    A file of another size is not read.

    Parameters
    ----------
    folder, name
        As in `file_of_run`.
    digest
        Of what was written.
    """
    if why := _unfit(folder, name):
        return why
    try:
        with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
            size = os.fstat(file.fileno()).st_size
            if size != digest.bytes:
                found: FileDigest | str = f"{size:,} bytes"
            elif size <= _AT_ONCE:
                data = file.read(size)
                found = FileDigest(len(data), hashlib.sha256(data).hexdigest())
            else:
                found = FileDigest.of(folder / name)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == digest else f"damaged: expected {digest}, found {found}"


def _unfit(folder: Path, name: str) -> str:
    """Return why a file must not be opened; empty where it may.

    A sweep has a hundred thousand files, so paths are text here: `Path` takes longer than the disk.
    """
    if _is_outside(name):
        return "names a file outside the run"
    below = str(folder)
    try:
        mode = 0
        for part in name.split("/"):
            below = f"{below}/{part}"
            mode = os.lstat(below).st_mode
            if stat.S_ISLNK(mode):
                if not Path(below).resolve().is_relative_to(folder.resolve()):
                    return "names a file outside the run, through a link"
                mode = os.stat(below).st_mode  # noqa: PTH116
    except (OSError, RuntimeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        return "is missing" if missing else f"cannot be read: {getattr(error, 'strerror', error)}"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    return "" if os.access(below, os.R_OK) else "cannot be read: Permission denied"


@functools.lru_cache(1024)
def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts
