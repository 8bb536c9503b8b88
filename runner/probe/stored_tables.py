"""Tables in files, of which a probe reads some columns piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import pyarrow as pa

from runner.errors import InputError
from runner.probe.arrow_values import is_one_value, why_not_numbers
from runner.probe.columns import MAX_COLUMNS, ColumnRoles, TableColumns
from runner.probe.probe import Probe
from runner.probe.table_probe import TableProbe

_NAME_TEXTS = "name other columns in probe.id_column and probe.label_column"


class StoredTable(ABC):
    """A table in a file, wherever the file is.

    Attributes
    ----------
    place
        Where the file is, for messages.
    schema, names
        Types and names of the columns.
    rows
        Number of rows; ``None`` if unknown before all are read.
    """

    place: str
    schema: pa.Schema
    names: list[str]
    rows: int | None

    @abstractmethod
    def check(self, numbers: Sequence[str], texts: Sequence[str], limit: int) -> None:
        """Check that columns do not take too much memory, now or while they are read.

        Parameters
        ----------
        numbers, texts
            Columns that are read: as numbers, and as ids or labels.
        limit
            Maximum memory in bytes.

        Raises
        ------
        InputError
            If they do.
        """

    @abstractmethod
    def tables(self, include: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of some columns, in pieces from the first row.

        Raises
        ------
        InputError
            If the file is damaged, or cannot be read.
        """

    def tables_from(self, include: Sequence[str], row: int) -> Iterator[pa.Table]:
        """Yield the rows of some columns from a row on; those before it are read if they must."""
        for table in self.tables(include):
            if row < table.num_rows:
                yield table.slice(row) if row else table
            row = max(0, row - table.num_rows)


class JoinedTables(StoredTable):
    """Tables with the same columns, one below the other.

    Raises
    ------
    InputError
        If their columns differ.
    """

    def __init__(self, parts: Sequence[StoredTable]) -> None:
        self._parts = parts
        self.place = parts[0].place
        self.schema, self.names = parts[0].schema, parts[0].names
        for part in parts:
            if not part.schema.equals(self.schema):
                message = f"{part.place} has other columns, or other types, than {self.place}"
                raise InputError.of("probe.path", message)
        rows = [part.rows for part in parts]
        self.rows = None if None in rows else sum(each or 0 for each in rows)

    def check(self, numbers: Sequence[str], texts: Sequence[str], limit: int) -> None:
        """Check each table."""
        for part in self._parts:
            part.check(numbers, texts, limit)

    def tables(self, include: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of each table."""
        for part in self._parts:
            yield from part.tables(include)

    def tables_from(self, include: Sequence[str], row: int) -> Iterator[pa.Table]:
        """Yield the rows from one on; a table of known length that ends before it is not read."""
        if self.rows is None:
            yield from super().tables_from(include, row)
            return
        for part in self._parts:
            rows = part.rows or 0
            if row < rows:
                yield from part.tables_from(include, row)
            row = max(0, row - rows)


def stored_probe(
    table: StoredTable,
    config: TableColumns,
    source: str,
    index: Sequence[str] = (),
    ids: range | None = None,
) -> Probe:
    """Return the probe of a table.

    Parameters
    ----------
    table
        The table.
    config
        Roles of its columns.
    source
        Description of the table in one line.
    index, ids
        Columns that hold a DataFrame's index; the ids if no column holds them.

    Raises
    ------
    InputError
        If a column cannot have its role, or the table takes too much memory.
    """
    _check_names(table.names)
    roles = ColumnRoles(config, table.names, source, index, index)
    for name in roles.numbers:
        wrong = why_not_numbers(table.schema.field(name).type)
        if wrong is not None:
            message = f"{table.place}: column '{name}' holds {wrong}, not numbers"
            raise InputError.of("probe.path", message, roles.advice)
    for name in roles.texts:
        kind = table.schema.field(name).type
        if not is_one_value(kind):
            message = f"{table.place}: column '{name}' holds {kind}, not one id or label a sample"
            raise InputError.of("probe.path", message, _NAME_TEXTS)
    table.check(roles.numbers, roles.texts, config.max_bytes)
    probe = TableProbe(
        roles, table.schema, table.tables, allow_nan=config.allow_nan, max_bytes=config.max_bytes
    )
    return probe.probe(table.rows, ids, tables_from=table.tables_from)


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise InputError.of(
            "probe.path",
            f"{len(names):,} columns, the limit is {MAX_COLUMNS:,}",
            "save the numbers as an array and use probe=npy",
        )
    seen: set[str] = set()
    for column, name in enumerate(names):
        if not name:
            raise InputError.of("probe.path", f"column {column} has no name")
        if "\0" in name:
            raise InputError.of("probe.path", f"column {column} has a NUL in its name, {name!r}")
        if name in seen:
            raise InputError.of("probe.path", f"two columns are named '{name}'")
        seen.add(name)
