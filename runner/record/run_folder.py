"""Safe access to the files of a run's folder: only regular files inside the folder."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from pathlib import Path

from runner.errors import DamagedError
from runner.record.publication import FileDigest

_AT_ONCE = 1 << 20  # size in bytes up to which a file is read in one call


def file_of_run(folder: Path, name: str) -> Path:
    """Return the path of a file of a run, given its path in the run's folder.

    All files of a run are opened by paths from this function.

    Parameters
    ----------
    folder
        Folder of the run.
    name
        Path of the file in the folder, with ``/``.

    Raises
    ------
    DamagedError
        If the file is missing, not readable, not a regular file, or outside the folder: by
        its name, or through a link.
    """
    path = folder / name
    if why := _unfit(folder, name):
        raise DamagedError.of(str(path), why, "make the run again")
    return path


def file_damage(folder: Path, name: str, digest: FileDigest) -> str:
    """Return a description of the damage of a file of a run; empty if there is none.

    A file of the wrong size is not read.

    Parameters
    ----------
    folder, name
        As in `file_of_run`.
    digest
        Recorded digest of the file.
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
    """Return the reason why a file must not be opened; empty if it may be.

    Paths are text here because a sweep can have 100,000 files, and `Path` is slower than the disk.
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
