"""Texts in CSV that a spreadsheet would run as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from runner.caller_warnings import warn_caller

_FORMULA: Final = "^[=@\t\r\n\uff1d\uff20\uff0b\uff0d]|^[+-]."  # also their wide forms
_NUMBER: Final = r"^[+-]([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_SHOWN: Final = 60
_NAMES: Final = "the names of the columns"


class Formulas:
    """Counts the texts of a table that begin like formulas, and the names of its columns."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> None:
        """Count those of some rows, given their columns by name."""
        self._found.pop(_NAMES, None)
        self._count(_NAMES, pa.array(columns, pa.string()))
        for name, texts in columns.items():
            if pa.types.is_string(texts.type):
                self._count(f"column '{name}'", texts)

    def warn(self) -> None:
        """Warn of what was found."""
        for place, (count, first) in self._found.items():
            warn_caller(
                f"{count:,} texts in {place} begin like formulas ({first[:_SHOWN]!r}), which a "
                "spreadsheet would run: import them as text, or write another format than CSV"
            )

    def _count(self, place: str, texts: pa.Array | pa.ChunkedArray) -> None:
        is_number = pc.match_substring_regex(texts, _NUMBER)
        runs = pc.and_not(pc.match_substring_regex(texts, _FORMULA), is_number)
        if found := pc.sum(runs).as_py():
            count, first = self._found.get(place, (0, texts.filter(runs)[0].as_py()))
            self._found[place] = count + found, first
