"""Estimates and limits the size of a run's tables before they are written."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.errors import InputError
from runner.sizes import readable
from runner.table_formats import FORMATS
from runner.tensors import FOLDERS, TensorSpec, shape_text


def estimated_bytes(spec: TensorSpec, rows: int, table_format: str) -> int:
    """Return the estimated size of the values of a table in bytes.

    Parameters
    ----------
    spec
        The tensor; bfloat16 is stored as float32.
    rows
        Number of samples (a weight has none: its whole shape counts once).
    table_format
        A key of `runner.table_formats.FORMATS`.
    """
    values = math.prod(spec.shape) * (rows if spec.per_sample else 1)
    number_bytes = FORMATS[table_format].number_bytes
    if number_bytes is not None:
        return values * number_bytes
    return values * (4 if spec.dtype == "bfloat16" else np.dtype(spec.dtype).itemsize)


def check_size(
    specs: Iterable[TensorSpec], rows: int, table_format: str, limit: int, times: int = 1
) -> None:
    """Check that the estimated size of the tables is at most `limit` bytes.

    Parameters
    ----------
    specs, rows, table_format
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
    sizes = {spec.name: times * estimated_bytes(spec, rows, table_format) for spec in specs}
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


def plan(specs: Iterable[TensorSpec], rows: int | None, table_format: str, times: int = 1) -> str:
    """Return the tables to be written and their sizes as text, one table per line.

    If `rows` is unknown before the probe is read, sizes are those of one sample; `times` as in
    `check_size`.
    """
    specs = list(specs)
    sizes = [times * estimated_bytes(spec, rows or 1, table_format) for spec in specs]
    table = Table("table", "class", "shape", "dtype", "size", box=None)
    table.columns[-1].justify = "right"
    for spec, size in zip(specs, sizes, strict=True):
        shape = shape_text(spec.shape)
        table.add_row(
            Text(f"{FOLDERS[spec.kind]}/{spec.name}"),
            Text(spec.layer_class),
            shape,
            spec.dtype,
            readable(size),
        )
    text = io.StringIO()
    Console(width=100, file=text).print(table)
    written = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    samples = f"{rows:,} samples" if rows is not None else "each sample"
    if times > 1:
        samples += f" at {times} steps"
    return (
        f"{written}\n{len(specs)} tables, about {readable(sum(sizes))} for {samples} as "
        f"{table_format}; nothing was written (dry_run=true)\n"
    )
