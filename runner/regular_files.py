"""Checks and reads files named by the user, and writes files in their place."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from runner.errors import InputError

_KINDS = {
    b"PK\x03\x04": "a zip file",
    b"PK\x05\x06": "a zip file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x93NUMPY": "a .npy file",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x04\x22\x4d\x18": "an lz4 file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf": "a 7z file",
    b"\xd0\xcf\x11\xe0": "an old Office file (an .xls?)",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"\x89PNG": "a picture (PNG)",
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"GIF8": "a picture (GIF)",
    b"SQLite format 3": "an SQLite database",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}
_NOT_REGULAR = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Their files show the state of the system: the environment of processes, the memory.
_OF_THE_SYSTEM = (Path("/proc"), Path("/sys"))
LARGE = 2**30
"""Size above which a file may be called sparse."""

_HOLES = 64
"""How many times what is on disk the size of a sparse file is."""


def regular_file(path: str | Path, place: str) -> Path:
    """Return the path of an existing regular file.

    Reading a pipe or a device may never end, or wait forever for a writer.

    Parameters
    ----------
    path
        The path as given by the user; links are followed.
    place
        Where it was given, for the error.

    Raises
    ------
    InputError
        If there is no such file (names the working directory), if it is not readable, or if it
        is a folder, a pipe, a device or a file of the system.
    """
    try:
        state = Path(path).stat()
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InputError.of(place, f"'{path}' may not be read") from error
        raise InputError.of(place, f"no file '{path}' (looked in {Path.cwd()})") from error
    if not stat.S_ISREG(state.st_mode):
        what = _NOT_REGULAR.get(stat.S_IFMT(state.st_mode), "none")
        advice = "save what it gives in a file first" if what == "a pipe" else ""
        entered = os.access(path, os.X_OK)
        if entered and (Path(path) / "saved_model.pb").exists():
            what = "a TensorFlow SavedModel, which holds no Keras layers"
            advice = "save the model that it was exported from in Keras: model.save('model.keras')"
        elif entered and (Path(path) / "config.json").exists():
            what = "a folder, perhaps of an unpacked Keras model"
            advice = "save the model as one file: model.save('model.keras')"
        raise InputError.of(place, f"expected a regular file, '{path}' is {what}", advice)
    if not os.access(path, os.R_OK):
        raise InputError.of(place, f"'{path}' may not be read")
    if any(Path(path).resolve().is_relative_to(top) for top in _OF_THE_SYSTEM):
        raise InputError.of(place, f"'{path}' is a file of the system, such as /proc holds")
    return Path(path)


def written_file(path: str | Path, place: str) -> Path:
    """Return the path of an existing regular file that is to be read to its end.

    Parameters
    ----------
    path, place
        As in `regular_file`.

    Raises
    ------
    InputError
        As from `regular_file`, and if almost nothing of a large file is written: it may claim any
        size, which it takes long to read.
    """
    found = regular_file(path, place)
    if is_sparse(found.stat()):
        raise InputError.of(place, f"'{path}' is a sparse file: almost nothing is written in it")
    return found


def is_sparse(state: os.stat_result) -> bool:
    """Return whether a file is large, and almost nothing of it is written."""
    on_disk = 512 * state.st_blocks if hasattr(state, "st_blocks") else state.st_size
    return state.st_size > LARGE and _HOLES * on_disk < state.st_size


def folder(path: str | Path, place: str) -> Path:
    """Return the path of an existing folder.

    Parameters
    ----------
    path, place
        As in `regular_file`.

    Raises
    ------
    InputError
        If there is no such folder (names the working directory), or it holds files of the system.
    """
    try:
        there = Path(path).is_dir()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError.of(place, f"no folder '{path}' (looked in {Path.cwd()})")
    whole = Path(path).resolve()
    if any(whole.is_relative_to(top) or top.is_relative_to(whole) for top in _OF_THE_SYSTEM):
        message = f"'{path}' holds files of the system, such as those of /proc"
        raise InputError.of(place, message, "name the folder of the data alone")
    return Path(path)


def everything_below(folder: Path) -> Iterator[Path]:
    """Yield all files and folders below a folder, in any order; links are not followed.

    `Path.rglob` and `os.walk` fail for deep folders before Python 3.13.
    """
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = [(Path(each.path), each.is_dir(follow_symlinks=False)) for each in entries]
        except (FileNotFoundError, PermissionError):
            continue
        yield from (path for path, _ in found)
        waiting += [path for path, is_folder in found if is_folder]


def read_at_most(path: Path, limit: int, place: str) -> bytes:
    """Return the content of a small file.

    The bytes are counted while reading, since the reported size may be wrong: files in ``/proc``
    report 0.

    Parameters
    ----------
    path
        The file.
    limit
        In bytes.
    place
        As in `regular_file`.

    Raises
    ------
    InputError
        If it is not a regular file, or holds more than `limit` bytes.
    """
    regular_file(path, place)
    try:
        # Non-blocking, in case a pipe has replaced the file since.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            content = file.read(limit + 1)
            size = os.fstat(handle).st_size
    except OSError as error:
        raise InputError.of(place, f"cannot be read: {error.strerror}") from error
    if len(content) > limit:
        found = f"{size:,}" if size > limit else f"more than {limit:,}"
        raise InputError.of(place, f"has {found} bytes, the limit is {limit:,}")
    return content


BINARY_START = 4096
"""The number of a file's first bytes that show whether it is text."""


def binary_kind(start: bytes) -> str | None:
    """Return the kind of a binary file that begins with these bytes.

    ``None`` if it may be text, or its kind is unknown.
    """
    kind = kind_of_bytes(start)
    return kind if re.search(rb"[\0-\x08]", start) or not start[:4].isascii() else None


def what_it_is(path: Path) -> str:
    """Return a phrase for the kind of a file, from its first bytes: ``it is a zip file``."""
    return f"it {begins(_start(path, 64))}"


def kind_of_bytes(start: bytes) -> str | None:
    """Return the kind of file that begins with these bytes, or ``None``."""
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if start.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in start[:64]:
        return "an Office file (an .xlsx?)"
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)"
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)


def begins(start: bytes) -> str:
    """Return a phrase that describes a file's first bytes: ``is a zip file``."""
    kind = kind_of_bytes(start)
    if not start:
        return "is empty"
    text = start.decode("utf-8", "ignore").replace("\n", "").replace("\r", "").replace("\t", "")
    plain = text.isprintable() and len(text.encode()) > len(start) // 2
    return f"is {kind or ('a text file' if plain else 'of an unknown kind')}"  # not its bytes


def _start(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def write_in_place(data: bytes, path: Path) -> None:
    """Write a file as `replaced` does.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with replaced(path) as file:
        file.write(data)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that replaces one at its end, atomically; a link is replaced, not followed.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            "wb", dir=path.parent, prefix=f".{path.name[:100]}.", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@cache
def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
