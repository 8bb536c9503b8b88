"""Whether a run's files are still what was written."""

from __future__ import annotations

from collections.abc import Iterator

from runner.record.publication import RECORD
from runner.runs.published_run import Run

# Made from a run afterwards, beside it.
_LATER = {"report.html"}


def damage(run: Run) -> Iterator[str]:
    """Yield what is wrong with the files of a run, one line each.

    The record itself was checked when the run was opened.

    Parameters
    ----------
    run
        The run.
    """
    expected = run.record.digests
    for name, digest in expected.items():
        path = run.path / name
        try:
            if found := digest.damage(path):
                yield f"{name}: {found}"
        except OSError as error:
            yield f"{name}: cannot be read: {error.strerror}"
    there = {
        path.relative_to(run.path).as_posix()
        for path in run.path.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    for name in sorted(there - expected.keys() - {RECORD} - _LATER):
        yield f"{name}: is no file of the run"
