"""An object that holds the records of many runs, so that they are not fetched one by one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator

from runner.store_urls import StoreUrl
from runner.stores.bucket import Bucket, StoredObject

INDEX = ".records.gz"
"""Its name, at the place below which the runs are."""

LARGEST_RECORD = 1 << 20
"""Bytes of the largest record that it holds."""

_MOST_BYTES = 256 << 20  # of an index: about 200,000 runs
_MOST_EXPANDED = 100  # times its size: records take about a tenth
_LONGEST_HEADER = 8192

Identity = tuple[str, str, int]


class RecordIndex:
    """The contents of records, by what the store says of their objects.

    A record is taken from here only if the listing of the store gives its object the same tag and
    size as when the record was fetched, and if the record has the checksum that the tag is, if it
    is one (an MD5 on S3, without KMS). An index may thus be missing or out of date, or come from
    someone else.
    """

    def __init__(self) -> None:
        self._records: dict[Identity, bytes] = {}

    def read(self, bucket: Bucket, url: StoreUrl, there: Iterable[StoredObject]) -> None:
        """Add the records of the index at a place; nothing is added from one that is damaged.

        Parameters
        ----------
        bucket, url
            The place.
        there
            The records that the store lists; others are not kept.
        """
        wanted = {(about.key, about.tag, about.size) for about in there}
        found: dict[Identity, bytes] = {}
        try:
            _, data = bucket.get_small((url / INDEX).key, _MOST_BYTES)
            if data is None:
                return
            with gzip.open(io.BytesIO(data)) as file:
                for key, tag, size, record in _entries(file, _MOST_EXPANDED * len(data)):
                    about = ((url / key).key, tag, size)
                    if about in wanted and not _contradicts(tag, record):
                        found[about] = record
        except (OSError, EOFError, ValueError, TypeError, RecursionError, zlib.error):
            return
        self._records |= found

    def record(self, about: StoredObject) -> bytes | None:
        """Return the record in an object; ``None`` if it is not here, or another one is."""
        return None if about.tag is None else self._records.get((about.key, about.tag, about.size))


def write_index(
    bucket: Bucket, url: StoreUrl, records: Iterable[tuple[StoredObject, bytes]]
) -> None:
    """Write the index of a place.

    Parameters
    ----------
    bucket, url
        The place.
    records
        Objects below it that are records, and their contents.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    packed = io.BytesIO()
    with gzip.open(packed, "wb", compresslevel=6) as file:
        for about, record in records:
            header = [url.inside(about.key), about.tag, len(record)]
            file.write(json.dumps(header).encode() + b"\n" + record)
    bucket.put((url / INDEX).key, packed.getvalue())


def _contradicts(tag: str, record: bytes) -> bool:
    """Return whether a tag looks like the MD5 of a record, and is another one."""
    found = re.fullmatch('"?([0-9a-f]{32})"?', tag)
    return found is not None and found[1] != hashlib.md5(record, usedforsecurity=False).hexdigest()


def _entries(file: gzip.GzipFile, most: int) -> Iterator[tuple[str, str, int, bytes]]:
    """Yield the key, tag, size and content of each record, of at most so many bytes together.

    Raises
    ------
    ValueError, TypeError
        If there is something else in the file.
    """
    while header := file.readline(_LONGEST_HEADER):
        key, tag, size = json.loads(header)
        most -= len(header) + size
        if not (0 <= size <= LARGEST_RECORD and most >= 0):
            raise ValueError("too large")
        if len(record := file.read(size)) < size:
            raise EOFError
        yield key, tag, size, record
