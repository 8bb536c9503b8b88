"""Earlier runs in the folder where a job of a sweep is to be published."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.caller_warnings import warn_caller
from runner.errors import InputError
from runner.record.order import Ending, in_order
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.store_urls import RunPlace, StoreUrl
from runner.stores.places import run_at, store_at
from runner.stores.staging import locked
from runner.stores.store import StoredRun
from runner.stores.superseded import is_free, move_aside


def is_done(folder: RunPlace, fingerprint: str, overrides: tuple[str, ...]) -> bool:
    """Return whether the folder of a job holds its complete, undamaged run.

    Warns of a run that claims to be of this experiment but is damaged, or another job's.

    Parameters
    ----------
    folder
        The folder of the job.
    fingerprint, overrides
        As in the record of its run.
    """
    record = _record(folder)
    if record is None or record.status != "COMPLETED" or record.fingerprint != fingerprint:
        return False
    if record.overrides != overrides:
        why = "the run in the folder is not that of this job"
    elif damage := next(run_at(folder).damages(record.digests), None):
        why = ": ".join(damage)
    else:
        return True
    warn_caller(f"{folder}: {why}; the job is run again")
    return False


def make_room(folder: RunPlace, run_id: str) -> None:
    """Move an earlier run out of a folder, to ``.superseded`` beside it.

    An empty folder is left: a run can be published to it.

    Raises
    ------
    InputError
        If it cannot be moved, or is another job of the same sweep as the run with this id,
        published just now.
    """
    if is_free(folder):
        return
    record = _record(folder)
    sweep = run_id.rpartition("-")[0]
    if record is not None and record.run_id != run_id and record.run_id.startswith(f"{sweep}-"):
        raise InputError.of(
            "hydra.sweep.subdir",
            f"'{folder.name}' is the folder of two runs of the sweep",
            "give each its own: hydra.sweep.subdir='${hydra.job.num}'",
        )
    mark = record.run_id if record is not None else "damaged"
    move_aside(folder, mark)


@contextlib.contextmanager
def held(folder: RunPlace, what: str = "sweep", key: str = "hydra.sweep.dir") -> Iterator[None]:
    """Lock a folder inside the scope: two commands in it would move each other's runs away.

    Parameters
    ----------
    folder
        The folder.
    what, key
        What runs in it, and the key that names it; for messages.

    Raises
    ------
    InputError
        If another process holds the lock.
    """
    if isinstance(folder, StoreUrl):  # where each place of a run is claimed by one writer
        yield
        return
    try:
        handle = locked(folder)
    except BlockingIOError as error:
        raise InputError.of(
            str(folder),
            f"another {what} is running in this folder",
            f"wait until it has ended, or name another {key}",
        ) from error
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_recorded(folder: RunPlace, run_id: str) -> bool:
    """Return whether a folder holds the record of this run."""
    record = _record(folder)
    return record is not None and record.run_id == run_id


def sweep_of(folder: RunPlace) -> str | None:
    """Return the id of the sweep whose runs a folder holds, or ``None``.

    That of most runs, with a warning if there are several: one record may come from elsewhere.
    """
    runs = Counter(record.sweep for _, record in _records(folder) if record.sweep is not None)
    if not runs:
        return None
    sweep, most = max(runs.items(), key=lambda item: (item[1], item[0]))
    if others := runs.total() - most:
        warn_caller(f"{folder}: {others:,} runs are of other sweeps than {sweep}, of most runs")
    return sweep


def outcomes_of(
    folder: RunPlace, jobs: Iterable[tuple[str, ...]], run_id: str
) -> dict[str, str | None]:
    """Return the error, if any, of each job of a sweep that left a record.

    A job was run now, or its run was complete before: other records of a failure, or of a run
    made before one made now, are not the job's.

    Parameters
    ----------
    folder
        The sweep's folder.
    jobs
        The overrides of every job, which identify its run among others in the folder.
    run_id
        Id of this invocation, with which the ids of the runs that it makes begin.

    Returns
    -------
    dict[str, str | None]
        Name of the run's folder to its error, in the order of the jobs.
    """
    runs: dict[tuple[str, ...], list[tuple[Ending, str, str | None]]] = {}
    made_now: dict[str, tuple[str, str | None]] = {}
    for name, record in _records(folder):
        if record.run_id.startswith(f"{run_id}-"):
            made_now[record.run_id] = name, record.error
        elif record.status == "COMPLETED":
            runs.setdefault(record.overrides, []).append((Ending.of(record), name, record.error))
    order = {
        overrides: in_order([ending for ending, _, _ in same]) for overrides, same in runs.items()
    }
    outcomes = {}
    for number, overrides in enumerate(jobs):
        if (made := made_now.get(f"{run_id}-{number}")) is not None:
            name, error = made
            outcomes[name] = error
        elif left := order.get(overrides):
            _, name, error = runs[overrides][left.pop()]  # the newest run is the job's
            outcomes[name] = error
    return outcomes


def _records(folder: RunPlace) -> Iterator[tuple[str, RunRecord]]:
    """Yield the name and the record of each readable run below a folder."""
    for found in store_at(folder).runs():
        if isinstance(found, StoredRun) and (record := _read(found)) is not None:
            yield os.path.relpath(found.place(), str(folder)), record


def _record(folder: RunPlace) -> RunRecord | None:
    if isinstance(folder, Path) and folder.is_symlink():  # a link is no run of this folder
        return None
    return _read(run_at(folder))


def _read(run: StoredRun) -> RunRecord | None:
    try:
        return read_record(run)
    except InputError:
        return None
