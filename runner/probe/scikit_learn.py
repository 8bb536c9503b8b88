"""The data sets that come with scikit-learn."""

from __future__ import annotations

import importlib
from typing import Any

from runner.errors import InputError


def data_set(name: str, rows: int | None) -> tuple[Any, slice]:
    """Return a data set, and the slice of its first rows.

    Parameters
    ----------
    name
        Name of the data set, ``digits`` or ``iris``.
    rows
        Number of samples; ``None``: all.

    Raises
    ------
    InputError
        If scikit-learn is not installed, or the data set has fewer samples.
    """
    try:
        data = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    except ModuleNotFoundError as error:
        raise InputError.missing("probe", "needs scikit-learn", "[data]") from error
    known = len(data.target)
    if rows is not None and rows > known:
        raise InputError.of("probe.rows", f"{name} has {known:,} samples, found {rows:,}")
    return data, slice(rows)
