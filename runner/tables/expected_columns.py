"""The columns that are read from a table's file, and what the file must have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from runner.tables.column_types import check_types, checked
from runner.tables.table_error import TableError


@dataclass(frozen=True)
class ExpectedColumns:
    """The columns that are read from a table's file, and what the file must have.

    Attributes
    ----------
    columns
        Names of the columns to read; ``None``: all.
    types
        Types that columns must have. In plain text, which has no types, they are parsed as these.
    every
        Names of all columns that the file must have; ``None`` to accept any.
    """

    columns: list[str] | None = None
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    every: Sequence[str] | None = None

    def check(self, schema: pa.Schema) -> None:
        """Check the names and types of a file's columns before its values are read.

        Raises
        ------
        TableError
            If they differ from the expected, or Runner writes no column of such a type.
        """
        self.check_names(schema.names)
        check_types(schema)
        for name, kind in zip(schema.names, schema.types, strict=True):
            expected = self.types.get(name, kind)
            if kind != expected:
                raise TableError(f"expected '{name}' to be {expected}, found {kind}")

    def check_names(self, names: Sequence[str]) -> None:
        """Check the names of a file's columns, raise TableError if others are expected."""
        known = set(names)
        missing = [name for name in self.every or self.columns or () if name not in known]
        if missing:
            raise TableError(f"expected a column '{missing[0]}', found {_some(names)}")
        if self.every is not None and list(names) != list(self.every):
            raise TableError(f"expected {_some(self.every)}, found {_some(names)}")

    def checked(self, table: pa.Table) -> pa.Table:
        """Return the columns of a table, after checking that all of their values are valid.

        Raises
        ------
        TableError
            If a value is missing.
        pyarrow.ArrowInvalid
            If a value is invalid, such as text that is not UTF-8.
        """
        return checked(self.selected(table))

    def selected(self, table: pa.Table) -> pa.Table:
        """Return the columns of a table that are to be read."""
        return table if self.columns is None else table.select(self.columns)


def _some(names: Sequence[str]) -> str:
    """Return a short description of columns: their number and some of their names."""
    shown = ", ".join([*names[:3], "...", names[-1]] if len(names) > 4 else names)
    return f"{len(names):,} columns ({shown})"
