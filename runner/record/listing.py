"""The records of all runs in a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.caller_warnings import warn_caller
from runner.errors import DamagedError
from runner.record.garbage import uncollected
from runner.record.order import Ending, in_order
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.stores.places import Place, store_at
from runner.stores.store import Store, StoredRun, Unreadable


@dataclass(frozen=True)
class Listing:
    """The runs in a store.

    Attributes
    ----------
    runs
        Their files and records, in the order in which they ended.
    unreadable
        The runs that cannot be read.
    """

    runs: list[tuple[StoredRun, RunRecord]]
    unreadable: list[Unreadable]


def list_records(place: Place | Store) -> Listing:
    """Read the records of all runs in or below a folder, or in a store."""
    runs: list[tuple[StoredRun, RunRecord]] = []
    unreadable: list[Unreadable] = []
    with uncollected():
        for found in store_at(place).runs():
            if isinstance(found, Unreadable):
                unreadable.append(found)
                continue
            try:
                runs.append((found, read_record(found)))
            except DamagedError as error:
                unreadable.append(Unreadable(found.place(), str(error)))
    order = in_order([Ending.of(record) for _, record in runs])
    return Listing([runs[number] for number in order], unreadable)


def warn_of(unreadable: Iterable[Unreadable]) -> None:
    """Warn of each run that cannot be read."""
    for one in unreadable:
        warn_caller(f"left out: {one.why}")
