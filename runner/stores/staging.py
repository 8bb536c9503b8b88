"""Temporary folders for staging: each belongs to a process and is removed with it."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import shutil
import socket
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows cannot lock folders: those of killed processes stay
    fcntl = None  # type: ignore[assignment]

_NAME_LIMIT = 255  # bytes per name, on all common file systems


class Staging:
    """A new folder beside a target, locked by this process until it is released.

    Its name begins with a dot and contains the machine and the process that own it. Folders
    beside the target that were left by dead processes of this machine are removed first.
    Folders that are still held when the process exits are removed at exit.

    Parameters
    ----------
    target
        Path that the folder will be renamed to; its parent exists.

    Attributes
    ----------
    path : Path
        Path of the folder.

    Raises
    ------
    OSError
        If the folder cannot be created.
    """

    def __init__(self, target: Path) -> None:
        if target.parent not in _cleared:
            _cleared.add(target.parent)
            _remove_orphans(target.parent)
        self._lock: int | None = None
        while True:
            self.path = target.with_name(_name(target.name))
            _held.add(self)
            try:
                self.path.mkdir()
            except OSError:
                self.release()
                raise
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                self._lock = locked(self.path)
                return
            # Another process removed the folder as an orphan before it was locked.

    def remove(self) -> None:
        """Remove the folder and its content, ignoring errors."""
        _remove_folder(self.path)
        self.release()

    def release(self) -> None:
        """Release the lock of the folder, after it was renamed or removed."""
        _held.discard(self)
        if self._lock is not None:
            with contextlib.suppress(OSError):  # it is closed even on an error
                os.close(self._lock)
            self._lock = None


_cleared: set[Path] = set()
_held: set[Staging] = set()


@atexit.register
def _remove_held() -> None:
    # A signal can stop Python before the `with` block that would remove a folder.
    for staging in [held for held in _held if f".{os.getpid()}." in held.path.name]:
        staging.remove()


_STAGING = re.compile(r"\..*\.\d+\.[0-9a-f]{8}\.staging", re.DOTALL)


def is_staging(name: str) -> bool:
    """Return whether a folder of this name is one for staging, of any machine."""
    return _STAGING.fullmatch(name) is not None


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())[:63]


def _name(name: str) -> str:
    end = f".{_host()}.{os.getpid()}.{secrets.token_hex(4)}.staging"
    start = f".{name}".encode()[: _NAME_LIMIT - len(end)].decode(errors="ignore")
    return start + end


def _remove_orphans(parent: Path) -> None:
    ours = re.compile(rf"\..*\.{re.escape(_host())}\.\d+\.[0-9a-f]{{8}}\.staging", re.DOTALL)
    for path in [path for path in parent.iterdir() if ours.fullmatch(path.name)]:
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = locked(path)
            if lock is not None:
                _remove_folder(path)
                os.close(lock)


def _remove_folder(path: Path) -> None:
    """Remove a folder and its content, ignoring errors: folders may be nested very deeply."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)


def locked(folder: Path) -> int | None:
    """Lock a folder until the returned handle is closed; ``None`` if locking is not supported.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    BlockingIOError
        If another process holds the lock.
    """
    if fcntl is None:
        return None
    with contextlib.ExitStack() as undo:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # a pipe would wait
            undo.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.stat()
        except (FileNotFoundError, BlockingIOError):
            raise
        except OSError:  # owned by another user, or on a network file system without locks
            return None
        undo.pop_all()
    return handle
