"""A store of runs in a bucket, where a run exists once its record does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

from runner.file_names import RECORD
from runner.store_urls import StoreUrl
from runner.stores.bucket import Bucket, StoredObject, bucket_of
from runner.stores.local_run import lost_record
from runner.stores.object_draft import ObjectDraft
from runner.stores.object_run import CLAIM, ObjectRun
from runner.stores.record_index import INDEX, LARGEST_RECORD, RecordIndex, write_index
from runner.stores.store import Store, StoredRun, Unreadable

_AT_ONCE = 16  # requests for records
_AHEAD = 64  # records fetched before they are asked for
_FEW = 50  # runs whose records are fetched as quickly as an index


class ObjectStore(Store):
    """The runs at or below a place in an object store.

    Listing them takes a request for 1,000 objects, and one for the record of each run that is not
    in an index. Folders whose names begin with a dot are passed over, as on a disk.

    Parameters
    ----------
    url
        The place.
    """

    def __init__(self, url: StoreUrl) -> None:
        self._url = url

    def place(self) -> str:
        """Return the URL."""
        return str(self._url)

    def draft(self, name: str) -> ObjectDraft:
        """Return a run to be published below this place."""
        return ObjectDraft(self._url / name)

    def remove(self, kept: Container[str] = (), names: Iterable[str] = ()) -> None:
        """Remove all objects but those that are kept."""
        with contextlib.suppress(OSError):
            bucket = bucket_of(self._url)
            listed = (self._url.inside(each.key) for each in bucket.below(self._url.key))
            gone = [self._url / name for name in dict.fromkeys([*listed, *names])]
            bucket.delete([url.key for url in gone if str(url) not in kept])

    def runs(self) -> Iterator[StoredRun | Unreadable]:
        """Yield every run, with its record, and the places of runs whose records are missing."""
        try:
            bucket = bucket_of(self._url)
            found, records, index = self._listed(bucket)
        except OSError as error:
            yield Unreadable(self.place(), f"{self.place()}: cannot be read: {error.strerror}")
            return
        with ThreadPoolExecutor(_AT_ONCE, "runner-records") as pool:
            waiting = iter(found.items())
            while ahead := list(islice(waiting, _AHEAD)):
                runs = [records.get(place) for place, is_run in ahead if is_run]
                fetched = pool.map(partial(_fetched, bucket, index), runs)
                for place, is_run in ahead:
                    where = self._url / place
                    if is_run:
                        known = next(fetched)
                        yield ObjectRun(where, {} if known is None else {RECORD: known[1]})
                    else:
                        why = f"{where}: has the files of a run, but no {RECORD}"
                        yield Unreadable(str(where), why)

    def index(self) -> None:
        """Write an object with all records, unless there are few runs, or it is up to date."""
        with contextlib.suppress(OSError), ThreadPoolExecutor(_AT_ONCE, "runner-records") as pool:
            bucket = bucket_of(self._url)
            found, records, index = self._listed(bucket)
            runs = [records[place] for place in found if place in records]
            if len(runs) > _FEW and any(index.record(about) is None for about in runs):
                fetched = pool.map(partial(_fetched, bucket, index), runs)
                write_index(bucket, self._url, filter(None, fetched))

    def _listed(
        self, bucket: Bucket
    ) -> tuple[dict[str, bool], dict[str, StoredObject], RecordIndex]:
        """Return the places of runs and whether each has its record, the records, and the index."""
        records: dict[str, StoredObject] = {}
        indices: list[StoreUrl] = []

        def names() -> Iterator[str]:
            for each in bucket.below(self._url.key):
                name = self._url.inside(each.key)
                folder, _, last = name.rpartition("/")
                if last == RECORD:
                    records[folder] = each
                elif last == INDEX:
                    indices.append(self._url / folder)
                yield name

        def is_recorded(place: str) -> bool:
            """Ask for a record by its name: a listing may be late."""
            try:
                records[place] = bucket.about((self._url / place / RECORD).key)
            except FileNotFoundError:
                return False
            return True

        found, index = _found_in(names(), is_recorded), RecordIndex()
        for place in indices:
            index.read(bucket, place, records.values())
        return found, records, index


def _fetched(
    bucket: Bucket, index: RecordIndex, about: StoredObject | None
) -> tuple[StoredObject, bytes] | None:
    """Return a record with what the store says of it; ``None`` if reading the run must say why."""
    if about is None:  # a folder has the name of the record
        return None
    if (known := index.record(about)) is not None:
        return about, known
    try:
        now, record = bucket.get_small(about.key, LARGEST_RECORD)
    except OSError:
        return None
    return None if record is None else (now, record)


def _found_in(names: Iterator[str], is_recorded: Callable[[str], bool]) -> dict[str, bool]:
    """Return the places of runs among the names of objects, and whether each has its record.

    Whatever is below a run is part of it. A run that is still being written does not count.

    Parameters
    ----------
    names
        Names of objects.
    is_recorded
        Asked about the place of a run that lacks its record among the names.
    """
    entries: dict[str, set[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        entries.setdefault(folder, set()).add(last)
        while folder:
            folder, _, last = folder.rpartition("/")
            if last in (there := entries.setdefault(folder, set())):
                break
            there.add(last)
    found: dict[str, bool] = {}
    for folder in sorted(entries):
        parts = folder.split("/") if folder else []
        above = ("/".join(parts[:end]) for end in range(len(parts)))
        if any(part.startswith(".") for part in parts) or any(map(found.__contains__, above)):
            continue
        is_claimed = CLAIM in entries[folder]
        if RECORD in entries[folder]:
            found[folder] = True
        elif is_claimed or lost_record(entries[folder]):
            if is_recorded(folder):
                found[folder] = True
            elif not is_claimed:
                found[folder] = False
    return found
