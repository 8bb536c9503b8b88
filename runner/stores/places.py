"""The folders and URLs that users give as places of runs, and the stores that hold them."""

from __future__ import annotations

from pathlib import Path

from runner.regular_files import write_in_place
from runner.store_urls import RunPlace, StoreUrl, runs_place, store_url
from runner.stores.bucket import bucket_of
from runner.stores.local import LocalStore
from runner.stores.local_draft import LocalDraft
from runner.stores.local_run import LocalRun
from runner.stores.local_run import holds_run as folder_holds_run
from runner.stores.object_draft import ObjectDraft
from runner.stores.object_run import ObjectRun
from runner.stores.object_store import ObjectStore
from runner.stores.store import Draft, Store, StoredRun, failure_named

Place = str | RunPlace
"""A folder or a URL."""


def store_at(place: Place | Store) -> Store:
    """Return the store of a folder or a URL; a store is returned as it is.

    Raises
    ------
    InputError
        If it is a URL that holds credentials.
    """
    if isinstance(place, Store):
        return place
    url = _url(place)
    return LocalStore(str(place)) if url is None else ObjectStore(url)


def run_at(place: Place | StoredRun) -> StoredRun:
    """Return the files of the run at a place; those of another store are returned as they are."""
    if isinstance(place, StoredRun):
        return place
    url = _url(place)
    return LocalRun(str(place)) if url is None else ObjectRun(url)


def draft_at(place: Place | Draft, argument: str, *, in_parts: bool = False) -> Draft:
    """Return a run to be published to a folder or a URL; a draft is returned as it is.

    Parameters
    ----------
    place
        As given by the user.
    argument
        The argument that it comes from.
    in_parts
        Whether the run is joined from its parts, which may be there.

    Raises
    ------
    InputError
        If it is a URL of no store.
    """
    if isinstance(place, Draft):
        return place
    found = place if isinstance(place, StoreUrl) else runs_place(place, argument)
    if isinstance(found, StoreUrl):
        return ObjectDraft(found, in_parts=in_parts)
    return LocalDraft(found)


def holds_run(place: Place) -> bool:
    """Return whether there is a record of a run at a place, readable or not."""
    url = _url(place)
    return folder_holds_run(str(place)) if url is None else ObjectRun(url).is_recorded()


def _url(place: Place) -> StoreUrl | None:
    return place if isinstance(place, StoreUrl) else store_url(place, "URL")


def write_beside(place: Place, name: str, data: bytes) -> None:
    """Write a file that belongs to no run to a folder, which is made if necessary, or to a URL.

    Raises
    ------
    RunError
        If it cannot be written.
    """
    url = _url(place)
    with failure_named(f"{place}/{name}"):
        if url is not None:
            bucket_of(url).put((url / name).key, data)
            return
        folder = Path(str(place))
        folder.mkdir(parents=True, exist_ok=True)
        write_in_place(data, folder / name)
