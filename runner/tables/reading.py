"""Reading of tensors from tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import pandas as pd
import pyarrow as pa

from runner.errors import DamagedError, InputError, suggest
from runner.probe.probe_hash import SampleIdHasher, SampleIdsHash
from runner.readable_files import ReadableTable
from runner.table_formats import FORMATS
from runner.tables.columns import (
    SAMPLE_TYPES,
    SampleType,
    columns_of,
    index_of,
    to_array,
    value_type,
)
from runner.tables.expected_rows import check_ids, check_rows, ids_of, other_ids
from runner.tables.layout import MAX_UNIT_COLUMNS, Layout, layout_of, stored_dtype
from runner.tables.rows import Rows
from runner.tables.table_files import read_file, read_pieces, whole_in_memory
from runner.tensors import TensorSpec

_BLOCK_BYTES = 16 << 20


def read_rows(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    columns: Sequence[str] | None = None,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> Rows:
    """Return the rows of a tensor's table.

    Parameters
    ----------
    stored
        The table's files.
    spec
        Description of the tensor.
    format
        A key of `runner.table_formats.FORMATS`.
    columns
        Units to read (``u3``; ``u0_1_2`` of a map); default: all.
    rows
        Number of samples that the table must have, if known.
    ids
        Checksum of the sample ids that the table must have, if known.

    Returns
    -------
    Rows
        A row per sample, or per entry of a weight's leading axes.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another tensor, a unit is unknown, or there
        are too many units for a data frame.
    """
    layout = layout_of(spec, format)
    size = layout.row_size if columns is None else len(columns)
    if size > MAX_UNIT_COLUMNS:
        raise InputError.of(
            spec.name,
            f"a frame has at most {MAX_UNIT_COLUMNS:,} columns, this one would have {size:,}",
            f"use run.array('{spec.name}'), which keeps the shape {spec.shape}",
        )
    places = {name: place for place, name in enumerate(layout.unit_names())}
    chosen = list(places) if columns is None else list(columns)
    for name in chosen:
        if name not in places:
            raise InputError.of(spec.name, f"there is no unit '{name}'", suggest(name, places))
    held = chosen if layout.column is None else [layout.column]
    with whole_in_memory(stored.place, spec.name):
        table = _read(stored, spec, format, layout, held, rows, ids)
        values = to_array(table.select(held), layout).astype(stored_dtype(spec), copy=False)
        if layout.column is not None and columns is not None:
            values = values[:, [places[name] for name in chosen]]
    index = _index_columns(spec, layout)
    return Rows(
        index_of(table.select(index)) if index else pd.RangeIndex(len(values)),
        columns_of(layout.row_shape, tuple(chosen)),
        values,
    )


def stored_columns(spec: TensorSpec, format: str, units: Sequence[str]) -> list[str]:
    """Return the columns of a tensor's file that hold some units, and the index.

    Parameters
    ----------
    spec, format
        As in `read_rows`.
    units
        The units, which may be unknown.
    """
    layout = layout_of(spec, format)
    held = list(units) if layout.column is None else [layout.column]
    return [*_index_columns(spec, layout), *held]


def read_array(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> np.ndarray:
    r"""Return a tensor in its full shape.

    Parameters
    ----------
    stored
        The table's files.
    spec
        Description of the tensor.
    format
        A key of `runner.table_formats.FORMATS`.
    rows
        Number of samples that the table must have, if known.
    ids
        Checksum of the sample ids that the table must have, if known.

    Returns
    -------
    ndarray
        Shape (samples, \*spec.shape), or spec.shape for a weight, of the stored dtype. A map
        in one Arrow file with a single group of rows is memory-mapped and read-only.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another tensor.
    OutOfMemoryError
        If the tensor does not fit into memory; it is a `MemoryError`.
    """
    layout = layout_of(spec, format)
    held = layout.value_columns()
    with whole_in_memory(stored.place, spec.name):
        table = _read(stored, spec, format, layout, held, rows, ids)
        values = to_array(table.select(held), layout).astype(stored_dtype(spec), copy=False)
        return values.reshape((len(table), *spec.shape) if spec.per_sample else spec.shape)


def read_stored(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    sample_type: SampleType,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> pa.Table:
    """Return a tensor's table as it is stored, with its index columns.

    Parameters
    ----------
    stored, spec, format, rows, ids
        As in `read_array`.
    sample_type
        Type of the sample ids.

    Raises
    ------
    InputError
        As in `read_array`, or if the sample ids have another type.
    """
    layout = layout_of(spec, format)
    return _read(stored, spec, format, layout, layout.value_columns(), rows, ids, sample_type)


def check_stored(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    sample_type: SampleType,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> None:
    """Check a tensor's table, without reading the values of a format that DuckDB reads.

    Parameters
    ----------
    stored, spec, format, sample_type, rows, ids
        As in `read_stored`.

    Raises
    ------
    DamagedError
        If it has other columns, rows or sample ids.
    """
    layout = layout_of(spec, format)
    # A file of a format that is queried holds only valid values; of others, all are read.
    is_told = FORMATS[format].is_queried and (spec.per_sample or layout.index)
    columns = () if is_told else layout.value_columns()
    _read(stored, spec, format, layout, columns, rows, ids, sample_type)


def read_blocks(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> Iterator[np.ndarray]:
    r"""Yield the rows of a tensor in blocks.

    Parameters
    ----------
    stored, spec, format, rows, ids
        As in `read_array`.

    Yields
    ------
    ndarray
        Shape (rows, \*spec.shape), of the stored dtype; for a weight (other axes, last axis).
        Raises as `read_array` does; of the number of rows and the sample ids after the last
        block.
    """
    layout = layout_of(spec, format)
    most = max(1, _BLOCK_BYTES // max(1, layout.row_size * layout.cell.itemsize))
    if not layout.row_size:  # without columns, the number of rows is unknown
        values = read_array(stored, spec, format, rows, ids)
        lines = len(values) if spec.per_sample else prod(spec.shape[:-1])
        yield values.reshape(lines, *layout.row_shape)
        return
    columns, found = layout.value_columns(), 0
    hasher = SampleIdHasher(None if ids is None else ids.block)
    named = ["sample"] if spec.per_sample else []
    every = [*_index_columns(spec, layout), *columns]
    types = dict.fromkeys(columns, value_type(layout))
    pieces = (
        read_pieces(file, format, [*named, *columns], most, types, every) for file in stored.files
    )
    for table in itertools.chain.from_iterable(pieces):
        found += len(table)
        if named:
            hasher.update(ids_of(table))
        values = to_array(table.select(columns), layout).astype(stored_dtype(spec), copy=False)
        yield values.reshape((len(table), *layout.row_shape))
    check_rows(stored.place, spec, layout, found, rows)
    if named and ids is not None and hasher.hexdigest() != ids.sha256:
        raise other_ids(stored.place)


def _index_columns(spec: TensorSpec, layout: Layout) -> list[str]:
    """Return the names of the columns before the values."""
    return ["sample"] if spec.per_sample else list(layout.index)


def _read(
    stored: ReadableTable,
    spec: TensorSpec,
    format: str,
    layout: Layout,
    columns: Sequence[str],
    rows: int | None,
    ids: SampleIdsHash | None,
    sample_type: SampleType | None = None,
) -> pa.Table:
    """Return columns of a tensor's table with its index columns, after checking the file."""
    index = _index_columns(spec, layout)
    every = [*index, *layout.value_columns()]
    types = dict.fromkeys(layout.value_columns(), value_type(layout))
    types |= dict.fromkeys(layout.index, pa.int64())
    if sample_type is not None:
        types["sample"] = SAMPLE_TYPES[sample_type]
    pieces = [read_file(file, format, [*index, *columns], types, every) for file in stored.files]
    try:
        table = pa.concat_tables(pieces)
    except pa.ArrowInvalid as error:
        raise DamagedError.of(stored.place, "its files differ in their columns") from error
    check_rows(stored.place, spec, layout, len(table), rows)
    if spec.per_sample:
        check_ids(stored.place, ids_of(table), ids)
    return table
