"""Whether a run's files are still what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from runner.record.publication import RECORD, FileDigest
from runner.runs.published_run import Run

# Made from a run afterwards, beside it.
_LATER = {"report.html"}
_BLOCK = 2**20


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
            found = _digest(path)
        except OSError as error:
            yield f"{name}: cannot be read: {error.strerror}"
            continue
        if found != digest:
            yield (
                f"{name}: damaged: expected {digest.bytes:,} bytes of SHA-256 {digest.sha256[:12]}"
                f", found {found.bytes:,} of {found.sha256[:12]}"
            )
    there = {
        path.relative_to(run.path).as_posix()
        for path in run.path.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    for name in sorted(there - expected.keys() - {RECORD} - _LATER):
        yield f"{name}: is no file of the run"


def _digest(path: Path) -> FileDigest:
    whole, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole.update(block)
            size += len(block)
    return FileDigest(size, whole.hexdigest())
