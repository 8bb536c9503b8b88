"""Short labels that distinguish runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from runner.runs.published_run import Run

_MOST_PARTS = 100  # of a path that is shortened


def run_labels(
    runs: Sequence[Run], columns: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, str], str]:
    """Return the label of each run by its id, and the name of what the labels show.

    Labels are the runs' names if every run has a unique name; otherwise the values of the keys
    in which the runs differ, with paths shortened to their distinct ends; with the id added
    where two labels would be equal.

    Parameters
    ----------
    runs
        The runs.
    columns
        Keys in which the runs differ, each with its value in every run.

    Returns
    -------
    tuple[dict[str, str], str]
        ``{"0a1b2c3d-0": "small.keras", ...}`` and ``path``; ``3, relu`` and ``seed,
        activation``.
    """
    names = [run.record.name for run in runs]
    if len({*names} - {None}) == len(runs):
        return {run.id: str(name) for run, name in zip(runs, names, strict=True)}, "name"
    keys = [key for key in columns if key != "name"]
    told = [_told_apart(columns[key]) for key in keys]
    rows = [", ".join(row) for row in zip(*told, strict=True)] if keys else [""] * len(runs)
    taken = Counter(rows)
    labels = {
        run.id: row if taken[row] == 1 else f"{row} ({run.id})" if row else run.id
        for run, row in zip(runs, rows, strict=True)
    }
    return labels, ", ".join(key.rpartition(".")[2] for key in keys) or "run"


def labels_beside_seed(runs: Sequence[Run], columns: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return by run id the values in which each run differs, except its seed: ``hidden_units=4``.

    Runs with equal texts differ only in their seed.
    """
    own = {key: columns[key] for key in columns if key not in ("seed", "name")}
    return {
        run.id: ", ".join(f"{key.rpartition('.')[2]}={own[key][place]}" for key in own)
        for place, run in enumerate(runs)
    }


def _told_apart(values: Sequence[Any]) -> list[str]:
    """Return values as texts, with paths shortened to the last parts that distinguish them."""
    if not all(isinstance(value, str) for value in values):
        return [str(value) for value in values]
    parts = [PurePath(value).parts for value in values]
    if not 1 < max(map(len, parts)) <= _MOST_PARTS:
        return list(values)
    for count in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(own[-count:]) for own in parts]
        if len(set(ends)) == len(set(values)):
            return ends
    return list(values)
