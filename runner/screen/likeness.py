"""How similarities are told: a matrix where it fits, figures layer by layer where not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from runner.screen.figures import WIDTH
from runner.screen.screen import cut, text_of

_MOST_ROWS = 40
_MOST_MATRICES = 6


def told(frame: pd.DataFrame) -> str:
    """Return similarities as plain text, 80 columns wide.

    Parameters
    ----------
    frame
        As from `runner.runs.runs.Runs.similarity`. Of single layers in different runs, each
        layer has a matrix of runs; of layers with others, one matrix of layers, each value
        the mean over runs. What does not fit is told by its mean, deviation and range.
    """
    metric, n = frame["metric"].iloc[0], frame["n"].iloc[0]
    unlike = "; 0 is the same" if metric == "procrustes" else ""
    parts = [f"{metric}, {n:,} samples{unlike}"]
    same = bool((frame["layer_a"] == frame["layer_b"]).all())
    layers = [(f"{layer}\n", own) for layer, own in frame.groupby("layer_a", sort=False)]
    groups = layers[:_MOST_MATRICES] if same else [("", frame)]
    matrices = [(title, _matrix(own, "run" if same else "layer")) for title, own in groups]
    if not all(matrix for _, matrix in matrices) or (same and len(layers) > _MOST_MATRICES):
        parts.append(_summary(frame))
    parts += [title + matrix for title, matrix in matrices if matrix]
    return "\n\n".join(parts) + "\n"


def _matrix(frame: pd.DataFrame, key: str) -> str:
    """Return mean values as a symmetric matrix, or nothing if it is wider than 80 columns."""
    a, b = f"{key}_a", f"{key}_b"
    names = list(dict.fromkeys([*frame[a].unique(), *frame[b].unique()]))
    if len(names) > WIDTH // 2:
        return ""
    both = pd.concat([frame, frame.rename(columns={a: b, b: a})])
    values = both.groupby([a, b])["value"].mean().unstack().reindex(names)[names].to_numpy()
    labels = [f"{number} {cut(name)}" for number, name in enumerate(names)]
    for digits, scale, note in ((3, 1, ""), (2, 1, ""), (0, 100, "\n(in hundredths)")):
        cells = [[f"{scale * value:.{digits}f}" for value in row] for row in values]
        for place in np.flatnonzero(np.isnan(values.diagonal())):
            cells[place][place] = ""  # nothing is compared with itself
        width = 1 + max(len(cell) for row in [*cells, labels[-1].split()[:1]] for cell in row)
        start = max(map(len, labels))
        rows = [("", map(str, range(len(names)))), *zip(labels, cells, strict=True)]
        if start + width * len(names) <= WIDTH:
            lines = [
                label.ljust(start) + "".join(cell.rjust(width) for cell in row)
                for label, row in rows
            ]
            return "\n".join(line.rstrip() for line in lines) + note
    return ""


def _summary(frame: pd.DataFrame) -> str:
    """Return what the pairs come to, layer by layer."""
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
