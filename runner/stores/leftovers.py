"""Finds, describes and removes what interrupted writers of runs have left."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
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
    with _listing(place):
        yield from _in_bucket(place) if isinstance(place, StoreUrl) else _in_folder(place)


def clear(url: StoreUrl) -> None:
    """Remove everything below a place that belongs to no complete run, claimed or not.

    What cannot be removed stays: its place is refused later, in a line.

    Raises
    ------
    InputError
        If the place cannot be listed.
    """
    with _listing(url):
        bucket = bucket_of(url)
        places = _places(bucket, url)
        for name in {url.inside(place).partition("/")[0] for place in places}:
            is_recorded = RECORD in places.get((url / name).key, ())
            if name and not name.startswith(".") and not is_recorded:
                with contextlib.suppress(OSError):
                    _remove(bucket, url / name)


@contextlib.contextmanager
def _listing(place: RunPlace) -> Iterator[None]:
    try:
        yield
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
    """Yield what is left; whether a run is complete is asked by name, as a listing may be late."""
    bucket = bucket_of(url)
    places = _places(bucket, url)
    for place in sorted(places):
        run = StoreUrl(url.scheme, url.bucket, place)
        if CLAIM not in places[place] or not bucket.has((run / CLAIM).key):
            continue
        told = "a claim beside a complete run"
        if not _is_complete(bucket, run):
            left = _left(bucket, run)
            told = _told([each.size for each in left.objects])
            if left.uploads:
                told += f", {_told_uploads(left.uploads)}"
            told += writer_of(bucket, run)
        yield Leftover(str(run), told, partial(_remove, bucket, run))
    yield from _uploads_of_complete_runs(bucket, url, places)


def _places(bucket: Bucket, url: StoreUrl) -> dict[str, set[str]]:
    """Return the names of the objects in each place at or below a URL."""
    places: dict[str, set[str]] = {}
    for each in bucket.below(url.key):
        place, _, name = each.key.rpartition("/")
        places.setdefault(place, set()).add(name)
    return places


def _uploads_of_complete_runs(
    bucket: Bucket, url: StoreUrl, places: Mapping[str, set[str]]
) -> Iterator[Leftover]:
    """Yield the uploads that a complete run does not know of: the answer to a request was lost."""
    runs: dict[str, list[Callable[[], None]]] = {}
    for name, remove in bucket.uploads(f"{url.key}/".lstrip("/")).items():
        above = [*itertools.accumulate(name.split("/")[:-1], "{}/{}".format)]
        own = [place for place in above if {CLAIM, RECORD} & places.get(place, set())]
        if own and CLAIM not in places[own[-1]]:
            runs.setdefault(own[-1], []).append(remove)
    for place, uploads in runs.items():
        run = StoreUrl(url.scheme, url.bucket, place)
        yield Leftover(str(run), _told_uploads(uploads), partial(_call_all, uploads))


def _call_all(functions: list[Callable[[], None]]) -> None:
    for each in functions:
        each()


def _told_uploads(uploads: list[Callable[[], None]]) -> str:
    return f"{len(uploads)} unfinished upload{'s' * (len(uploads) > 1)}"


def _is_complete(bucket: Bucket, run: StoreUrl) -> bool:
    """Return whether a place is that of a complete run, or inside one."""
    above = itertools.accumulate(run.key.split("/"), "{}/{}".format)
    return any(bucket.has(f"{place}/{RECORD}") for place in above)


class _Left(NamedTuple):
    """What is left of a run in a bucket: its objects, and its unfinished uploads."""

    objects: list[StoredObject]
    uploads: list[Callable[[], None]]


def _left(bucket: Bucket, run: StoreUrl) -> _Left:
    """Return what is in the place of a run but its claim, and in no place of another run below."""
    below = [each for each in bucket.below(run.key) if each.key != (run / CLAIM).key]
    uploads = bucket.uploads(f"{run.key}/")
    ends = (f"/{RECORD}", f"/{CLAIM}")
    others = {each.key.rpartition("/")[0] for each in below if each.key.endswith(ends)} - {run.key}

    @cache
    def is_other(place: str) -> bool:
        return place in others or bucket.has(f"{place}/{RECORD}")

    def is_own(key: str) -> bool:
        above = itertools.accumulate(run.inside(key).split("/")[:-1], "{}/{}".format)
        return not any(is_other((run / place).key) for place in above)

    own = [remove for name, remove in uploads.items() if is_own(name)]
    return _Left([each for each in below if is_own(each.key)], own)


def _remove(bucket: Bucket, run: StoreUrl) -> None:
    """Remove what is left of a run, its claim last; of one that is complete, the claim alone.

    A writer that still runs cannot publish then, since it does so only while the claim is its own.
    """
    claim = (run / CLAIM).key
    bucket.put(claim, b"{}")
    if not _is_complete(bucket, run):
        left = _left(bucket, run)
        _call_all(left.uploads)
        bucket.delete([each.key for each in left.objects])
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
