"""What stands already where a job of a sweep is to be published."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from runner.errors import InputError
from runner.record.publication import RECORD, FileDigest
from runner.record.record import RunRecord
from runner.record.staging import locked

_SUPERSEDED = ".superseded"


def is_done(folder: Path, fingerprint: str) -> bool:
    """Tell whether a folder holds a completed run made of the same, every file undamaged."""
    record = _record(folder)
    if record is None or record.status != "COMPLETED" or record.fingerprint != fingerprint:
        return False
    return all(_is(folder / name, digest) for name, digest in record.digests.items())


def make_room(folder: Path, run_id: str) -> None:
    """Move a run that stands in a folder away, to ``.superseded`` beside it.

    Raises
    ------
    InputError
        If it is another job of the same sweep as the run with this id, made just now.
    """
    if not (folder / RECORD).exists():
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
    place = folder.parent / _SUPERSEDED
    place.mkdir(exist_ok=True)
    target = place / f"{folder.name}-{mark}"
    if target.exists():
        target = target.with_name(f"{target.name}-{secrets.token_hex(4)}")
    folder.rename(target)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other sweeps out of a folder inside the scope: each would move the other's runs away.

    Raises
    ------
    InputError
        If another process has it.
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
    """Tell whether a folder holds the record of this run."""
    record = _record(folder)
    return record is not None and record.run_id == run_id


def sweep_of(folder: Path) -> str | None:
    """Return the id of the sweep whose runs a folder holds, if there are any."""
    with contextlib.suppress(OSError):
        for below in sorted(folder.iterdir()):
            record = _record(below)
            if record is not None and record.sweep is not None:
                return record.sweep
    return None


def outcomes_of(folder: Path, jobs: Iterable[tuple[str, ...]]) -> dict[str, str | None]:
    """Return the error, if any, of each job of a sweep that left a record.

    Parameters
    ----------
    folder
        The sweep's folder.
    jobs
        The overrides of every job, by which its run is known whatever else is in the folder.

    Returns
    -------
    dict[str, str | None]
        By the name of the run's folder, in the order of the jobs.
    """
    runs: dict[tuple[str, ...], list[tuple[datetime, str, str | None]]] = {}
    for below in folder.iterdir():
        record = None if below.name.startswith(".") else _record(below)
        if record is not None:
            found = record.started, below.name, record.error
            runs.setdefault(record.overrides, []).append(found)
    for same in runs.values():
        same.sort()  # the newest is the job's
    outcomes = {}
    for overrides in jobs:
        if left := runs.get(overrides):
            _, name, error = left.pop()
            outcomes[name] = error
    return outcomes


def _record(folder: Path) -> RunRecord | None:
    path = folder / RECORD
    try:
        return RunRecord.from_json(path.read_bytes(), str(path))
    except (OSError, InputError):
        return None


def _is(path: Path, digest: FileDigest) -> bool:
    try:
        return not digest.damage(path)
    except OSError:
        return False
