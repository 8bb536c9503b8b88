"""Whether a run's files are still what was written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runner.record.publication import RECORD
from runner.record.run_folder import file_damage
from runner.runs.published_run import Run

# Made from a run afterwards, beside it.
_LATER = {"report.html"}


def damage(run: Run) -> Iterator[str]:
    """Yield what is wrong with the files of a run, one line each.

    The record itself was checked when the run was opened. Nothing outside the run's folder
    is read.

    Parameters
    ----------
    run
        The run.
    """
    expected = run.record.digests
    for name, digest in expected.items():
        if found := file_damage(run.path, name, digest):
            yield f"{name}: {found}"
    there: list[str] = []
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(run.path, onerror=unreadable.append):
        links = [folder for folder in folders if Path(place, folder).is_symlink()]
        there += [Path(place, name).relative_to(run.path).as_posix() for name in (*files, *links)]
    for name in sorted({*there} - expected.keys() - {RECORD} - _LATER):
        yield f"{name}: is no file of the run"
    for error in unreadable:
        yield f"{Path(error.filename).relative_to(run.path)}: cannot be read: {error.strerror}"
