"""A run that is written to an object store: claimed, uploaded, and completed by its record."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from runner.errors import InputError, RunError
from runner.file_names import PARTS, RECORD
from runner.store_urls import StoreUrl
from runner.stores.bucket import Bucket, bucket_of
from runner.stores.digests import FileDigest
from runner.stores.leftovers import claimed
from runner.stores.object_file import ranged
from runner.stores.object_run import CLAIM, ObjectRun
from runner.stores.store import Draft, StoredRun, failure_named
from runner.stores.upload import Upload

_PART = 8 << 20  # bytes: small enough that many tables are uploaded at once
_PARTS = 9_000  # a store takes at most 10,000 parts of an object
_PIECE = 1 << 20


class ObjectDraft(Draft):
    """Files that become a run when their record is written, which is done once and last.

    The place is claimed by an object that is written only if it is absent, so that of two
    writers the second is refused before it writes a table.

    Parameters
    ----------
    url
        The place of the run, at which there must be nothing.
    in_parts
        Whether there may be parts of the run.
    """

    def __init__(self, url: StoreUrl, *, in_parts: bool = False) -> None:
        self._url = url
        self._expected = {PARTS} if in_parts else set()
        self._names: set[str] = set()
        self._uploads: list[Upload] = []
        self._folders = contextlib.ExitStack()
        self._local: dict[str, Path] = {}
        self._claim = b""
        self._record: bytes | None = None
        self._is_published = False
        self._part = _PART

    def place(self, name: str = "") -> str:
        """Return the URL of the run, or of a file of it."""
        return str(self._url / name if name else self._url)

    def check(self) -> None:
        """Check that the bucket can be read, and that there is nothing at the place."""
        if not self._url.key:
            raise InputError.of(self.place(), "is a whole bucket", "name a place in it")
        with self._refused("runs cannot be kept here"):
            bucket = bucket_of(self._url)
            there = bucket.names_in(self._url.key) - self._expected
            if CLAIM in there and RECORD not in there:
                raise claimed(bucket, self._url)
        if there:
            raise self._taken()

    def _taken(self) -> InputError:
        return InputError.of(
            self.place(), "the output folder exists and is not empty", "name another one"
        )

    def begin(self) -> None:
        """Claim the place; a store in which two writers could both do so is refused."""
        self.check()
        bucket = bucket_of(self._url)
        claim = {
            "token": secrets.token_hex(16),
            "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            "host": socket.gethostname(),
            "process": os.getpid(),
        }
        data = json.dumps(claim).encode()
        key = (self._url / CLAIM).key
        with self._refused("nothing can be written here"):
            if not bucket.put_new(key, data):
                raise claimed(bucket, self._url)
            self._claim = data
            try:
                self._check_claimed(bucket, key)
            except BaseException:
                self.abandon()
                raise

    def _check_claimed(self, bucket: Bucket, key: str) -> None:
        """Check that the claim holds, and that no run was published since the place was listed."""
        if bucket not in _TRIED:
            self._try(bucket, key)
            _TRIED.add(bucket)
        if bucket.has((self._url / RECORD).key):
            raise self._taken()

    def check_room(self, size: int) -> None:
        """Choose parts so large that a table of this size has no more of them than are allowed."""
        self._part = max(_PART, math.ceil(size / _PARTS))

    def open(self, name: str) -> BinaryIO:
        """Open a new file, which is uploaded while it is written."""
        if name in self._names:
            raise FileExistsError(17, "File exists")
        self._names.add(name)
        upload = Upload(bucket_of(self._url), (self._url / name).key, self._part)
        self._uploads.append(upload)
        return upload  # type: ignore[return-value]  # typeshed's io classes are no BinaryIO

    def drop(self, file: BinaryIO) -> None:
        """End the upload of a file that is incomplete."""
        if isinstance(file, Upload):
            file.discard()

    def remove(self, name: str) -> None:
        """Remove a closed file."""
        bucket_of(self._url).delete([(self._url / name).key])
        self._names.discard(name)

    def reopen(self, name: str) -> BinaryIO:
        """Open a closed file; only what is read is fetched."""
        bucket = bucket_of(self._url)
        return ranged(bucket, bucket.about((self._url / name).key))

    def local_folder(self, name: str) -> Path:
        """Make a folder on this machine, from which `take_in` uploads."""
        top = Path(self._folders.enter_context(tempfile.TemporaryDirectory(prefix="runner-")))
        self._local[name] = top
        return top

    def take_in(self, folder: str) -> Mapping[str, FileDigest]:
        """Upload what is in a local folder."""
        top, digests = self._local.pop(folder), {}
        for path in sorted(top.rglob("*")):
            inside = f"{folder}/{path.relative_to(top).as_posix()}"
            if path.is_symlink():
                raise RunError(f"{inside} is a link, which a run does not hold")
            if path.is_file():
                with failure_named(inside), path.open("rb") as file:
                    digests[inside] = FileDigest.of(file)
                    file.seek(0)
                    with contextlib.closing(self.open(inside)) as upload:
                        shutil.copyfileobj(file, upload, _PIECE)
        shutil.rmtree(top, ignore_errors=True)
        return digests

    def take_over(self, name: str, part: StoredRun) -> str:
        """Leave a file of a part where it is, which is below the place of this run."""
        if isinstance(part, ObjectRun) and part.url.parent.parent == self._url:
            return f"{self._url.inside(part.url.key)}/{name}"
        return super().take_over(name, part)

    def commit(self, record: bytes) -> ObjectRun:
        """Write the record, unless there is one, and give up the claim."""
        bucket = bucket_of(self._url)
        if not self._is_claimed(bucket):
            self._claim = b""
            raise RunError(f"{self._url}: its files were removed meanwhile, by `runner clean`")
        self._record = record
        if not bucket.put_new((self._url / RECORD).key, record):
            raise RunError(f"{self._url}: another run was published here first; this one was not")
        self._is_published = True
        with contextlib.suppress(OSError):  # a claim beside a record is passed over
            bucket.delete([(self._url / CLAIM).key])
        self._folders.close()
        return ObjectRun(self._url)

    def abandon(self) -> None:
        """End all uploads and remove all files; the claim last, since others may write then."""
        self._folders.close()
        for upload in self._uploads:
            upload.discard()
        if self._is_published or not self._claim:
            return
        with contextlib.suppress(OSError):
            bucket = bucket_of(self._url)
            if not self._is_claimed(bucket):  # another writer may be here
                return
            if self._record is not None:  # an answer of the store may have been lost
                self._remove_record(bucket, self._record)
            bucket.delete([(self._url / name).key for name in self._names])
            bucket.delete([(self._url / CLAIM).key])
            self._claim = b""

    def _is_claimed(self, bucket: Bucket) -> bool:
        """Return whether the place is still claimed by this writer."""
        try:
            return bucket.get((self._url / CLAIM).key) == self._claim
        except FileNotFoundError:
            return False

    def _remove_record(self, bucket: Bucket, record: bytes) -> None:
        key = (self._url / RECORD).key
        with contextlib.suppress(FileNotFoundError):
            if bucket.get(key) == record:
                bucket.delete([key])

    def _try(self, bucket: Bucket, key: str) -> None:
        """Check that the store refuses to write the claim again."""
        try:
            is_refused = not bucket.put_new(key, b"")
        except OSError:
            is_refused = False
        if not is_refused:
            bucket.delete([key])
            self._claim = b""
            raise InputError.of(
                self.place(),
                "its store writes an object that is there already, if told to write only a new one:"
                " two writers could mix their runs",
                "take a store with conditional writes (If-None-Match), such as S3, or a folder",
            )

    @contextlib.contextmanager
    def _refused(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError.of(self.place(), f"{what}: {error.strerror}") from error


_TRIED: set[Bucket] = set()
