"""Tables as text: how wide they are, and how names and numbers are written in them."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

WIDTH = 80
"""Number of columns of a terminal of default width."""

_LONGEST_NAME = 30


def shortest(value: Any) -> str:
    """Return the shortest digits that identify a number among all others of its type.

    Parameters
    ----------
    value
        A NumPy scalar; a float32 has fewer digits than a float64.
    """
    text = str(value).removesuffix(".0")
    return "0" if text == "-0" else text  # -0 is shown as 0


def cut(name: str) -> str:
    """Return a name, without its middle if it is long."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 3) // 2
    return f"{name[:half]}...{name[-half:]}"


def text_of(table: Table) -> str:
    """Return a table as plain text, 80 columns wide."""
    text = io.StringIO()
    for column in table.columns:
        column.overflow = "fold"
    Console(width=WIDTH, file=text).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


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
