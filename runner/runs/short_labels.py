"""Short labels that distinguish runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from runner.runs.published_run import Run

_MOST_PARTS = 100  # of a path that is shortened
_MOST_TOLD = 4  # keys of a section

_Columns = Mapping[str, Sequence[Any]]


def run_labels(runs: Sequence[Run], columns: _Columns) -> tuple[dict[str, str], str]:
    """Return the label of each run by its id, and the name of what the labels show.

    Labels are the runs' names if every run has a unique name; otherwise the values of the keys
    in which the runs differ, with paths shortened to their distinct ends; with the id added
    where two labels would be equal. Of a section whose keys no run has all, as of interventions
    in other layers, a label tells the run's own keys with their values.

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
        activation``; ``hidden.units=0, hidden.set=0`` and ``without intervene``, of ``intervene``.
    """
    names = [run.record.name for run in runs]
    if len({*names} - {None}) == len(runs):
        return {run.id: str(name) for run, name in zip(runs, names, strict=True)}, "name"
    keys, sections = _divided({key: columns[key] for key in columns if key != "name"})
    told = {key: _told_apart(values) for key, values in keys.items()} | sections
    rows = [", ".join(row) for row in zip(*told.values(), strict=True)] or [""] * len(runs)
    taken = Counter(rows)
    labels = {
        run.id: row if taken[row] == 1 else f"{row} ({run.id})" if row else run.id
        for run, row in zip(runs, rows, strict=True)
    }
    return labels, ", ".join(key.rpartition(".")[2] for key in told) or "run"


def labels_beside_seed(runs: Sequence[Run], columns: _Columns) -> dict[str, str]:
    """Return by run id the values in which each run differs, except its seed: ``hidden_units=4``.

    Runs with equal texts differ only in their seed.
    """
    own = {key: columns[key] for key in columns if key not in ("seed", "name")}
    keys, sections = _divided(own)
    named = [
        [f"{key.rpartition('.')[2]}={value}" for value in values] for key, values in keys.items()
    ]
    rows = [", ".join(row) for row in zip(*named, *sections.values(), strict=True)]
    return {run.id: row for run, row in zip(runs, rows or [""] * len(runs), strict=True)}


def _divided(columns: _Columns) -> tuple[_Columns, dict[str, list[str]]]:
    """Return the keys that the runs have in common, and of each other section a text by run."""
    sections: dict[str, dict[str, Sequence[Any]]] = {}
    for key, values in columns.items():
        above, _, below = key.partition(".")
        sections.setdefault(above, {})[below] = values
    told = {}
    for section, own in sections.items():
        rows = [
            {key: value for key, value in zip(own, row, strict=True) if value not in (None, {})}
            for row in zip(*own.values(), strict=True)
        ]
        if len(own) > 1 and max(map(len, rows)) < len(own):
            told[section] = [_of_section(section, row) for row in rows]
    common = {key: columns[key] for key in columns if key.partition(".")[0] not in told}
    return common, told


def _of_section(section: str, values: Mapping[str, Any]) -> str:
    if not values:
        return f"without {section}"
    if len(values) > _MOST_TOLD:
        return f"with {section}"
    return ", ".join(f"{key}={value}" for key, value in values.items())


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
