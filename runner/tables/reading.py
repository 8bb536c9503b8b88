"""Reading of tensors from tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import pandas as pd
import pyarrow as pa

from runner.errors import InputError, suggest
from runner.probe.probe_hash import SampleIdHasher, SampleIdsHash
from runner.readable_files import ReadableFile
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
    file: ReadableFile,
    spec: TensorSpec,
    format: str,
    columns: Sequence[str] | None = None,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> Rows:
    """Return the rows of a tensor's table.

    Parameters
    ----------
    file
        The table's file.
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
    stored = chosen if layout.column is None else [layout.column]
    with whole_in_memory(file.place, spec.name):
        table = _read(file, spec, format, layout, stored, rows, ids)
        values = to_array(table.select(stored), layout).astype(stored_dtype(spec), copy=False)
        if layout.column is not None and columns is not None:
            values = values[:, [places[name] for name in chosen]]
    index = _index_columns(spec, layout)
    return Rows(
        index_of(table.select(index)) if index else pd.RangeIndex(len(values)),
        columns_of(layout.row_shape, tuple(chosen)),
        values,
    )


def read_array(
    file: ReadableFile,
    spec: TensorSpec,
    format: str,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> np.ndarray:
    r"""Return a tensor in its full shape.

    Parameters
    ----------
    file
        The table's file.
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
        in an Arrow file with a single group of rows is memory-mapped and read-only.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another tensor.
    OutOfMemoryError
        If the tensor does not fit into memory; it is a `MemoryError`.
    """
    layout = layout_of(spec, format)
    stored = layout.value_columns()
    with whole_in_memory(file.place, spec.name):
        table = _read(file, spec, format, layout, stored, rows, ids)
        values = to_array(table.select(stored), layout).astype(stored_dtype(spec), copy=False)
        return values.reshape((len(table), *spec.shape) if spec.per_sample else spec.shape)


def read_stored(
    file: ReadableFile,
    spec: TensorSpec,
    format: str,
    sample_type: SampleType,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> pa.Table:
    """Return a tensor's table as it is stored, with its index columns.

    Parameters
    ----------
    file, spec, format, rows, ids
        As in `read_array`.
    sample_type
        Type of the sample ids.

    Raises
    ------
    InputError
        As in `read_array`, or if the sample ids have another type.
    """
    layout = layout_of(spec, format)
    return _read(file, spec, format, layout, layout.value_columns(), rows, ids, sample_type)


def check_stored(
    file: ReadableFile,
    spec: TensorSpec,
    format: str,
    sample_type: SampleType,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> None:
    """Check a tensor's table, without reading the values of a format that DuckDB reads.

    Parameters
    ----------
    file, spec, format, sample_type, rows, ids
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
    _read(file, spec, format, layout, columns, rows, ids, sample_type)


def read_blocks(
    file: ReadableFile,
    spec: TensorSpec,
    format: str,
    rows: int | None = None,
    ids: SampleIdsHash | None = None,
) -> Iterator[np.ndarray]:
    r"""Yield the rows of a tensor in blocks.

    Parameters
    ----------
    file, spec, format, rows, ids
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
        values = read_array(file, spec, format, rows, ids)
        lines = len(values) if spec.per_sample else prod(spec.shape[:-1])
        yield values.reshape(lines, *layout.row_shape)
        return
    columns, found = layout.value_columns(), 0
    hasher = SampleIdHasher(None if ids is None else ids.block)
    named = ["sample"] if spec.per_sample else []
    every = [*_index_columns(spec, layout), *columns]
    types = dict.fromkeys(columns, value_type(layout))
    for table in read_pieces(file, format, [*named, *columns], most, types, every):
        found += len(table)
        if named:
            hasher.update(ids_of(table))
        values = to_array(table.select(columns), layout).astype(stored_dtype(spec), copy=False)
        yield values.reshape((len(table), *layout.row_shape))
    check_rows(file.place, spec, layout, found, rows)
    if named and ids is not None and hasher.hexdigest() != ids.sha256:
        raise other_ids(file.place)


def _index_columns(spec: TensorSpec, layout: Layout) -> list[str]:
    """Return the names of the columns before the values."""
    return ["sample"] if spec.per_sample else list(layout.index)


def _read(
    file: ReadableFile,
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
    table = read_file(file, format, [*index, *columns], types, every)
    check_rows(file.place, spec, layout, len(table), rows)
    if spec.per_sample:
        check_ids(file.place, ids_of(table), ids)
    return table
