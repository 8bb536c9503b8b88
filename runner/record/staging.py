"""Folders that are not yet what they are to be: each belongs to a process, and goes with it."""

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
except ImportError:  # Windows locks no folders: what a killed process leaves there stays
    fcntl = None  # type: ignore[assignment]

_NAME_LIMIT = 255  # bytes of one name, on all common file systems


class Staging:
    """A new folder beside a target, locked for as long as this process lives and holds it.

    Its name begins with a dot and says which process on which machine it belongs to. What
    processes of this machine that are gone have left beside the target is removed first.
    What this process still holds when it ends is removed then.

    Parameters
    ----------
    target
        What the folder is to become; its parent exists.

    Attributes
    ----------
    path : Path
        The folder.

    Raises
    ------
    OSError
        If the file system does not let us make it.
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
            # Another process took the folder for an orphan before it was locked.

    def remove(self) -> None:
        """Remove the folder with all that is in it, as far as it goes."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let go of the folder: it is what it was to be, or gone."""
        _held.discard(self)
        if self._lock is not None:
            with contextlib.suppress(OSError):  # it is closed whatever the system reports
                os.close(self._lock)
            self._lock = None


_cleared: set[Path] = set()
_held: set[Staging] = set()


@atexit.register
def _remove_held() -> None:
    # A signal can stop Python between any two steps, so also between a folder and its `with`.
    for staging in [held for held in _held if f".{os.getpid()}." in held.path.name]:
        staging.remove()


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
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def locked(folder: Path) -> int | None:
    """Lock a folder until the returned handle is closed; ``None`` where that is unknown.

    Raises
    ------
    FileNotFoundError
        If it is not there, or not any more.
    BlockingIOError
        If another process has locked it.
    """
    if fcntl is None:
        return None
    with contextlib.ExitStack() as undo:
        try:
            handle = os.open(folder, os.O_RDONLY)
            undo.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.stat()
        except (FileNotFoundError, BlockingIOError):
            raise
        except OSError:  # another user's, or on a network file system that locks no folders
            return None
        undo.pop_all()
    return handle
