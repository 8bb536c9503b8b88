"""The effects of interventions as text."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from runner.record.effect_record import IN_PAIRS, MEASURED
from runner.record.interventions import changed_place, changes_told
from runner.runs.runs import Runs
from runner.screen.tables import cut, text_of

_MOST_ROWS = 20
_COLUMNS = sorted(MEASURED, key=lambda name: name != "mean_abs")
"""The columns, beginning with one that every effect has."""


def told(runs: Runs, frame: pd.DataFrame) -> str:
    """Return effects as plain text, the largest first, 80 columns wide.

    Parameters
    ----------
    runs
        The runs.
    frame
        Their effects, as `Runs.effects` returns them.
    """
    several = frame["output"].nunique() > 1
    shown = [name for name in _COLUMNS if name == _COLUMNS[0] or frame[name].notna().any()]
    pairs = [name for name in IN_PAIRS if frame[name].notna().any()]
    by = [name for name in ("class", "sample") if name in frame]
    table = Table("changed", *by, box=None, pad_edge=False)
    for title in (
        *(["output"] if several else []),
        *(MEASURED[name].heading for name in shown),
        *pairs,
    ):
        table.add_column(title, justify="right", no_wrap=title != "output")
    names = _names(runs)
    for row in frame[:_MOST_ROWS].to_dict("records"):
        cells = [
            _what(row, names),
            *(cut(row[name]) for name in by),
            *([cut(row["output"])] if several else []),
        ]
        cells += [_number(row[name]) for name in shown]
        cells += [f"{_number(row[f'{name}_before'])} > {_number(row[name])}" for name in pairs]
        table.add_row(*map(Text, cells))
    left = f"\nand {len(frame) - _MOST_ROWS:,} more" if len(frame) > _MOST_ROWS else ""
    of = f"{frame['samples'].max():,} samples" if not by else f"by {by[0]}"
    return f"effects on {_outputs(frame)}, {of}\n\n{text_of(table)}{left}\n"


def _names(runs: Runs) -> dict[str, str]:
    """Return what is told of each run: its interventions, and what else tells it from others."""
    found: dict[str, str] = {}
    for run in runs:
        changes = [f"{cut(name)}: {what}" for name, what in changes_told(run.record).items()]
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        found[run.id] = f"{changes[0]}{more}" if changes else ""
    if len({*found.values()}) == len(found):
        return found
    labels = runs.labels()[0]
    return {run: " ".join(filter(None, [labels[run], told])) for run, told in found.items()}


def _what(row: dict[Any, Any], names: dict[str, str]) -> str:
    known = {key: None if pd.isna(value) else value for key, value in row.items()}
    if known["layer"] is None:
        return names[row["run"]]
    place = changed_place(cut(known["layer"]), known)
    return " ".join(filter(None, [names[row["run"]], place]))


def _outputs(frame: pd.DataFrame) -> str:
    names = list(dict.fromkeys(frame["output"]))
    return f"{len(names)} outputs" if len(names) > 1 else f"'{cut(names[0])}'"


def _number(value: Any) -> str:
    return "" if pd.isna(value) else f"{value:.4g}"
