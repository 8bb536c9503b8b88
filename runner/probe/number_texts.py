"""The texts of a table's cells that are numbers, and those that stand for a missing one."""

from __future__ import annotations

import re
from collections.abc import Sequence

MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-NaN", "-nan"),
    *("null", "NULL", "None", "<NA>", "?"),
)
"""Texts that stand for a missing number."""


def is_number(text: str, decimal: str = ".") -> bool:
    """Return whether the text of a cell is a number for the reader of the table."""
    point = re.escape(decimal)
    digits = rf"(\d+{point}?\d*(e[+-]?\d+)?|{point}\d+(e[+-]?\d+)?|nan|inf(inity)?)"
    return re.fullmatch(rf"[ \t]*[+-]?{digits}[ \t]*", text, re.I | re.A) is not None


def missing_words() -> Sequence[str]:
    """Return the texts for a missing number, including those with a space before or after."""
    return [each for word in MISSING for each in (word, f" {word}", f"{word} ")]
