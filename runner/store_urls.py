"""The URLs of object stores in which runs are kept, and what a user may give as a place of runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError
from runner.local_paths import URL, local_path
from runner.stores.services import SERVICES


@dataclass(frozen=True)
class StoreUrl:
    """A place in an object store, such as ``s3://bucket/runs/first``.

    Attributes
    ----------
    scheme
        One of `runner.stores.services.SERVICES`.
    bucket
        The bucket or container; for ``abfs``, perhaps ``container@account``.
    key
        The path in it, without ``/`` at either end; empty for the whole bucket.
    """

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, name: str) -> StoreUrl:
        return StoreUrl(self.scheme, self.bucket, "/".join(filter(None, (self.key, name))))

    @property
    def root(self) -> str:
        """The URL of the bucket."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> StoreUrl:
        """The place that it is in."""
        return StoreUrl(self.scheme, self.bucket, self.key.rpartition("/")[0])

    def inside(self, key: str) -> str:
        """Return a key below this place, relative to it."""
        return key[len(self.key) :].lstrip("/")


RunPlace = Path | StoreUrl
"""A folder or a place in an object store."""


def store_url(given: str | Path, place: str) -> StoreUrl | None:
    """Return the place in an object store that a text names; ``None`` if it is no such URL.

    Parameters
    ----------
    given
        As given by the user. `Path` reduces a URL's two slashes to one.
    place
        The argument or key that it comes from.

    Raises
    ------
    InputError
        If it holds credentials, or is no place in a bucket.
    """
    match = URL.match(str(given))
    if match is None or match[1].lower() not in SERVICES:
        return None
    scheme, rest = match[1].lower(), str(given)[match.end() :]
    bucket, _, key = rest.lstrip("/").partition("/")
    user, at, account = bucket.rpartition("@")
    if at and (":" in user or not SERVICES[scheme].has_accounts):
        raise InputError.of(
            place,
            f"holds credentials, in a {scheme}:// URL",
            "leave them out: they are taken from the environment or a profile",
        )
    if re.search(r"[?#]", rest):
        raise InputError.of(place, f"expected {scheme}://bucket/path, without ? and #")
    parts = key.strip("/").split("/") if key.strip("/") else []
    if not bucket or not account or {"", ".", ".."} & set(parts) or not key.isprintable():
        raise InputError.of(place, f"expected {scheme}://bucket/path, found '{given}'")
    return StoreUrl(scheme, bucket, "/".join(parts))


def runs_place(given: str | Path, place: str) -> RunPlace:
    """Return where runs are to be written: a folder, or a place in an object store.

    Parameters
    ----------
    given, place
        As in `store_url`.

    Raises
    ------
    InputError
        As from `store_url`, or if it is another URL.
    """
    return store_url(given, place) or path_of(given, place)


def path_of(given: str | Path, place: str, doing: str = "write to") -> Path:
    """Return a path where a place in an object store could have been given, too.

    Parameters
    ----------
    given, place, doing
        As in `runner.local_paths.local_path`.

    Raises
    ------
    InputError
        If it is a URL, which is of no store.
    """
    schemes = [scheme for scheme, service in SERVICES.items() if service.lasts]
    urls = f"{', '.join(schemes[:-1])} or {schemes[-1]}"
    return local_path(given, place, doing, f"give a path of this machine, or a URL of {urls}")
