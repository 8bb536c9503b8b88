"""Finds, describes and removes what interrupted writers of runs have left."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runner.errors import InputError
from runner.file_names import RECORD
from runner.regular_files import everything_below
from runner.sizes import readable
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.bucket import Bucket, StoredObject, bucket_of
from runner.stores.object_run import CLAIM
from runner.stores.staging import is_staging, locked

_LARGEST_CLAIM = 10_000  # bytes


@dataclass(frozen=True)
class Leftover:
    """What is left of a run that was not published.

    Attributes
    ----------
    place
        Where it is.
    what
        What is there, and who wrote it, in a few words.
    remove
        Removes it; raises OSError if that fails.
    """

    place: str
    what: str
    remove: Callable[[], None]


def leftovers_at(place: RunPlace) -> Iterator[Leftover]:
    """Yield what writers have left in or below a folder, or at or below a URL.

    A writer on this machine holds its folder locked, and what it writes is passed over. A store
    has no locks: there, a run that is still being written is yielded like one that never will be.

    Raises
    ------
    InputError
        If the place cannot be listed.
    """
    try:
        yield from _in_bucket(place) if isinstance(place, StoreUrl) else _in_folder(place)
    except OSError as error:
        raise InputError.of(str(place), f"cannot be listed: {error.strerror}") from error


def _in_folder(folder: Path) -> Iterator[Leftover]:
    for inside in sorted(path for path in everything_below(folder) if is_staging(path.name)):
        above = inside.relative_to(folder).parts[:-1]
        if any(map(is_staging, above)) or inside.is_symlink() or not inside.is_dir():
            continue
        try:
            lock = locked(inside)
        except (BlockingIOError, FileNotFoundError):  # its writer still runs, or is done
            continue
        if lock is not None:
            os.close(lock)
        sizes = [each.lstat().st_size for each in everything_below(inside) if each.is_file()]
        yield Leftover(str(inside), _told(sizes), partial(_remove_folder, inside))


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except RecursionError as error:
        raise OSError(errno.ENAMETOOLONG, "its folders are nested too deeply") from error


def _in_bucket(url: StoreUrl) -> Iterator[Leftover]:
    bucket = bucket_of(url)
    there: dict[str, list[StoredObject]] = {}
    for each in bucket.below(url.key):
        there.setdefault(each.key.rpartition("/")[0], []).append(each)
    for place in sorted(there):
        names = {each.key.rpartition("/")[2]: each for each in there[place]}
        if CLAIM not in names:
            continue
        run = StoreUrl(url.scheme, url.bucket, place)
        if RECORD in names:
            claim = names[CLAIM].key
            told = "a claim beside a complete run"
            yield Leftover(str(run), told, partial(bucket.delete, [claim]))
            continue
        left = _left(bucket, run)
        uploads, objects = left.uploads, left.objects
        told = _told([each.size for each in objects if each.key != names[CLAIM].key])
        if uploads:
            told += f", {len(uploads)} unfinished upload{'s' * (len(uploads) > 1)}"
        told += writer_of(bucket, run)
        yield Leftover(str(run), told, partial(_remove, bucket, run))


class _Left(NamedTuple):
    """What is left of a run in a bucket: its objects, and its unfinished uploads."""

    objects: list[StoredObject]
    uploads: list[Callable[[], None]]


def _left(bucket: Bucket, run: StoreUrl) -> _Left:
    """Return what is in the place of a run, but not in the places of other runs below it."""
    below = [*bucket.below(run.key)]
    ends = (f"/{RECORD}", f"/{CLAIM}")
    others = {each.key.rpartition("/")[0] for each in below if each.key.endswith(ends)} - {run.key}

    def is_own(key: str) -> bool:
        above = itertools.accumulate(key.split("/"), "{}/{}".format)
        return others.isdisjoint(above)

    uploads = bucket.uploads(f"{run.key}/")
    own = [remove for name, remove in uploads.items() if is_own(name)]
    return _Left([each for each in below if is_own(each.key)], own)


def _remove(bucket: Bucket, run: StoreUrl) -> None:
    """Remove what is left of a run, its claim last.

    A writer that still runs cannot publish then, since it does so only while the claim is its own.
    """
    claim = (run / CLAIM).key
    bucket.put(claim, b"{}")
    left = _left(bucket, run)
    keys = [each.key for each in left.objects if each.key != claim]
    if (run / RECORD).key not in keys:  # published meanwhile
        for remove in left.uploads:
            remove()
        bucket.delete(keys)
    bucket.delete([claim])


def claimed(bucket: Bucket, run: StoreUrl) -> InputError:
    """Return the error for a place where another run is being written."""
    return InputError.of(
        str(run),
        f"a run is being written here{writer_of(bucket, run)}, or was interrupted",
        f"if it was interrupted, type: runner clean {run}",
    )


def writer_of(bucket: Bucket, run: StoreUrl) -> str:
    """Return who claimed the place of a run, as the end of a sentence; empty if it is unknown."""
    try:
        _, content = bucket.get_small((run / CLAIM).key, _LARGEST_CLAIM)
        claim = {} if content is None else json.loads(content)
        told = f", by process {claim['process']} on {claim['host']} since {claim['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return told[:200]


def _told(sizes: list[int]) -> str:
    return f"{len(sizes)} file{'s' * (len(sizes) != 1)}, {readable(sum(sizes))}"
