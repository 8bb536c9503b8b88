"""The layout of the probe's table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from runner.bounds import ColumnType, Count, Shape
from runner.table_formats import FORMATS
from runner.tables.layout import MAX_UNIT_COLUMNS
from runner.tensors import InputSpec

Role = Literal["label", "target", "input"]


@dataclass(frozen=True)
class ProbeColumns:
    """The columns of the probe's table that hold one array.

    Attributes
    ----------
    role
        Role of the array.
    name
        Name of the input; ``label`` or ``target`` for other roles.
    first
        Position of the first column; the column ``sample`` has position 0.
    count
        Number of columns: one per entry of a sample in C order, or a single column whose
        cells hold all entries.
    shape
        Shape of one sample.
    dtype
        NumPy's name of the element type in the table; ``string`` for text.
    """

    role: Role
    name: str
    first: Count
    count: Count
    shape: Shape
    dtype: ColumnType


def unrecorded_layout(
    columns: Sequence[str],
    inputs: Sequence[InputSpec],
    *,
    has_labels: bool,
    has_targets: bool,
    table_format: str,
) -> tuple[ProbeColumns, ...]:
    """Return the layout of a table from a run that did not record it.

    The columns are in the order ``sample``, ``label``, targets, recorded inputs. An input with
    an axis of unknown length takes the columns whose names begin with its name.

    Parameters
    ----------
    columns
        Columns of the table.
    inputs
        Inputs that the table holds, in the order of the record.
    has_labels, has_targets
        Whether the samples have labels, and targets.
    table_format
        A key of `runner.table_formats.FORMATS`.
    """
    layout: list[ProbeColumns] = []
    first = 1

    def add(role: Role, name: str, count: int, shape: tuple[int, ...], dtype: str) -> None:
        nonlocal first
        layout.append(ProbeColumns(role, name, first, count, shape, dtype))
        first += count

    def spelled(name: str) -> int:
        own = re.compile(rf"{re.escape(name)}[\d_]*")
        rest = list(columns[first:])
        return next((at for at, column in enumerate(rest) if not own.fullmatch(column)), len(rest))

    if has_labels:
        add("label", "label", 1, (), "")
    if has_targets and (count := spelled("target")):
        add("target", "target", count, () if columns[first] == "target" else (count,), "")
    for place, given in enumerate(inputs):
        sizes = tuple(size for size in given.shape if size is not None)
        dtype = "float32" if given.dtype == "bfloat16" else given.dtype
        known = len(sizes) == len(given.shape)
        flat = FORMATS[table_format].is_text or len(given.shape) < 2
        flat = flat and (FORMATS[table_format].is_text or prod(sizes) <= MAX_UNIT_COLUMNS)
        if not flat:
            add("input", given.name, 1, sizes if known else (), dtype)
        elif known:
            add("input", given.name, prod(sizes), sizes, dtype)
        else:
            last = place == len(inputs) - 1
            count = len(columns) - first if last else spelled(given.name)
            add("input", given.name, count, (count,), dtype)
    return tuple(layout)
