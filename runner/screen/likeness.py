"""How similarities are told: a matrix where it fits, the rows of the frame where not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from runner.screen.screen import cut, text_of

_WIDEST = 10
_MOST_ROWS = 40


def told(frame: pd.DataFrame) -> str:
    """Return similarities as plain text, 80 columns wide.

    Parameters
    ----------
    frame
        As from `runner.runs.runs.Runs.similarity`.
    """
    if frame.empty:
        return "nothing to compare: similarity needs two runs, or --layers all\n"
    metric, n = frame["metric"].iloc[0], frame["n"].iloc[0]
    parts = [f"{metric}, {n:,} samples"]
    same = frame["layer_a"] == frame["layer_b"]
    groups = [(f"{layer}\n", part) for layer, part in frame[same].groupby("layer_a", sort=False)]
    if not same.all():
        groups = [("", frame)]
    parts += [f"{title}{_matrix(part, one_layer=bool(title))}" for title, part in groups]
    return "\n\n".join(parts) + "\n"


def _matrix(frame: pd.DataFrame, *, one_layer: bool) -> str:
    ends = [
        frame[f"run_{end}"] if one_layer else frame[f"layer_{end}"] + " " + frame[f"run_{end}"]
        for end in "ab"
    ]
    labels = list(dict.fromkeys([*ends[0], *ends[1]]))
    if len(labels) > _WIDEST:
        return _summary(frame)
    values = pd.DataFrame(np.nan, labels, labels)
    for one, other, value in zip(*ends, frame["value"], strict=True):
        values.loc[one, other] = values.loc[other, one] = value
    table = Table("", box=None, pad_edge=False)
    for place in range(len(labels)):
        table.add_column(str(place), justify="right", no_wrap=True)
    for place, label in enumerate(labels):
        cells = ["" if np.isnan(v) else f"{v:.3f}" for v in values.loc[label]]
        table.add_row(*map(Text, [f"{place} {cut(label)}", *cells]))
    return text_of(table)


def _summary(frame: pd.DataFrame) -> str:
    """Return what many pairs come to, layer by layer."""
    table = Table("layers", box=None, pad_edge=False)
    for title in ("pairs", "mean", "std", "min", "max"):
        table.add_column(title, justify="right", no_wrap=True)
    for names, values in frame.groupby(["layer_a", "layer_b"], sort=False)["value"]:
        one, other = map(str, names)
        if len(table.rows) == _MOST_ROWS:
            table.add_row("and more: --csv FILE has all")
            break
        name = cut(one) if one == other else f"{cut(one)} - {cut(other)}"
        figures = (values.mean(), values.std(ddof=0), values.min(), values.max())
        table.add_row(*map(Text, [name, f"{len(values):,}", *(f"{v:.3f}" for v in figures)]))
    return text_of(table)
