"""Safe access to the files of a run's folder: only regular files inside the folder."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.errors import DamagedError
from runner.record.publication import FileDigest

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # Windows: text
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
    why = _unfit(folder, name)
    if not (why or os.access(path, os.R_OK)):
        why = "cannot be read: Permission denied"
    if why:
        raise DamagedError.of(str(path), why, "make the run again")
    return path


def damages(folder: Path, digests: Mapping[str, FileDigest]) -> Iterator[tuple[str, str]]:
    """Yield the name of each damaged file of a run, and a description as in `file_damage`.

    Parameters
    ----------
    folder
        Folder of the run.
    digests
        Recorded digests of files by name.
    """
    plain: set[str] = set()
    for name, digest in digests.items():
        if why := file_damage(folder, name, digest, plain):
            yield name, why


def file_damage(folder: Path, name: str, digest: FileDigest, plain: set[str] | None = None) -> str:
    """Return a description of the damage of a file of a run; empty if there is none.

    A file of the wrong size is not read.

    Parameters
    ----------
    folder, name
        As in `file_of_run`.
    digest
        Recorded digest of the file.
    plain
        Folders of the run that are known to be no links; those found are added.
    """
    if why := _unfit(folder, name, plain):
        return why
    try:
        handle = os.open(f"{folder}/{name}", _READ)
        try:
            size = os.fstat(handle).st_size
            if size != digest.bytes:
                return f"damaged: expected {digest}, found {size:,} bytes"
            data = os.read(handle, size) if size <= _AT_ONCE else b""
        finally:
            os.close(handle)
        if len(data) == size and hashlib.sha256(data).hexdigest() == digest.sha256:
            return ""
        found = FileDigest.of(folder / name)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == digest else f"damaged: expected {digest}, found {found}"


def _unfit(folder: Path, name: str, plain: set[str] | None = None) -> str:
    """Return the reason why a file must not be opened; empty if it may be.

    Paths are text here because a sweep can have 100,000 files, and `Path` is slower than the disk.
    """
    plain = set() if plain is None else plain
    if _is_outside(name):
        return "names a file outside the run"
    below = str(folder)
    try:
        mode = 0
        for part in name.split("/"):
            below = f"{below}/{part}"
            if below in plain:
                continue
            mode = os.lstat(below).st_mode
            if stat.S_ISDIR(mode):
                plain.add(below)
            elif stat.S_ISLNK(mode):
                if not Path(below).resolve().is_relative_to(folder.resolve()):
                    return "names a file outside the run, through a link"
                mode = os.stat(below).st_mode  # noqa: PTH116
    except (OSError, RuntimeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        return "is missing" if missing else f"cannot be read: {getattr(error, 'strerror', error)}"
    return "" if stat.S_ISREG(mode) else "is not a regular file"


@functools.lru_cache(1024)
def _is_outside(name: str) -> bool:
    return Path(name).is_absolute() or ".." in Path(name).parts
