"""Conversion between arrays and Arrow columns."""

from __future__ import annotations

import functools
import json
from collections.abc import Container, Sequence
from math import prod
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from runner.tables.layout import Layout, check_csv_width, unit_places
from runner.tensors import TensorSpec

SampleType = Literal["int64", "string"]

SAMPLE_TYPES: dict[SampleType, pa.DataType] = {"int64": pa.int64(), "string": pa.string()}
"""Types of the column of sample ids."""

SCHEMA_VERSION = 1
"""Version of a table's columns and metadata; incremented when either changes meaning."""


_FEW_ROWS = 10_000
_STRIP_BYTES = 1 << 18


def value_type(layout: Layout) -> pa.DataType:
    """Return the type of the columns that hold values."""
    cell = pa.from_numpy_dtype(layout.cell)
    return cell if layout.column is None else pa.fixed_shape_tensor(cell, layout.row_shape)


def schema_of(spec: TensorSpec, layout: Layout, index: Sequence[pa.Field]) -> pa.Schema:
    """Return the schema of a tensor's table, with the tensor's description as metadata.

    NaN is a value, not a missing value, so no column is nullable. (Parquet then stores no
    definition levels, which makes it almost three times as fast.)

    Parameters
    ----------
    spec, layout
        The tensor and its layout.
    index
        Fields of the columns before the values.
    """
    kind = value_type(layout)
    values = [pa.field(name, kind, nullable=False) for name in layout.value_columns()]
    about = {
        "schema_version": SCHEMA_VERSION,
        "name": spec.name,
        "kind": spec.kind,
        "shape": spec.shape,
        "dtype": spec.dtype,
    }
    return pa.schema([*index, *values], metadata={"runner": json.dumps(about)})


def field_of(name: str, kind: pa.DataType, entries: Sequence[str] = ()) -> pa.Field:
    """Return the field of a column, with the names of a tensor's entries, if any, as metadata."""
    about = {"runner": json.dumps({"entries": list(entries)})} if entries else None
    return pa.field(name, kind, metadata=about)


def entries_of(field: pa.Field) -> tuple[str, ...]:
    """Return the names of the entries of a column's tensors; empty if they have none.

    Raises
    ------
    ValueError
        If the names are not as many texts as a tensor has entries.
    """
    about = (field.metadata or {}).get(b"runner")
    if about is None or not isinstance(field.type, pa.FixedShapeTensorType):
        return ()
    found = json.loads(about)
    entries = found.get("entries") if isinstance(found, dict) else None
    size = prod(field.type.shape)
    if not isinstance(entries, list) or not all(isinstance(name, str) for name in entries):
        raise ValueError("expected a list of names")
    if len(entries) != size:
        raise ValueError(f"expected {size:,} names, found {len(entries):,}")
    return tuple(entries)


def free_name(name: str, taken: Container[str]) -> str:
    """Return a name that no other column has: the given one, or with ``_`` appended."""
    while name in taken:
        name += "_"
    return name


def room_for(rows: int, layout: Layout) -> np.ndarray:
    """Return an empty array for rows, in the memory order of the file."""
    order: Literal["C", "F"] = "F" if layout.column is None else "C"
    return np.empty((rows, layout.row_size), layout.cell, order=order)


def copy_rows(rows: np.ndarray, place: np.ndarray) -> None:
    """Copy rows in strips, since a transpose larger than the cache takes several times as long.

    Strips fit in a core's second cache, but for rows so long that there would be too few: the time
    of a strip is that of moving from column to column.
    """
    strip = max(64, _STRIP_BYTES // max(1, rows.shape[1] * rows.itemsize))
    for start in range(0, len(rows), strip):
        place[start : start + strip] = rows[start : start + strip]


def to_columns(rows: np.ndarray, layout: Layout) -> list[pa.Array]:
    """Return an array as columns that share its memory.

    Parameters
    ----------
    rows
        Shape (rows, layout.row_size), contiguous along the axis that becomes a column.
    layout
        Layout of the table.
    """
    if layout.column is None:
        return [pa.array(rows[:, unit]) for unit in range(layout.row_size)]
    storage = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), layout.row_size)
    return [pa.ExtensionArray.from_storage(value_type(layout), storage)]


def to_array(table: pa.Table, layout: Layout) -> np.ndarray:
    """Return the array that columns of values hold.

    Parameters
    ----------
    table
        Table of some or all of the columns of values, without other columns.
    layout
        Layout of the whole table.

    Returns
    -------
    ndarray
        Shape (rows, columns), or (rows, layout.row_size) for a column of tensors, which shares
        the table's memory if it is a single chunk and not boolean.
    """
    if layout.column is None:
        columns = np.empty((table.num_columns, len(table)), layout.cell)
        for place, column in zip(columns, table.columns, strict=True):
            place[:] = column.to_numpy()
        return columns.T
    return _flat(table.column(0)).reshape(len(table), layout.row_size)


def flattened(table: pa.Table) -> pa.Table:
    """Return a table for CSV: one column per entry of a tensor, float16 as float32.

    A column has the name of its entry, otherwise the tensor's name with the entry's place.

    Raises
    ------
    InputError
        If a tensor has more entries than the maximum number of CSV columns.
    """
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        name = field.name
        if isinstance(column.type, pa.FixedShapeTensorType):
            shape = tuple(column.type.shape)
            check_csv_width(name, prod(shape))
            entries = _flat(column).reshape(len(table), prod(shape)).T
            names = entries_of(field) or [name + place for place in unit_places(shape)]
            for own, values in zip(names, entries, strict=True):
                columns[free_name(own, columns)] = pa.array(values)
        else:
            columns[name] = column
    return pa.table(
        {
            name: column.cast(pa.float32()) if column.type == pa.float16() else column
            for name, column in columns.items()
        }
    )


def _flat(tensors: pa.ChunkedArray) -> np.ndarray:
    """Return the values of a column of tensors, one tensor after another."""
    chunks = [
        chunk.storage.flatten().to_numpy(zero_copy_only=False)  # copies only booleans
        for chunk in tensors.chunks
    ]
    if len(chunks) == 1:
        return np.asarray(chunks[0])
    return np.concatenate([np.empty(0, tensors.type.value_type.to_pandas_dtype()), *chunks])


@functools.lru_cache(64)
def columns_of(row_shape: tuple[int, ...], units: tuple[str, ...]) -> pd.Index:
    """Return the columns of a data frame: units, or the coordinates of a map.

    Parameters
    ----------
    row_shape
        Shape of a row.
    units
        All or some of `Layout.unit_names`.
    """
    if len(row_shape) <= 1:
        return pd.Index(units)
    axes = [f"i{axis}" for axis in range(len(row_shape))]
    coordinates = pd.MultiIndex.from_product([range(length) for length in row_shape], names=axes)
    places = {f"u{place}": number for number, place in enumerate(unit_places(row_shape))}
    return coordinates[[places[name] for name in units]]


def index_of(table: pa.Table) -> pd.Index:
    """Return the index of a data frame, whose levels are the columns of a table."""
    if table.num_columns == 1 and len(table) <= _FEW_ROWS:
        [name], column = table.column_names, table.column(0)
        if pa.types.is_string(column.type):
            texts: pd.Index = pd.Index(column.to_pandas(), name=name)
            return texts
        # Runs of a sweep have the same sample ids: the index is cached.
        return _index_of_integers(name, column.to_numpy().tobytes())
    index: pd.Index = table.to_pandas().set_index(table.column_names).index
    return index


@functools.lru_cache(64)
def _index_of_integers(name: str, values: bytes) -> pd.Index:
    index: pd.Index = pd.DataFrame({name: np.frombuffer(values, np.int64)}).set_index(name).index
    return index
