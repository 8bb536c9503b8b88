"""Similarities as text: matrices if they fit, otherwise statistics by layer."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from runner.screen.tables import WIDTH, cut, text_of
from runner.similarity.matrices import Matrix, matrices_of
from runner.similarity.measures import MEASURES

_MOST_ROWS = 40
_MOST_MATRICES = 6
_MOST_RUNS = 20


def told(
    frame: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    about: str = "run",
    step: int | None = None,
) -> str:
    """Return similarities as plain text, 80 columns wide.

    Parameters
    ----------
    frame
        As returned by `runner.runs.runs.Runs.similarity`.
    labels
        Label of each run by its id; by default the ids.
    about
        Key that the labels are values of, such as ``seed``.
    step
        Step of the trainings that is compared, if one was asked for.
    """
    metric, n = frame["metric"].iloc[0], frame["n"].iloc[0]
    measure = MEASURES.get(metric.partition(":")[0])  # none if it is a function of the user
    unlike = "; 0 is the same" if measure is not None and measure.is_distance else ""
    at = "" if step is None else f", step {step}"
    parts = [f"{metric}, {n:,} samples{at}{unlike}"]
    runs = list(dict.fromkeys([*frame["run_a"].unique(), *frame["run_b"].unique()]))
    labels = labels or {run: run for run in runs}
    is_bare = about not in ("run", "name", "path") and "," not in about  # 3 of seed=3
    titles = {run: cut(f"{about}={labels[run]}" if is_bare else labels[run]) for run in runs}
    if any(labels[run] != run for run in runs):
        parts.append(_legend(runs, titles, about))
    matrices = matrices_of(frame)
    printed = [_printed(matrix, titles) for matrix in matrices[:_MOST_MATRICES]]
    if not all(printed) or not 0 < len(matrices) <= _MOST_MATRICES:
        parts.append(_summary(frame))
    parts += [text for text in printed if text]
    return "\n\n".join(parts) + "\n"


def _legend(runs: list[str], titles: Mapping[str, str], about: str) -> str:
    """Return the runs' labels, one line per run if there are few."""
    if len(runs) > _MOST_RUNS:
        return f"{len(runs):,} runs that differ in {about}"
    width = max(map(len, [cut(about), *(titles[run] for run in runs)])) + 2
    lines = [f"{cut(about).ljust(width)}run"] + [f"{titles[run].ljust(width)}{run}" for run in runs]
    return "\n".join(lines)


def _printed(matrix: Matrix, titles: Mapping[str, str]) -> str:
    """Return a matrix below its title; empty if it is wider than 80 columns."""
    if len(matrix.columns) > WIDTH // 2:
        return ""
    if matrix.layer is not None:
        names = [titles[run] for run in matrix.rows]
        return _below(f"{matrix.layer}\n", _grid(matrix.values, names, names))
    what = f"each value is the mean over {matrix.averaged:,} pairs of runs\n"
    if matrix.runs is not None:
        one, other = (titles[run] for run in matrix.runs)
        what = f"rows: layers of {one}; columns: layers of {other}\n"
        if one == other:
            what = f"layers of {one}\n"
    if matrix.rows != matrix.columns:
        numbered = ", ".join(f"{place} {cut(name)}" for place, name in enumerate(matrix.columns))
        what += "\n".join(wrap(f"columns {numbered}", WIDTH, subsequent_indent=" " * 8)) + "\n"
    grid = _grid(matrix.values, matrix.rows, matrix.columns)
    return _below(what, grid)


def _below(title: str, grid: str) -> str:
    return title + grid if grid else ""


def _grid(
    values: np.ndarray, rows: tuple[str, ...] | list[str], columns: tuple[str, ...] | list[str]
) -> str:
    """Return a matrix with names of rows and numbers of columns; empty if it is too wide."""
    labels = [f"{number} {cut(name)}" for number, name in enumerate(rows)]
    heads = [str(number) for number in range(len(columns))]
    square = tuple(rows) == tuple(columns)
    for digits, scale, note in ((3, 1, ""), (2, 1, ""), (0, 100, "\n(in hundredths)")):
        cells = [[f"{scale * value:.{digits}f}" for value in row] for row in values]
        if square:
            for place in np.flatnonzero(np.isnan(values.diagonal())):
                cells[place][place] = ""  # nothing is compared with itself
        width = 1 + max(len(cell) for row in [*cells, heads] for cell in row)
        start = max(map(len, labels))
        lines = [("", heads), *zip(labels, cells, strict=True)]
        if start + width * len(heads) <= WIDTH:
            text = [
                label.ljust(start) + "".join(cell.rjust(width) for cell in row)
                for label, row in lines
            ]
            return "\n".join(line.rstrip() for line in text) + note
    return ""


def _summary(frame: pd.DataFrame) -> str:
    """Return the statistics over all pairs of runs, one line per layer."""
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
    return (
        f"{text_of(table)}\n\nover all pairs of runs; --figure FILE draws them, --csv FILE has each"
    )
