"""The files of a run's folder, opened in one way: nothing outside it, no pipe and no device."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runner.errors import DamagedError
from runner.record.publication import FileDigest


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
    if why := _unfit(folder, path, name):
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
    path = folder / name
    if why := _unfit(folder, path, name):
        return why
    try:
        size = path.stat().st_size
        found = FileDigest.of(path) if size == digest.bytes else f"{size:,} bytes"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == digest else f"damaged: expected {digest}, found {found}"


def _unfit(folder: Path, path: Path, name: str) -> str:
    """Return why a file must not be opened; empty where it may."""
    parts = name.split("/")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return "names a file outside the run"
    try:
        mode, below = 0, folder
        for part in parts:
            below = below / part
            mode = below.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not below.resolve().is_relative_to(folder.resolve()):
                    return "names a file outside the run, through a link"
                mode = below.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        return "is missing" if missing else f"cannot be read: {getattr(error, 'strerror', error)}"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    return "" if os.access(path, os.R_OK) else "cannot be read: Permission denied"
