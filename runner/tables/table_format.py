"""The base of all file formats of tables: their properties, and how one is written and read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

from runner.readable_files import MemoryFile

if TYPE_CHECKING:  # a configuration is checked without Arrow
    import numpy as np
    import pyarrow as pa

    from runner.tables.expected_columns import ExpectedColumns


class GroupWriter(Protocol):
    """Writes a table group by group, as Arrow's own writers do."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write some rows."""

    def close(self) -> None:
        """Write the end of the file, which stays open."""


@runtime_checkable
class ColumnsWriter(GroupWriter, Protocol):
    """Writes many columns of one type at once, without an object for each."""

    def write_columns(self, index: Sequence[pa.Array], values: np.ndarray) -> None:
        """Write some rows.

        Parameters
        ----------
        index
            The first columns.
        values
            All other columns: shape (column, row), contiguous along the last axis. They may be
            written after the call, so they may not change.
        """


@dataclass(frozen=True)
class TableFormat:
    """A file format of tables.

    Files are read as their store opens them: at their beginning, on a disk or in memory, and to be
    sought in. They may come from anyone. Each function that reads one checks its columns with
    `ExpectedColumns.check` before it reads values, and the values with `ExpectedColumns.checked`.
    Of a `TableError`, and of what Arrow, the system and Python raise while a file is read, callers
    make one line that names the file.

    Attributes
    ----------
    suffix
        Suffix of the file name.
    order
        Place among Runner's own formats in lists.
    stored_as
        Format of the files, given in the record and used by readers; empty: this one.
    is_text
        Whether the tables are laid out as CSV: without types, and with one column per number.
    number_bytes
        Average size of a number as text; ``None``: as many bytes as in memory.
    has_workbook
        Whether the run also gets a workbook with one sheet per table.
    keeps_values
        Whether a run keeps the values of its tensors, not only their statistics.
    is_queried
        Whether DuckDB's ``read_parquet`` reads the files.
    """

    suffix: str
    order: int = 100
    stored_as: str = ""
    is_text: bool = False
    number_bytes: int | None = None
    has_workbook: bool = False
    keeps_values: bool = True
    is_queried: bool = False

    @abstractmethod
    def writer(self, output: pa.NativeFile, schema: pa.Schema) -> GroupWriter:
        """Return the writer of a table of these columns to a file."""

    @abstractmethod
    def read(self, file: BinaryIO, expected: ExpectedColumns) -> pa.Table:
        """Return columns of a table, which stay when the file is closed."""

    @abstractmethod
    def pieces(self, file: BinaryIO, expected: ExpectedColumns, rows: int) -> Iterator[pa.Table]:
        """Yield columns of a table piece by piece.

        Memory use does not grow with the size of the file. A piece may have more than `rows` rows
        if it takes no memory of its own, or if the file is made of such pieces.
        """

    def part(self, file: BinaryIO, rows: int, columns: Collection[str]) -> MemoryFile | None:  # noqa: ARG002
        """Return a copy of a file in which only some columns are filled in.

        Parameters
        ----------
        file
            The table's file, of which as little is read as possible.
        rows
            Number of rows that the table must have.
        columns
            The columns.

        Returns
        -------
        MemoryFile | None
            The copy, from which these columns alone can be read, after `check_expansion` of them;
            ``None`` if the format does not keep columns apart.

        Raises
        ------
        TableError
            As in `check_expansion`.
        """
        return None

    @abstractmethod
    def check_expansion(self, file: BinaryIO, rows: int) -> None:
        """Check that a table cannot take far more memory than the size of its file.

        Called before anything is read.

        Parameters
        ----------
        file
            The table's file.
        rows
            Number of rows that the table must have.

        Raises
        ------
        TableError
            If the table is compressed or encoded, or has another number of rows.
        """
