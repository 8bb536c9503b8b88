"""The types of columns that Runner writes, and checks of tables against them.

Arrow has many more types, some of which take far more memory than their file, or refer to values
outside of their columns. A run's tables may come from anyone.
"""

from __future__ import annotations

from math import prod

import pyarrow as pa

from runner.tables.table_error import TableError

NUMBERS = frozenset(
    map(
        pa.type_for_alias,
        (
            "bool",
            *("int8", "int16", "int32", "int64"),
            *("uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64"),
        ),
    )
)
"""Types of single values; all other columns hold text, or tensors of these."""

MOST_AXES = 32
"""Number of axes of an array; NumPy before 2 allows no more."""


def check_types(schema: pa.Schema) -> None:
    """Check the names and types of a table's columns before its values are read.

    Raises
    ------
    TableError
        If Runner writes no column of such a type, or two columns have the same name.
    """
    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if schema.get_all_field_indices(name)[1:])
        raise TableError(f"two columns are named '{twice}'")
    for name, kind in zip(names, schema.types, strict=True):
        if kind not in NUMBERS and kind != pa.string() and not _is_tensor(kind):
            raise TableError(f"expected numbers, text or tensors in '{name}', found {kind}")


def _is_tensor(kind: pa.DataType) -> bool:
    """Return whether each value is an array of numbers of one shape, in C order."""
    if not isinstance(kind, pa.FixedShapeTensorType):
        return False
    storage, axes = kind.storage_type, list(range(len(kind.shape)))
    return (
        kind.value_type in NUMBERS
        and min(kind.shape) > 0
        and len(kind.shape) < MOST_AXES  # besides that of the rows
        and (kind.permutation is None or list(kind.permutation) == axes)
        and storage.value_type == kind.value_type
        and storage.list_size == prod(kind.shape)
    )


def checked(table: pa.Table) -> pa.Table:
    """Return a table without its own metadata, after checking that all of its values are valid.

    The metadata that pandas writes could rename and convert columns.

    Parameters
    ----------
    table
        Table whose types have been checked.

    Raises
    ------
    TableError
        If a value is missing.
    pyarrow.ArrowInvalid
        If a value is invalid, such as text that is not UTF-8.
    """
    table.validate(full=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count or (_is_tensor(column.type) and any(map(_has_gaps, column.chunks))):
            raise TableError(f"expected no missing value, found one in '{name}'")
    return table.replace_schema_metadata()


def _has_gaps(tensors: pa.FixedShapeTensorArray) -> bool:
    return bool(tensors.storage.flatten().null_count)
