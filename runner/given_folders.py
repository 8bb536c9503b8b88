"""Folders of data that a user names: on this machine, or in an object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError, is_text
from runner.given_files import FileInStore, FileOnDisk, GivenFile, given_file, unreadable
from runner.regular_files import LARGE, everything_below, folder, written_file
from runner.store_urls import StoreUrl, path_of, store_url
from runner.stores.bucket import bucket_of

MOST_FILES = 2**23
"""The number of files that a folder of data may hold."""

_LEFT_BY_SYSTEMS = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r")


@dataclass(frozen=True)
class GivenFolder:
    """A folder of data, or a place in a bucket.

    Attributes
    ----------
    place
        Its path or URL, as the user gave it.
    at
        The folder or the place.
    key
        The key of the configuration that names it, for messages.
    """

    place: str
    at: Path | StoreUrl
    key: str

    def files(self) -> list[tuple[str, GivenFile]]:
        """Return all files below the folder with their paths in it, sorted by path.

        Hidden files and those that systems leave in folders are no data; links to folders are not
        followed, and what is no regular file is left out.

        Raises
        ------
        InputError
            If there are more than `MOST_FILES`, one has a name that is no text or is a link to
            a file of the system, one is sparse, or a store cannot be listed.
        """
        found: dict[str, GivenFile] = {}
        for count, (name, file) in enumerate(self._all()):
            if count >= MOST_FILES:
                message = f"{self.place} holds more than {MOST_FILES:,} files"
                raise InputError.of(self.key, message, "name the folder of the data alone")
            if is_hidden(name):
                continue
            if not is_text(name):
                message = f"the name '{self.place}/{name}' is not UTF-8"
                raise InputError.of(self.key, message, "rename it")
            if file is not None:
                if file.path is not None and (file.size > LARGE or file.path.is_symlink()):
                    written_file(file.path, self.key)  # which takes longer than listing it
                found[name] = file
        return sorted(found.items(), key=lambda each: each[0].split("/"))

    def _all(self) -> Iterator[tuple[str, GivenFile | None]]:
        try:
            if isinstance(self.at, Path):
                for path in everything_below(self.at):
                    if not path.is_dir():
                        name = path.relative_to(self.at).as_posix()
                        yield name, FileOnDisk(path) if path.is_file() else None
                return
            bucket = bucket_of(self.at)
            for about in bucket.below(self.at.key):
                name = self.at.inside(about.key)
                yield name, FileInStore(f"{self.place.rstrip('/')}/{name}", bucket, about)
        except OSError as error:
            raise unreadable(self.place, error) from error


def is_hidden(name: str) -> bool:
    """Return whether a path names what is hidden, or what systems leave in folders."""
    return any(part[:1] == "." or part.lower() in _LEFT_BY_SYSTEMS for part in name.split("/"))


def given_folder(given: str | Path, key: str) -> GivenFolder:
    """Return a folder of data, on this machine or in an object store.

    Parameters
    ----------
    given, key
        As in `given_file`.

    Raises
    ------
    InputError
        If there is no such folder, or it holds files of the system.
    """
    url = store_url(given, key)
    if url is None:
        path_of(given, key, "read")
        return GivenFolder(str(given), folder(given, key), key)
    try:
        if not any(True for _ in bucket_of(url).below(url.key, 1)):
            raise InputError.of(key, f"there are no objects below '{url}'")
    except OSError as error:
        raise InputError.of(key, f"'{url}' cannot be read: {error.strerror}") from error
    return GivenFolder(str(url), url, key)


def given_place(given: str | Path, key: str) -> GivenFile | GivenFolder:
    """Return a file or a folder of data, on this machine or in an object store.

    Parameters
    ----------
    given, key
        As in `given_file`.

    Raises
    ------
    InputError
        As from `given_file` and `given_folder`.
    """
    url = store_url(given, key)
    if url is None:
        is_folder = os.path.isdir(given)  # noqa: PTH112 (no error if too long)
        return given_folder(given, key) if is_folder else given_file(given, key)
    try:
        return given_file(given, key)
    except InputError as error:
        try:
            return given_folder(given, key)
        except InputError:
            raise error from None
