"""Leaving out failed and damaged runs when several runs are read, with warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from runner.caller_warnings import warn_caller
from runner.errors import DamagedError, InputError, some
from runner.runs.published_run import Run
from runner.tables.reading import check_stored

_T = TypeVar("_T")


def completed(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that have tables.

    Raises
    ------
    InputError
        If no run has tables.
    """
    failed = [run.id for run in runs if run.record.error is not None]
    if failed and len(failed) == len(runs):
        raise InputError.of("", f"all {len(failed)} runs failed, none has tables")
    if failed:
        warn_caller(f"{len(failed)} of {len(runs)} runs failed and have no tables: {some(failed)}")
    return [run for run in runs if run.record.error is None]


def each(runs: Sequence[Run], read: Callable[[Run], _T]) -> tuple[list[Run], list[_T]]:
    """Return the runs that can be read, and what `read` returns for each of them.

    Raises
    ------
    DamagedError
        If no run can be read.
    """
    kept: list[Run] = []
    found: list[_T] = []
    damaged: list[DamagedError] = []
    for run in runs:
        try:
            found.append(read(run))
            kept.append(run)
        except DamagedError as error:
            damaged.append(error)
    if damaged and not kept:
        raise damaged[0]
    if damaged:
        why = some([str(error) for error in damaged], most=3)
        warn_caller(f"{len(damaged)} of {len(runs)} runs are left out: {why}")
    return kept, found


def check_table(run: Run, name: str, step: int | None = None) -> None:
    """Check that a tensor's table is undamaged, and has the recorded columns and rows.

    Raises
    ------
    DamagedError
        If it is not.
    """
    probe, stored = run.probe_record, run.stored_table(name, step=step)
    expected = (probe.sample_type, probe.rows, probe.sample_ids_hash)
    check_stored(stored, run.tensor(name), run.record.format, *expected)


def with_tables(
    runs: Sequence[Run], names: Iterable[str] | None, step: int | None = None
) -> list[Run]:
    """Return the runs whose tables of these tensors, or of all layers, are undamaged.

    Raises
    ------
    InputError
        If a run has no such step of a training, or no run has undamaged tables.
    """

    def checked(run: Run) -> None:
        known = set(run.names)
        for name in run.layer_outputs if names is None else names:
            if name in known:
                check_table(run, name, step)

    return each(runs, checked)[0]
