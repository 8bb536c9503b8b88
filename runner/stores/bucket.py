"""Requests for the objects of a bucket in an object store, with errors in plain words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any

from runner.caller_warnings import warn_caller
from runner.errors import InputError, some
from runner.store_urls import StoreUrl
from runner.stores.services import EXTRA, SERVICES
from runner.stores.store_errors import plainly

_RANGE = 16 << 20  # bytes of a large object that are fetched in one request
_NO_PATH = "invalid path"  # what obstore says of a name that is none
_SHOWN = 60  # characters of such a name
_CONCURRENT = 2  # parts of one upload that are under way at once


@dataclass(frozen=True)
class StoredObject:
    """What a store says of an object.

    Attributes
    ----------
    key, size, modified
        Its key, its size in bytes, and when it was written.
    tag
        Identifies its content; ``None`` if the store has none.
    """

    key: str
    size: int
    modified: datetime
    tag: str | None

    @classmethod
    def of(cls, meta: Any) -> StoredObject:
        """Return an object from what obstore says of it."""
        return cls(meta["path"], meta["size"], meta["last_modified"], meta["e_tag"])


class Bucket:
    """The objects of a bucket, by their keys.

    Every request raises an `OSError` that says in a few words what is wrong, without the URLs and
    headers that a store's own messages hold: `FileNotFoundError` if there is no such object.

    Parameters
    ----------
    url
        A place in the bucket.
    """

    def __init__(self, url: StoreUrl) -> None:
        self.url = url
        self._store = _store_of(url)

    def put(self, key: str, data: bytes) -> None:
        """Write an object in one request, in the place of any other."""
        with plainly():
            _obstore().put(self._store, key, data, use_multipart=False)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object in one request unless there is one, and return whether it is there.

        A request whose answer was lost is repeated, and finds what it wrote itself: the content
        must be that of no other writer.
        """
        try:
            with plainly():
                _obstore().put(self._store, key, data, mode="create")
        except FileExistsError:
            return self.get(key) == data
        return True

    def stream(self, key: str, pieces: Iterable[bytes], size: int) -> None:
        """Write an object in parts, in the place of any other; nothing is left if that fails.

        Parameters
        ----------
        key
            Of the object.
        pieces
            Its content; an error that the iterator raises ends the upload.
        size
            Of a part, in bytes.
        """
        with plainly():
            _obstore().put(
                self._store, key, pieces, use_multipart=True, chunk_size=size,
                max_concurrency=_CONCURRENT,
            )  # fmt: skip

    def get(self, key: str) -> bytes:
        """Return the content of an object."""
        with plainly():
            return bytes(_obstore().get(self._store, key).bytes())

    def get_small(self, key: str, limit: int) -> tuple[StoredObject, bytes | None]:
        """Return what the store says of an object, with its content unless it is too large."""
        with plainly():
            found = _obstore().get(self._store, key)
            about = StoredObject.of(found.meta)
            return about, bytes(found.bytes()) if about.size <= limit else None

    def pieces(self, key: str) -> Iterator[bytes]:
        """Yield the content of an object in pieces, each fetched by a request of its own."""
        about = self.about(key)
        for start in range(0, about.size, _RANGE):
            yield self.get_range(about, start, min(start + _RANGE, about.size))

    def get_range(self, about: StoredObject, start: int, end: int) -> bytes:
        """Return a part of an object, which must not have changed."""
        options: dict[str, Any] = {"range": (start, end)}
        if about.tag is not None:
            options["if_match"] = about.tag
        with plainly():
            return bytes(_obstore().get(self._store, about.key, options=options).bytes())

    def about(self, key: str) -> StoredObject:
        """Return what the store says of an object."""
        with plainly():
            return StoredObject.of(_obstore().head(self._store, key))

    def has(self, key: str) -> bool:
        """Return whether there is an object, which a listing may not show yet."""
        try:
            self.about(key)
        except FileNotFoundError:
            return False
        return True

    def below(self, prefix: str, most: int | None = None) -> Iterator[StoredObject]:
        """Yield the objects in a place of the bucket, in the order of their keys.

        Objects whose names are no paths (``a//b``, ``a/../b``) are left out, with a warning.

        Parameters
        ----------
        prefix
            The place, without ``/`` at its end; empty for the whole bucket.
        most
            Number after which to end; the fewer, the smaller the answer.
        """
        chunk = 1000 if most is None else min(most, 1000)
        last, left = "", most
        try:
            with plainly():
                for metas in _obstore().list(self._store, prefix or None, chunk_size=chunk):
                    for meta in metas[:left]:
                        last = meta["path"]
                        yield StoredObject.of(meta)
                    if left is not None and (left := left - len(metas)) <= 0:
                        return
        except OSError as error:
            if _NO_PATH not in str(error):
                raise
            yield from islice(self._with_paths(prefix, last, error), left)

    def _with_paths(self, prefix: str, last: str, error: OSError) -> Iterator[StoredObject]:
        """Yield the objects in a place whose names are paths, and come after one of them."""
        url, wrong = self.url, []
        below = f"{prefix}/" if prefix else ""
        with plainly():
            found = SERVICES[url.scheme].listed(url.bucket, below)
            if found is None:
                raise error
            for each in found:
                key = each["Key"].removesuffix("/")
                if {"", ".", ".."} & {*key.split("/")} or not key.isprintable():
                    wrong.append(each["Key"])
                elif key > last:
                    yield StoredObject(key, each["Size"], each["LastModified"], each["ETag"])
        named = some([repr(key[:_SHOWN]) for key in wrong])
        warn_caller(f"{url}: left out objects whose names are no paths: {named}")

    def names_in(self, prefix: str) -> set[str]:
        """Return the names of the objects, and of the folders, directly in a place."""
        with plainly():
            found = _obstore().list_with_delimiter(self._store, prefix or None)
        keys = [meta["path"] for meta in found["objects"]] + list(found["common_prefixes"])
        return {key.rpartition("/")[2] for key in keys}

    def copy(self, key: str, to: str) -> None:
        """Copy an object inside the bucket."""
        with plainly():
            _obstore().copy(self._store, key, to)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are passed over."""
        if keys:
            with plainly(), contextlib.suppress(FileNotFoundError):
                _obstore().delete(self._store, list(keys))

    def uploads(self, prefix: str) -> dict[str, Callable[[], None]]:
        """Return the unfinished uploads below a prefix, each with a function that removes it."""
        with plainly():
            return SERVICES[self.url.scheme].uploads(self.url.bucket, prefix)


@cache
def bucket_of(url: StoreUrl) -> Bucket:
    """Return the bucket that a place is in.

    Raises
    ------
    InputError
        If the packages that reach it are not installed.
    OSError
        If there are no credentials for it.
    """
    if url.key:
        return bucket_of(StoreUrl(url.scheme, url.bucket, ""))
    return Bucket(url)


def _obstore() -> Any:
    import obstore

    return obstore


def _store_of(url: StoreUrl) -> Any:
    """Return obstore's store of a bucket."""
    try:
        _obstore()
    except ModuleNotFoundError as error:
        raise InputError.missing(f"{url.scheme}://", "needs obstore", EXTRA) from error
    with plainly():
        return SERVICES[url.scheme].store(f"{url.root}/")
