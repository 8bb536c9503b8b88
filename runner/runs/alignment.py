"""Alignment of tables of several runs to the same columns."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from runner.errors import InputError


def union_of(columns: list[pd.Index]) -> pd.Index:
    """Return the sorted union of columns: units by number, those of maps by coordinates."""
    if len({index.nlevels for index in columns}) > 1:
        raise InputError.of("align", "units and maps have no union", "narrow with where(...)")
    together = reduce(lambda left, right: left.union(right, sort=False), columns)
    return together.sort_values() if together.nlevels > 1 else together


def widened(frame: pd.DataFrame, columns: pd.Index) -> pd.DataFrame:
    """Return a table with added columns of NaN, in its own dtype if that can hold NaN."""
    given = frame.to_numpy()
    values = np.full((len(frame), len(columns)), np.nan, np.result_type(given, np.float16))
    values[:, columns.get_indexer(frame.columns)] = given
    return pd.DataFrame(values, frame.index, columns)
