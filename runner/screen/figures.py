"""Numbers as a person reads them: their shortest digits, in aligned columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

WIDTH = 80
"""Columns of a terminal that nobody has widened."""


def digits(value: Any) -> str:
    """Return the fewest digits that tell a number from all others of its type.

    Parameters
    ----------
    value
        A NumPy scalar: the digits of a float32 are fewer than those of a float64.
    """
    text = str(value).removesuffix(".0")
    return "0" if text == "-0" else text  # the sign of a zero says nothing to a reader


def text_table(frame: pd.DataFrame) -> str:
    """Return a table as text, points below each other.

    Parameters
    ----------
    frame
        Numbers; an index and columns as they will be shown. Where they are wider than a
        terminal, further columns follow below the first.
    """
    index = [str(label) for label in frame.index]
    shown = pd.DataFrame({name: _aligned(column) for name, column in frame.items()}, index)
    shown.columns.name = frame.index.name
    return "\n".join(line.rstrip() for line in shown.to_string(line_width=WIDTH).splitlines())


def _aligned(column: pd.Series) -> list[str]:
    texts = [digits(value) for value in column.to_numpy()]
    after = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    return [text + " " * (max(after) - own) for text, own in zip(texts, after, strict=True)]
