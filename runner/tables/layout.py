"""The layout of a tensor's table: its columns and its file name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from math import prod

import numpy as np

from runner.errors import InputError, suggest
from runner.table_formats import FORMATS
from runner.tensors import FOLDERS, TensorSpec

MAX_UNIT_COLUMNS = 4096
"""Above this many units one column holds the whole row: wide files get slow."""

MAX_CSV_COLUMNS = 16_384
"""CSV has no cell for an array, so every unit is a column; spreadsheets stop here too."""

_PLAIN_NAME = re.compile(r"[a-z0-9_@/:-]{1,80}")
_UNSAFE = re.compile(r"[^a-z0-9_@-]")


@dataclass(frozen=True)
class Layout:
    """The columns of one tensor's table.

    Attributes
    ----------
    index
        Columns that number a weight's rows (``i0``, ``i1``...): all its axes but
        the last. Empty where rows are samples.
    row_shape
        Axes of one row: those of a sample, or a weight's last axis.
    column
        The one column that holds a whole row (``activation``, whatever the kind: an
        alias of another kind shares the file), or ``None`` where every unit has a
        column of its own.
    cell
        Element type in the file: as stored, but float32 for float16 in CSV.
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
        """Return a name for each value of a row, in C order: ``u3``, or ``u0_1_2`` of a map."""
        return [f"u{place}" for place in unit_places(self.row_shape or (1,))]

    def value_columns(self) -> list[str]:
        """Return the columns that hold values, in the order of the file."""
        return self.unit_names() if self.column is None else [self.column]


def layout_of(spec: TensorSpec, format: str) -> Layout:
    """Return how a tensor's table is laid out in a format.

    Raises
    ------
    InputError
        For an unknown format, for a row too wide for CSV, and for a dtype that
        tables cannot hold.
    """
    if format not in FORMATS:
        advice = suggest(format, FORMATS) or f"the formats are {', '.join(FORMATS)}"
        raise InputError.of("format", f"unknown format '{format}'", advice)
    cell = stored_dtype(spec)
    index = () if spec.per_sample else tuple(f"i{axis}" for axis in range(len(spec.shape) - 1))
    row_shape = spec.shape[len(index) :]
    size = prod(row_shape)
    if FORMATS[format].is_text:
        check_csv_width(spec.name, size)
        if cell == np.float16:
            cell = np.dtype(np.float32)
    # A fixed-size list of no values is what Parquet readers agree on least: no column at all.
    wide = (
        FORMATS[format].is_text or size == 0 or (len(row_shape) <= 1 and size <= MAX_UNIT_COLUMNS)
    )
    column = "activation" if spec.per_sample else "weight"
    return Layout(index, row_shape, None if wide else column, cell)


def unit_places(shape: tuple[int, ...]) -> list[str]:
    """Return what stands for each value of an array in column names, in C order: ``0_1_2``."""
    return ["_".join(map(str, place)) for place in np.ndindex(shape)]


def check_csv_width(name: str, columns: int) -> None:
    """Refuse what has more columns than CSV takes.

    Raises
    ------
    InputError
        Naming the tensor, its columns and the formats that hold it.
    """
    if columns > MAX_CSV_COLUMNS:
        raise InputError.of(
            "format",
            f"'{name}' would take {columns:,} columns, CSV takes at most {MAX_CSV_COLUMNS:,}",
            "use format=parquet or format=arrow, or leave this layer out with capture.exclude",
        )


def stored_dtype(spec: TensorSpec) -> np.dtype[np.generic]:
    """Return the element type in which a tensor is stored: its own, float32 for bfloat16.

    Raises
    ------
    InputError
        For a dtype that tables cannot hold (complex numbers, text).
    """
    name = "float32" if spec.dtype == "bfloat16" else spec.dtype
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputError.of(
            spec.name,
            f"expected numbers or true/false to store, found {spec.dtype}",
            "leave this layer out with capture.exclude",
        )
    return dtype


def file_name(spec: TensorSpec, format: str) -> str:
    """Return the path of a tensor's table inside a run, such as ``activations/00_hidden.parquet``.

    No two tensors of a run share a file name, not even on file systems that ignore letter
    case or the form of an accent: a name that is not safe as a file name gets a digest of
    itself. The leading number avoids the reserved names of Windows.
    """
    if _PLAIN_NAME.fullmatch(spec.name):
        slug = spec.name.replace("/", ".").replace(":", "+")
    else:
        digest = hashlib.sha256(spec.name.encode("utf-8", "surrogatepass")).hexdigest()
        slug = f"{_UNSAFE.sub('_', spec.name.casefold())[:60]}~{digest[:8]}"
    return f"{FOLDERS[spec.kind]}/{spec.order:02d}_{slug}{FORMATS[format].suffix}"
