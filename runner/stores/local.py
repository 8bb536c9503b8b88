"""The store on this machine's disk: a run is a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from runner.errors import InputError
from runner.file_names import RECORD
from runner.stores.local_draft import LocalDraft
from runner.stores.local_run import LocalRun, holds_run, lost_record
from runner.stores.staging import Staging
from runner.stores.store import Store, StoredRun, Unreadable


class LocalStore(Store):
    """The runs in or below a folder.

    Folders whose names begin with a dot are skipped: they are drafts or superseded. Links are
    not followed.

    Parameters
    ----------
    folder
        The folder; it may be missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def place(self) -> str:
        """Return the path of the folder."""
        return str(self._folder)

    def remove(
        self,
        kept: Container[str] = (),  # noqa: ARG002  linked into the run
        names: Iterable[str] = (),  # noqa: ARG002  a folder lists all of them
    ) -> None:
        """Remove the folder; if the process is killed meanwhile, the next one removes the rest."""
        with contextlib.suppress(OSError):
            staging = Staging(self._folder)
            try:
                self._folder.rename(staging.path / self._folder.name)
            finally:
                staging.remove()

    def draft(self, name: str) -> LocalDraft:
        """Return a run to be published to a folder below this one: absent, or empty."""
        return LocalDraft(self._folder / name)

    def runs(self) -> Iterator[StoredRun | Unreadable]:
        """Yield every run in or below the folder.

        Paths are text here because a sweep can have 10,000 runs, and `Path` is slower than the
        disk.
        """
        top = str(self._folder)
        waiting = [top]
        while waiting:
            place = waiting.pop()
            if holds_run(place):  # twice as fast as listing the folder
                yield LocalRun(place)
                continue
            try:
                with os.scandir(place) as entries:
                    found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            except (FileNotFoundError, NotADirectoryError, ValueError):
                continue
            except OSError as error:
                # The folder itself may be a text that is not meant as a path.
                if place != top or isinstance(error, PermissionError):
                    yield Unreadable(place, f"{place}: cannot be read: {error.strerror}")
                continue
            if any(name == RECORD for name, _ in found):  # in a folder that may only be listed
                yield LocalRun(place)
                continue
            if lost_record([name for name, _ in found]):
                yield Unreadable(place, f"{place}: has the files of a run, but no {RECORD}")
                continue
            below = (name for name, is_folder in found if is_folder and not name.startswith("."))
            waiting += [os.path.join(place, name) for name in sorted(below, reverse=True)]  # noqa: PTH118


def make_folder(folder: Path) -> None:
    """Create a folder and its parents.

    Raises
    ------
    InputError
        If the file system does not allow it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = (
            error.strerror
            if isinstance(error, OSError)
            else "a name cannot contain a NUL character"
        )
        raise InputError.of(
            str(folder), f"the output folder cannot be made: {why}", "name another one"
        ) from error
