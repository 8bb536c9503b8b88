"""Files of object stores that were fetched whole, kept on this machine by their hashes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from runner.errors import InputError
from runner.stores.digests import HASH, FileDigest

_FOLDER, _LIMIT = "RUNNER_CACHE", "RUNNER_MAX_CACHE"
_BYTES = 16 * 2**30  # as much as a laptop's disk can spare


class FileCache:
    """Files by the hash of their content; the least recently used ones are removed.

    The folder is that of the environment variable RUNNER_CACHE, by default one of the user's
    cache, and holds at most RUNNER_MAX_CACHE bytes. A file in it is compared with its hash
    whenever it is opened.
    """

    def __init__(self) -> None:
        given = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self._folder = Path(os.environ.get(_FOLDER) or Path(given) / "activation-runner")
        limit = os.environ.get(_LIMIT) or str(_BYTES)
        if not limit.isdecimal():
            raise InputError.of(_LIMIT, f"expected a number of bytes, found '{limit}'")
        self._limit = int(limit)

    def open(self, digest: FileDigest, fetch: Callable[[], Iterable[bytes]]) -> BinaryIO | None:
        """Open a file, which is fetched unless it is here.

        Parameters
        ----------
        digest
            Of its content.
        fetch
            Returns its content in pieces.

        Returns
        -------
        BinaryIO | None
            The file, whose content is as the digest says; ``None`` if what was fetched is not.

        Raises
        ------
        OSError
            If it cannot be fetched.
        InputError
            If it cannot be kept.
        """
        path = self._path(digest)
        with contextlib.suppress(OSError):
            if file := _checked(path, digest):
                os.utime(path)
                return file
            path.unlink()
        with contextlib.ExitStack() as undo:
            with self._told():
                path.parent.mkdir(parents=True, exist_ok=True)
                handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
            undo.callback(Path(temporary).unlink, missing_ok=True)
            hashed, size = HASH(), 0
            with os.fdopen(handle, "wb") as file:
                for piece in fetch():
                    hashed.update(piece)
                    size += len(piece)
                    with self._told():
                        file.write(piece)
                with self._told():
                    file.flush()
            if FileDigest(size, hashed.hexdigest()) != digest:
                return None
            with self._told():
                Path(temporary).replace(path)
        self._shrink(keep=path)
        with self._told():
            return path.open("rb")

    def holds(self, digest: FileDigest) -> bool:
        """Return whether a file is here."""
        return self._path(digest).exists()

    def _path(self, digest: FileDigest) -> Path:
        return self._folder / digest.sha256[:2] / digest.sha256

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError.of(
                str(self._folder),
                f"files of a store cannot be kept here: {error.strerror}",
                f"name another folder in {_FOLDER}",
            ) from error

    def _shrink(self, keep: Path) -> None:
        """Remove the least recently used files, until the others fit."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((path == keep, state.st_mtime, state.st_size, path))
        size = sum(each[2] for each in found)
        for is_kept, _, own, path in sorted(found):
            if size <= self._limit or is_kept:
                return
            with contextlib.suppress(OSError):  # open on Windows, or removed by another process
                path.unlink()
                size -= own


def _checked(path: Path, digest: FileDigest) -> BinaryIO | None:
    """Open a file if its content is as its digest says."""
    file = path.open("rb")
    with contextlib.ExitStack() as unless_returned:
        unless_returned.enter_context(file)
        if os.fstat(file.fileno()).st_size != digest.bytes or FileDigest.of(file) != digest:
            return None
        file.seek(0)
        unless_returned.pop_all()
    return file
