"""Numbers as text: the shortest digits, and tables with aligned columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

WIDTH = 80
"""Number of columns of a terminal of default width."""


def shortest(value: Any) -> str:
    """Return the shortest digits that identify a number among all others of its type.

    Parameters
    ----------
    value
        A NumPy scalar; a float32 has fewer digits than a float64.
    """
    text = str(value).removesuffix(".0")
    return "0" if text == "-0" else text  # -0 is shown as 0


def text_table(frame: pd.DataFrame) -> str:
    """Return a table as text, with aligned decimal points.

    Parameters
    ----------
    frame
        Numbers, with the index and column names to show. If the table is wider than a
        terminal, the remaining columns follow below the first ones.
    """
    index = [str(label) for label in frame.index]
    shown = pd.DataFrame({name: _aligned(column) for name, column in frame.items()}, index)
    shown.columns.name = frame.index.name
    return "\n".join(line.rstrip() for line in shown.to_string(line_width=WIDTH).splitlines())


def _aligned(column: pd.Series) -> list[str]:
    texts = [shortest(value) for value in column.to_numpy()]
    after = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    return [text + " " * (max(after) - own) for text, own in zip(texts, after, strict=True)]
