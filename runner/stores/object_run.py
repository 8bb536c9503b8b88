"""The files of a run in an object store, fetched when they are read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from runner.errors import DamagedError
from runner.file_names import RECORD
from runner.store_urls import StoreUrl
from runner.stores.bucket import Bucket, bucket_of
from runner.stores.digests import FileDigest
from runner.stores.file_cache import FileCache
from runner.stores.object_file import ranged
from runner.stores.store import StoredRun, Unreadable

CLAIM = ".writing.json"
"""The object that marks a place where a run is being written, and by whom."""

_SMALL = 1 << 20  # bytes: fetched whole in the request that asks for the size


class ObjectRun(StoredRun):
    """The files of a run in an object store.

    Parameters
    ----------
    url
        The place of the run.
    known
        Content of files that was fetched before, each handed out once.
    """

    def __init__(self, url: StoreUrl, known: dict[str, bytes] | None = None) -> None:
        self.url = url
        self._known = known or {}
        self._digests: dict[str, FileDigest] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRun) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def is_recorded(self) -> bool:
        """Return whether there is a record; what cannot be read is taken for one."""
        try:
            return bucket_of(self.url).has(self._key(RECORD))
        except OSError:
            return True

    def place(self, name: str = "") -> str:
        """Return the URL of the run, or of a file of it."""
        return str(self.url / name if name else self.url)

    @property
    def is_named(self) -> bool:
        """Return True: every command takes a URL."""
        return True

    def open(self, name: str) -> BinaryIO:
        """Open a file: from the cache if it was verified, or else from the store."""
        if (data := self._known.pop(name, None)) is not None:
            return io.BytesIO(data)
        if digest := self._digests.get(name):
            return self.open_verified(name, digest)
        bucket, key = bucket_of(self.url), self._key(name)
        about, content = bucket.get_small(key, _SMALL)
        return ranged(bucket, about) if content is None else io.BytesIO(content)

    def open_verified(self, name: str, digest: FileDigest) -> BinaryIO:
        """Open a file as in `StoredRun`; it is fetched whole, unless the cache holds it."""
        key = self._key(name)
        try:
            bucket = bucket_of(self.url)
            file = FileCache().open(digest, lambda: _fetched(bucket, key, digest.bytes))
        except FileNotFoundError as error:
            raise self._damaged(name, "is missing") from error
        except OSError as error:
            raise self._damaged(name, f"cannot be read: {error.strerror}") from error
        if file is None:
            size = bucket.about(key).size
            found = f"{size:,} bytes" if size != digest.bytes else "another content"
            raise self._damaged(name, f"damaged: expected {digest}, found {found}")
        self._digests[name] = digest
        return file

    def open_part(self, name: str, digest: FileDigest) -> BinaryIO | None:
        """Open a file as in `StoredRun`, unless it is small, or was fetched before."""
        if digest.bytes <= _SMALL or FileCache().holds(digest):
            return None
        try:
            bucket = bucket_of(self.url)
            about = bucket.about(self._key(name))
        except FileNotFoundError as error:
            raise self._damaged(name, "is missing") from error
        except OSError as error:
            raise self._damaged(name, f"cannot be read: {error.strerror}") from error
        if about.size != digest.bytes:
            raise self._damaged(
                name, f"damaged: expected {digest.bytes:,} bytes, found {about.size:,}"
            )
        return ranged(bucket, about)

    def names(self) -> Iterator[str | Unreadable]:
        """Yield the names of all files, which takes one request for 1,000."""
        try:
            for each in bucket_of(self.url).below(self.url.key):
                if (name := self.url.inside(each.key)) != CLAIM:
                    yield name
        except OSError as error:
            yield Unreadable(".", f".: cannot be read: {error.strerror}")

    def _key(self, name: str) -> str:
        parts = name.split("/")
        if {"", ".", ".."} & set(parts):
            raise DamagedError.of(
                self.place(name), "names a file outside the run", "make the run again"
            )
        return (self.url / name).key


def _fetched(bucket: Bucket, key: str, size: int) -> Iterator[bytes]:
    """Yield the content of an object; of one that is larger than expected, not all."""
    if size <= _SMALL:
        _, content = bucket.get_small(key, _SMALL)
        yield content if content is not None else b""
        return
    for piece in bucket.pieces(key):
        yield piece
        size -= len(piece)
        if size < 0:
            return
