"""Earlier runs in the folder where a job of a sweep is to be published."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.errors import InputError
from runner.record.order import Ending, in_order
from runner.record.reading import read_record
from runner.record.record import RunRecord
from runner.stores.local_run import LocalRun
from runner.stores.staging import locked
from runner.stores.superseded import move_aside


def is_done(folder: Path, fingerprint: str) -> bool:
    """Return whether a folder holds a complete, undamaged run of the same experiment."""
    record = _record(folder)
    if record is None or record.status != "COMPLETED" or record.fingerprint != fingerprint:
        return False
    return next(LocalRun(folder).damages(record.digests), None) is None


def make_room(folder: Path, run_id: str) -> None:
    """Move an earlier run out of a folder, to ``.superseded`` beside it.

    An empty folder is left: a run can be published to it.

    Raises
    ------
    InputError
        If it cannot be moved, or is another job of the same sweep as the run with this id,
        published just now.
    """
    try:
        if not folder.is_symlink() and not any(folder.iterdir()):
            return
    except FileNotFoundError:
        return
    except OSError:  # a file, or an unreadable folder
        pass
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
def held(folder: Path) -> Iterator[None]:
    """Lock a folder inside the scope: two sweeps in it would move each other's runs away.

    Raises
    ------
    InputError
        If another process holds the lock.
    """
    try:
        handle = locked(folder)
    except BlockingIOError as error:
        raise InputError.of(
            str(folder),
            "another sweep is running in this folder",
            "wait until it has ended, or name another hydra.sweep.dir",
        ) from error
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_recorded(folder: Path, run_id: str) -> bool:
    """Return whether a folder holds the record of this run."""
    record = _record(folder)
    return record is not None and record.run_id == run_id


def sweep_of(folder: Path) -> str | None:
    """Return the id of the sweep whose runs a folder holds, or ``None``."""
    return next((record.sweep for _, record in _records(folder) if record.sweep is not None), None)


def outcomes_of(folder: Path, jobs: Iterable[tuple[str, ...]]) -> dict[str, str | None]:
    """Return the error, if any, of each job of a sweep that left a record.

    Parameters
    ----------
    folder
        The sweep's folder.
    jobs
        The overrides of every job, which identify its run among others in the folder.

    Returns
    -------
    dict[str, str | None]
        Name of the run's folder to its error, in the order of the jobs.
    """
    runs: dict[tuple[str, ...], list[tuple[Ending, str, str | None]]] = {}
    for name, record in _records(folder):
        runs.setdefault(record.overrides, []).append((Ending.of(record), name, record.error))
    order = {
        overrides: in_order([ending for ending, _, _ in same]) for overrides, same in runs.items()
    }
    outcomes = {}
    for overrides in jobs:
        if left := order.get(overrides):
            _, name, error = runs[overrides][left.pop()]  # the newest run is the job's
            outcomes[name] = error
    return outcomes


def _records(folder: Path) -> Iterator[tuple[str, RunRecord]]:
    """Yield the name and the record of each readable run below a folder."""
    try:
        names = sorted(below.name for below in folder.iterdir() if not below.name.startswith("."))
    except OSError:
        return
    for name in names:
        if (record := _record(folder / name)) is not None:
            yield name, record


def _record(folder: Path) -> RunRecord | None:
    try:
        return read_record(LocalRun(folder))
    except InputError:
        return None
