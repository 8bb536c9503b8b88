"""CSV in UTF-8: a column for every number, text in quotes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv

from runner.tables.column_types import check_types
from runner.tables.expected_columns import ExpectedColumns
from runner.tables.table_error import TableError
from runner.tables.table_format import GroupWriter, TableFormat

# A row with the maximum number of columns must fit into one block.
_BLOCK = 8 << 20

_CELL = re.compile(r'("(?:[^"]++|"")*+"|[^",\n]*+)([,\n])')

_MOST_COLUMNS = 100_000
_LONGEST_HEADER = 4 << 20


@dataclass(frozen=True)
class Csv(TableFormat):
    """CSV. A column without an expected type is text if it is quoted, otherwise it is inferred.

    Attributes
    ----------
    begins_with
        Bytes at the beginning of each file, before the table.
    """

    begins_with: bytes = b""

    def writer(self, output: pa.NativeFile, schema: pa.Schema) -> GroupWriter:
        """Return Arrow's own writer."""
        output.write(self.begins_with)
        writer: GroupWriter = csv.CSVWriter(output, schema)
        return writer

    def read(self, file: BinaryIO, expected: ExpectedColumns) -> pa.Table:
        """Return columns of a table."""
        table = csv.read_csv(file, **_options(file, expected))
        check_types(table.schema)
        return expected.checked(table)

    def pieces(self, file: BinaryIO, expected: ExpectedColumns, rows: int) -> Iterator[pa.Table]:  # noqa: ARG002
        """Yield columns of a table in blocks of text."""
        options = _options(file, expected)
        blocks = csv.ReadOptions(block_size=_BLOCK)
        with csv.open_csv(file, read_options=blocks, **options) as batches:
            check_types(batches.schema)
            for batch in batches:
                yield expected.checked(pa.table(batch))

    def check_expansion(self, file: BinaryIO, rows: int) -> None:  # noqa: ARG002
        """Check the number of columns. The rows are checked when they are read."""
        columns = file.readline(_LONGEST_HEADER).count(b",") + 1
        if columns > _MOST_COLUMNS:
            raise TableError(f"expected at most {_MOST_COLUMNS:,} columns, found {columns:,}")


def _options(file: BinaryIO, expected: ExpectedColumns) -> dict[str, Any]:
    """Return the options for reading a file, after checking the names of its columns."""
    quoted = _columns(file)
    expected.check_names(list(quoted))
    text = {name: pa.string() for name, is_text in quoted.items() if is_text}
    return {
        "parse_options": csv.ParseOptions(newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            column_types=text | dict(expected.types),
            include_columns=expected.columns,
            null_values=[],
        ),
    }


def _columns(file: BinaryIO) -> dict[str, bool]:
    """Return the columns of a file, and whether each is quoted and thus text."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        names = [cell.strip('"') for cell in text.readline().rstrip("\n").split(",")]
        start = text.read(1 << 22)
    finally:
        text.detach().seek(0)
    cells: list[str] = []
    place = 0
    while match := _CELL.match(start, place):
        cells.append(match[1])
        place = match.end()
        if match[2] == "\n":
            break
    cells += [""] * (len(names) - len(cells))
    return {name: cell.startswith('"') for name, cell in zip(names, cells, strict=False)}


# 12 bytes: measured on float32, printed by NumPy with the fewest exact digits.
CSV = Csv(".csv", order=10, is_text=True, number_bytes=12)
