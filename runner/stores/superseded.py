"""Earlier runs, moved out of the place in which another one is to appear."""

from __future__ import annotations

import contextlib
import errno
import secrets
from pathlib import Path

from runner.errors import InputError
from runner.file_names import RECORD
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.bucket import bucket_of
from runner.stores.leftovers import claimed
from runner.stores.object_run import CLAIM

_SUPERSEDED = ".superseded"


def is_free(place: RunPlace) -> bool:
    """Return whether a run can appear at a place: in an empty folder, or where nothing is."""
    if isinstance(place, StoreUrl):
        with contextlib.suppress(OSError):
            bucket = bucket_of(place)
            is_listed = any(True for _ in bucket.below(place.key, most=1))
            return not (is_listed or bucket.has((place / RECORD).key))
        return False
    try:
        return not place.is_symlink() and not any(place.iterdir())
    except FileNotFoundError:
        return True
    except OSError:  # a file, or an unreadable folder
        return False


def move_aside(place: RunPlace, mark: str) -> None:
    """Move a run to ``.superseded`` beside it, where no run is looked for.

    Nothing is moved out of the parent folder.

    Parameters
    ----------
    place
        The folder, or whatever is in its place; or the URL.
    mark
        Added to its name, such as the id of its run.

    Raises
    ------
    InputError
        If it cannot be moved, or another process is writing a run there.
    """
    aside = place.parent / _SUPERSEDED
    try:
        if isinstance(place, StoreUrl):
            _move_objects(place, place.parent / _SUPERSEDED / f"{place.name}-{mark}")
        else:
            _move_folder(place, place.parent / _SUPERSEDED, mark)
    except OSError as error:
        raise InputError.of(
            str(place), f"its content cannot be moved to {aside}: {error.strerror}"
        ) from error


def _move_folder(folder: Path, aside: Path, mark: str) -> None:
    aside.mkdir(exist_ok=True)
    if aside.is_symlink():
        raise InputError.of(str(aside), "is a link, and runs are not moved through one")
    target = aside / f"{folder.name}-{mark}"
    if target.exists() or target.is_symlink():
        target = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
    folder.rename(target)


def _move_objects(url: StoreUrl, target: StoreUrl) -> None:
    """Move the objects of a run; its record is copied last and removed first."""
    bucket = bucket_of(url)
    names = [url.inside(each.key) for each in bucket.below(url.key)]
    if CLAIM in names and RECORD not in names:
        raise claimed(bucket, url)
    if RECORD not in names and bucket.has((url / RECORD).key):
        raise OSError(errno.EAGAIN, "the store does not list all of it yet; wait a while")
    names.sort(key=lambda name: name == RECORD)
    for name in names:
        bucket.copy((url / name).key, (target / name).key)
    for name in reversed(names):
        bucket.delete([(url / name).key])
