"""Alignment of tables of several runs to the same columns."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from runner.errors import InputError
from runner.tables.rows import Rows


def union_of(columns: list[pd.Index]) -> pd.Index:
    """Return the sorted union of columns: units by number, those of maps by coordinates."""
    if len({index.nlevels for index in columns}) > 1:
        raise InputError.of("align", "units and maps have no union", "narrow with where(...)")
    together = reduce(lambda left, right: left.union(right, sort=False), columns)
    return together.sort_values() if together.nlevels > 1 else together


def widened(rows: Rows, columns: pd.Index) -> Rows:
    """Return rows with added columns of NaN, in their own dtype if that can hold NaN."""
    dtype = np.result_type(rows.values, np.float16)
    values = np.full((len(rows.values), len(columns)), np.nan, dtype)
    values[:, columns.get_indexer(rows.columns)] = rows.values
    return Rows(rows.index, columns, values)
