"""Estimates and limits the size of a run's tables before they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from runner.errors import InputError
from runner.sizes import readable
from runner.table_formats import FORMATS
from runner.tensors import TensorSpec


def estimated_bytes(spec: TensorSpec, rows: int, table_format: str, id_bytes: int = 8) -> int:
    """Return the estimated size of the values and the sample ids of a table in bytes.

    Parameters
    ----------
    spec
        The tensor; bfloat16 is stored as float32.
    rows
        Number of samples (a weight has none: its whole shape counts once).
    table_format
        A key of `runner.table_formats.FORMATS`.
    id_bytes
        Size of a sample's id in bytes.
    """
    if not FORMATS[table_format].keeps_values:
        return 0
    ids = rows * id_bytes if spec.per_sample else 0
    values = math.prod(spec.shape) * (rows if spec.per_sample else 1)
    number_bytes = FORMATS[table_format].number_bytes
    if number_bytes is not None:
        return ids + values * number_bytes
    return ids + values * (4 if spec.dtype == "bfloat16" else np.dtype(spec.dtype).itemsize)


def check_size(
    specs: Iterable[TensorSpec],
    rows: int,
    table_format: str,
    limit: int,
    times: int = 1,
    id_bytes: int = 8,
) -> None:
    """Check that the estimated size of the tables is at most `limit` bytes.

    Parameters
    ----------
    specs, rows, table_format, id_bytes
        As in `estimated_bytes`.
    limit
        In bytes.
    times
        Number of times that the tables are written: once per checkpoint of a training.

    Raises
    ------
    InputError
        If it is larger; names the largest tables, how to narrow them down and the key of the
        limit.
    """
    sizes = {
        spec.name: times * estimated_bytes(spec, rows, table_format, id_bytes) for spec in specs
    }
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    what = f"{rows:,} samples" + (f" at {times} steps" if times > 1 else "")
    raise InputError.of(
        "capture.max_bytes",
        f"the tables of {what} take about {readable(total)}, the limit is "
        f"{readable(limit)} (largest: "
        + ", ".join(f"{name} {readable(size)}" for name, size in largest)
        + ")",
        "narrow capture.include, set capture.reduce, or raise capture.max_bytes",
    )
