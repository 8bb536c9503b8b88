"""The layout of a tensor's table: its columns, and the type in which its values are stored."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from math import prod

import numpy as np

from runner.errors import InputError, suggest
from runner.table_formats import FORMATS, own_stored
from runner.tensors import TensorSpec

MAX_UNIT_COLUMNS = 4096
"""Maximum number of columns for units; wider rows are stored in one column, which is faster."""

MAX_CSV_COLUMNS = 16_384
"""Maximum number of columns of CSV, which cannot store arrays; also the limit of spreadsheets."""


@dataclass(frozen=True)
class Layout:
    """The layout of one tensor's table.

    Attributes
    ----------
    index
        Index columns of a weight (``i0``, ``i1``...), one per axis except the last. Empty if
        rows are samples.
    row_shape
        Shape of one row: of a sample, or of a weight's last axis.
    column
        Name of the single column that holds a whole row (``activation`` for all kinds, since
        an alias of another kind shares the file), or ``None`` if every unit has its own
        column.
    cell
        Element type in the file: the stored dtype, but float32 for float16 in CSV.
    """

    index: tuple[str, ...]
    row_shape: tuple[int, ...]
    column: str | None
    cell: np.dtype[np.generic]

    @property
    def row_size(self) -> int:
        """Number of values in a row."""
        return prod(self.row_shape)

    def unit_names(self) -> list[str]:
        """Return the names of the values of a row, in C order: ``u3``, or ``u0_1_2`` for a map."""
        return [f"u{place}" for place in unit_places(self.row_shape or (1,))]

    def value_columns(self) -> list[str]:
        """Return the names of the columns of values, in the order of the file."""
        return self.unit_names() if self.column is None else [self.column]


def layout_of(spec: TensorSpec, format: str) -> Layout:
    """Return the layout of a tensor's table in a format.

    Raises
    ------
    InputError
        If the format is unknown, a row is too wide for CSV, or tables cannot hold the dtype.
    """
    if format not in FORMATS:
        advice = suggest(format, FORMATS.names) or f"the formats are {', '.join(FORMATS)}"
        raise InputError.of("format", f"unknown format '{format}'", advice)
    cell = stored_dtype(spec)
    index = () if spec.per_sample else tuple(f"i{axis}" for axis in range(len(spec.shape) - 1))
    row_shape = spec.shape[len(index) :]
    size = prod(row_shape)
    if FORMATS[format].is_text:
        check_csv_width(spec.name, size)
        if cell == np.float16:
            cell = np.dtype(np.float32)
    # Parquet readers disagree on fixed-size lists of length 0, so there is no column then.
    wide = (
        FORMATS[format].is_text or size == 0 or (len(row_shape) <= 1 and size <= MAX_UNIT_COLUMNS)
    )
    column = "activation" if spec.per_sample else "weight"
    return Layout(index, row_shape, None if wide else column, cell)


def unit_places(shape: tuple[int, ...]) -> list[str]:
    """Return the index of each value of an array as in column names, in C order: ``0_1_2``."""
    if not prod(shape):  # of which another axis may have any length
        return []
    return ["_".join(map(str, place)) for place in itertools.product(*map(range, shape))]


def check_csv_width(name: str, columns: int) -> None:
    """Check that a tensor does not have too many columns for CSV.

    Raises
    ------
    InputError
        If it has; names the tensor, its columns and the formats that can hold it.
    """
    if columns > MAX_CSV_COLUMNS:
        others = [f"format={other}" for other, known in own_stored().items() if not known.is_text]
        raise InputError.of(
            "format",
            f"'{name}' would take {columns:,} columns, CSV takes at most {MAX_CSV_COLUMNS:,}",
            f"use {' or '.join(others)}, or leave this layer out with capture.exclude",
        )


def stored_dtype(spec: TensorSpec) -> np.dtype[np.generic]:
    """Return the element type in which a tensor is stored: its own dtype, or float32 for bfloat16.

    Raises
    ------
    InputError
        If tables cannot hold the dtype (complex numbers, text).
    """
    dtype = _stored_as(spec.dtype)
    if dtype is None:
        raise InputError.of(
            spec.name,
            f"expected numbers or true/false to store, found {spec.dtype}",
            "leave this layer out with capture.exclude",
        )
    return dtype


@functools.cache
def _stored_as(name: str) -> np.dtype[np.generic] | None:
    try:
        dtype = np.dtype("float32" if name == "bfloat16" else name)
    except TypeError:
        return None
    return dtype if dtype.kind in "biuf" and dtype.itemsize <= 8 else None
