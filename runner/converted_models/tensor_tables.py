"""Tensors in Parquet tables: those of runs, and tables of other programs, a sample in each row."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.converted_models.tensor_formats import PLACE, check_declared
from runner.errors import InputError
from runner.given_files import FileOnDisk
from runner.parquet_layout import read_layout
from runner.probe.arrow_values import CellError, array, is_array, matrix, why_not_numbers
from runner.probe.parquet_pages import check_pages
from runner.readable_files import content_of

_ID_COLUMNS = ("sample", "id", "ids", "sample_id", "sample_ids")


def read_tensor_table(path: Path, name: str, limit: int) -> dict[str, np.ndarray]:
    """Return the tensors of a Parquet table.

    Each column of lists or tensors is a tensor. All columns of single numbers together are one
    tensor of shape (sample, column), with the name of the file; in the table of a run, with the
    name and shape that it states. A column ``id``, ``sample`` or ``sample_ids`` holds the ids.

    Parameters
    ----------
    path
        The file.
    name
        Name of the tensor of single columns.
    limit
        Largest size of all tensors, in bytes.

    Returns
    -------
    dict
        Name to array of shape (sample, ...); the ids as ``ids``.

    Raises
    ------
    InputError
        If the table is damaged or too large, or a column holds no numbers, lists of different
        lengths, or empty cells.
    """
    with path.open("rb") as file:
        data = content_of(file)
    layout = read_layout(data)
    with pq.ParquetFile(path, pre_buffer=False) as table_file:
        schema = table_file.schema_arrow
        ids = next((each for each in _ID_COLUMNS if each in schema.names), None)
        columns = [each for each in schema.names if each != ids]
        _check_columns(path, schema, columns)
        check_pages(FileOnDisk(path), data, layout, columns, [] if ids is None else [ids], limit)
        declared = sum(
            max(chunk.values, 1) * layout.leaves[chunk.leaf].bits // 8 for chunk in layout.chunks
        )
        check_declared(str(path), declared, len(data), limit)
        table = table_file.read(use_threads=False)
    try:
        return _tensors(table, columns, name, _stated(schema, path)) | _ids(table, ids)
    except CellError as error:
        message = f"{path}: column '{error.column}', row {error.row}: {error.message}"
        raise InputError.of(PLACE, message, error.advice) from error


def _check_columns(path: Path, schema: pa.Schema, columns: list[str]) -> None:
    if len({*schema.names}) != len(schema.names):
        raise InputError.of(PLACE, f"{path} has two columns of one name")
    for name in columns:
        if (wrong := why_not_numbers(schema.field(name).type)) is not None:
            known = ", ".join(_ID_COLUMNS)
            raise InputError.of(
                PLACE,
                f"{path}: column '{name}' holds {wrong}, not numbers",
                f"leave it out; ids stand in a column {known}",
            )


def _stated(schema: pa.Schema, path: Path) -> dict[str, Any]:
    """Return what the table of a run states about its tensor; empty for other tables."""
    text = (schema.metadata or {}).get(b"runner")
    try:
        found = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return {}
    if found.get("kind") == "weight":
        message = f"{path} holds the weight '{found['name']}', whose rows are no samples"
        raise InputError.of(PLACE, message, "leave it out")
    return found


def _tensors(
    table: pa.Table, columns: list[str], name: str, stated: dict[str, Any]
) -> dict[str, np.ndarray]:
    own = stated.get("name", name)
    found: dict[str, np.ndarray] = {}
    for column in columns:
        if is_array(table.schema.field(column).type):
            key = own if stated and column == "activation" else column
            found[key] = array(table, column, allow_nan=False)
    singles = [each for each in columns if not is_array(table.schema.field(each).type)]
    if singles:
        values = matrix(table, singles, allow_nan=False)
        shape = stated.get("shape")
        if isinstance(shape, list) and all(type(axis) is int and axis > 0 for axis in shape):
            values = values.reshape(len(values), *shape) if prod(shape) == len(singles) else values
        found[own] = values
    return found


def _ids(table: pa.Table, name: str | None) -> dict[str, np.ndarray]:
    if name is None:
        return {}
    column = table.column(name)
    if column.null_count:
        raise InputError.of(PLACE, f"column '{name}' has an empty cell")
    return {"ids": np.asarray(column.to_pandas())}
