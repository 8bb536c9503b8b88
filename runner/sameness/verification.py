"""Verification that the files of runs are unchanged."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runner.errors import DamagedError
from runner.record.publication import RECORD
from runner.record.run_folder import damages
from runner.runs.published_run import Run

# Checking fewer runs than this takes less time than starting a process.
_RUNS_A_PROCESS = 200
_RUNS_A_TASK = 32

# Files that other commands add to a run's folder.
_LATER = {"report.html"}


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


def verified(folders: Sequence[Path]) -> Iterator[tuple[Path, Verified | DamagedError]]:
    """Check every byte of many runs on all cores, and yield the results in order.

    Parameters
    ----------
    folders
        Folders of the runs. For a damaged record, the result is the error.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cores or 1, len(folders) // _RUNS_A_PROCESS)
    if processes < 2:
        yield from zip(folders, map(_verified, folders), strict=True)
        return
    # Arrow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        found = pool.map(_verified, folders, chunksize=_RUNS_A_TASK)
        yield from zip(folders, found, strict=True)


def _verified(folder: Path) -> Verified | DamagedError:
    try:
        run = Run.read(folder)
    except DamagedError as error:
        return error
    return Verified(run.id, len(run.record.digests) + 1, tuple(damage(run)))


def damage(run: Run) -> Iterator[str]:
    """Yield the problems with the files of a run, one line each.

    The record itself was checked when the run was opened. Nothing outside the run's folder
    is read.

    Parameters
    ----------
    run
        The run.
    """
    expected = run.record.digests
    for name, found in damages(run.path, expected):
        yield f"{name}: {found}"
    there: list[str] = []
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(run.path, onerror=unreadable.append):
        inside = Path(place).relative_to(run.path).as_posix() + "/"
        inside = "" if inside == "./" else inside
        links = [folder for folder in folders if os.path.islink(f"{place}/{folder}")]  # noqa: PTH114
        there += [inside + name for name in (*files, *links)]
    for name in sorted({*there} - expected.keys() - {RECORD} - _LATER):
        yield f"{name}: is not a file of the run"
    for error in unreadable:
        yield f"{Path(error.filename).relative_to(run.path)}: cannot be read: {error.strerror}"
