"""Check that runs were shown the same probe."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from runner.caller_warnings import warn_caller
from runner.errors import InputError
from runner.probe.probe_hash import BLOCK
from runner.runs.published_run import Run


def check_probes(a: Run, b: Run) -> None:
    """Check that two runs were shown the same samples in the same order.

    Of adopted tensors, only the sample ids are known.

    Raises
    ------
    InputError
        If they were not (names both hashes and the first difference), or if a run failed.
    """
    for run in (a, b):
        if run.record.probe is None:
            why = run.record.error or "nothing was shown"
            raise InputError.of(f"run {run.id}", f"has no tables to compare: {why}")
    one, other = a.probe_record, b.probe_record
    is_adopted = a.record.is_adopted or b.record.is_adopted
    if not is_adopted and one.sha256 != other.sha256 and not _same_inputs(a, b):
        _refuse("inputs", one.sha256, other.sha256, a, b)
    if one.sample_ids_sha256 != other.sample_ids_sha256 and not _same_ids(a, b):
        _refuse("sample ids", one.sample_ids_sha256, other.sample_ids_sha256, a, b)


def _refuse(what: str, mine: str, theirs: str, a: Run, b: Run) -> NoReturn:
    raise InputError.of(
        "probe",
        f"the runs were shown different {what}: {mine[:12]} and "
        f"{theirs[:12]}{_first_difference(a, b)}",
    )


def _hashed_apart(a: Run, b: Run) -> bool:
    """Return whether the hashes of two runs differ for the same probe: one is of blocks."""
    one, other = a.probe_record, b.probe_record
    return one.hash_block != other.hash_block and one.rows == other.rows > BLOCK


def _same_ids(a: Run, b: Run) -> bool:
    """Return whether runs were shown the same sample ids, though their hashes differ."""
    return _hashed_apart(a, b) and b.probe_record.sample_ids_hash.is_of(a.samples)


def _same_inputs(a: Run, b: Run) -> bool:
    """Return whether runs were shown the same inputs, though their hashes differ."""
    if not _hashed_apart(a, b):
        return False
    for run, other in ((a, b), (b, a)):
        if (same := run.shown.has_inputs_of(other.probe_record)) is not None:
            return same
    warn_caller(
        f"whether runs {a.id} and {b.id} were shown the same inputs is not known: an earlier "
        "version hashed them in another way, and neither run holds them"
    )
    return True


def _first_difference(a: Run, b: Run) -> str:
    if not all(run.record.probe and run.record.probe.has_inputs for run in (a, b)):
        return ""
    mine, theirs = a.probe, b.probe
    if len(mine) != len(theirs):
        return f"; {len(mine):,} and {len(theirs):,} samples"
    for row, (one, other) in enumerate(zip(mine.index, theirs.index, strict=True)):
        if one != other:
            return f"; row {row} is sample {one} and {other}"
    for column in mine.columns.intersection(theirs.columns):
        for sample, one, other in zip(mine.index, mine[column], theirs[column], strict=True):
            if not np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f"):
                place = "" if np.ndim(one) else f": {one} and {other}"
                return f"; first at sample {sample}, {column}{place}"
    return ""
