"""Layers of runs as representations to compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod

import numpy as np

from runner.errors import InputError
from runner.runs.published_run import Run
from runner.similarity.pairs import Representation


def representations_of(runs: Sequence[Run], names: Sequence[str] | None) -> list[Representation]:
    """Return layers of runs that were shown the same probe.

    Parameters
    ----------
    runs
        Completed runs.
    names
        The layers; every activation, if not given.

    Raises
    ------
    InputError
        If the runs were shown different probes, or have no such layer.
    """
    shown: dict[tuple[str, str], Run] = {}
    for run in runs:
        if run.record.probe is not None:
            shown.setdefault((run.record.probe.sha256, run.record.probe.sample_ids_sha256), run)
    if len(shown) > 1:
        (one, a), (other, b), *_ = shown.items()
        part = 0 if one[0] != other[0] else 1
        raise InputError.of(
            "similarity",
            f"the runs were shown different {('inputs', 'sample ids')[part]}: {one[part][:12]} by "
            f"run {a.id}, {other[part][:12]} by run {b.id}",
            "narrow them with where(...)",
        )
    return [
        Representation(
            run.id,
            name,
            run.record.probe.rows if run.record.probe is not None else 0,
            prod(run.tensor(name, "activation").shape),
            partial(_rows, run, name),
        )
        for run in runs
        for name in (names if names is not None else run.layer_outputs)
    ]


def _rows(run: Run, name: str) -> Iterator[np.ndarray]:
    """Yield the values of a layer with one axis for all its units."""
    for block in run.blocks(name, "activation"):
        yield block.reshape(len(block), -1)
