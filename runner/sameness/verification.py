"""Verification that the files of runs are unchanged."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from runner.errors import DamagedError
from runner.file_names import RECORD, REPORT
from runner.runs.published_run import Run
from runner.stores.store import StoredRun, Unreadable

# Checking fewer runs than this takes less time than starting a process.
_RUNS_A_PROCESS = 200
_RUNS_A_TASK = 32

# Files that other commands add to a run's folder.


@dataclass(frozen=True)
class Verified:
    """The result of verifying one run.

    Attributes
    ----------
    run
        Id of the run.
    files
        Number of files of the run.
    wrong
        Problems with the files, one line each.
    """

    run: str
    files: int
    wrong: tuple[str, ...]


def verified(runs: Sequence[StoredRun]) -> Iterator[tuple[StoredRun, Verified | DamagedError]]:
    """Check every byte of many runs on all cores, and yield the results in order.

    Parameters
    ----------
    runs
        The files of the runs. For a damaged record, the result is the error.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cores or 1, len(runs) // _RUNS_A_PROCESS)
    if processes < 2:
        yield from zip(runs, map(_verified, runs), strict=True)
        return
    # Arrow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        found = pool.map(_verified, runs, chunksize=_RUNS_A_TASK)
        yield from zip(runs, found, strict=True)


def _verified(stored: StoredRun) -> Verified | DamagedError:
    try:
        run = Run.read(stored)
    except DamagedError as error:
        return error
    return Verified(run.id, len(run.record.digests) + 1, tuple(damage(run)))


def damage(run: Run) -> Iterator[str]:
    """Yield the problems with the files of a run, one line each.

    The record itself was checked when the run was opened. Nothing outside the run is
    read.

    Parameters
    ----------
    run
        The run.
    """
    expected = run.record.digests
    for name, found in run.stored.damages(expected):
        yield f"{name}: {found}"
    there = list(run.stored.names())
    names = {name for name in there if isinstance(name, str)}
    for name in sorted(names.difference(expected, {RECORD, REPORT})):
        yield f"{name}: is not a file of the run"
    yield from (one.why for one in there if isinstance(one, Unreadable))
