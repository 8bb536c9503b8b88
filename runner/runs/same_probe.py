"""Check that runs were shown the same probe."""

from __future__ import annotations

import numpy as np

from runner.errors import InputError
from runner.runs.published_run import Run


def check_probes(a: Run, b: Run) -> None:
    """Check that two runs were shown the same samples in the same order.

    Raises
    ------
    InputError
        If they were not (names both hashes and the first difference), or if a run failed.
    """
    hashes = []
    for run in (a, b):
        probe = run.record.probe
        if probe is None:
            why = run.record.error or "nothing was shown"
            raise InputError.of(f"run {run.id}", f"has no tables to compare: {why}")
        hashes.append((probe.sha256, probe.sample_ids_sha256))
    if hashes[0] == hashes[1]:
        return
    part = 0 if hashes[0][0] != hashes[1][0] else 1
    what = ("inputs", "sample ids")[part]
    raise InputError.of(
        "probe",
        f"the runs were shown different {what}: {hashes[0][part][:12]} and "
        f"{hashes[1][part][:12]}{_first_difference(a, b)}",
    )


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
