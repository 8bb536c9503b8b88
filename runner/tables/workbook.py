"""An Excel workbook with a sheet per table of a run, as a copy for people to read."""

from __future__ import annotations

import importlib
import importlib.util
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from runner.errors import InputError
from runner.table_formats import FORMATS
from runner.tables.columns import flattened

MAX_ROWS = 1_048_576
"""Maximum number of rows of a sheet, including the header."""
MAX_COLUMNS = 16_384
MAX_TITLE = 31
MAX_TEXT = 32_767
"""Maximum number of characters in a cell."""
MAX_CELLS = 10_000_000
"""Maximum number of cells of a workbook; Excel takes minutes to open more."""

_CONTENTS = "contents"
_EXACT_INTEGERS = 2**53
_FORBIDDEN = re.compile(r"[\[\]:*?/\\\0-\x1f]")


@dataclass(frozen=True)
class Sheet:
    """A table to include in the workbook.

    Attributes
    ----------
    name
        Name of the table: of its tensor, or ``probe``...
    kind, shape, dtype
        Description of the table, for the list of contents.
    file
        Path of the Parquet file in the run.
    """

    name: str
    kind: str
    shape: str
    dtype: str
    file: str


def check_installed(table_format: str) -> None:
    """Check that the workbook of a format can be written.

    Raises
    ------
    InputError
        If XlsxWriter is missing.
    """
    has_workbook = table_format in FORMATS and FORMATS[table_format].has_workbook
    if has_workbook and importlib.util.find_spec("xlsxwriter") is None:
        raise InputError.missing("format", f"{table_format} needs XlsxWriter", "[excel]")


def workbook_of(
    sheets: Iterable[Sheet], opened: Callable[[str], BinaryIO]
) -> tuple[bytes, list[str]]:
    """Return a workbook, and the names of the tables that do not fit into it.

    The first sheet lists the tables with their sheets, or the reasons why they have none.
    Tensors are flattened to a column per number, as in CSV. A cell holds a number of at most
    16 significant digits, which is exact up to float32. NaN and the infinities, which Excel
    does not support, are the texts ``nan``, ``inf`` and ``-inf``; integers beyond 2**53 are
    texts too. No text is a formula. The same tables give the same bytes.

    Parameters
    ----------
    sheets
        Tables, in order.
    opened
        Opens a file of the run for reading.
    """
    xlsxwriter: Any = importlib.import_module("xlsxwriter")
    data = io.BytesIO()
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    left_out: list[str] = []
    with xlsxwriter.Workbook(data, options) as workbook:
        workbook.set_properties({"created": datetime(1980, 1, 1)})  # without a time zone
        contents = workbook.add_worksheet(_CONTENTS)
        header = ("table", "kind", "shape", "dtype", "sheet", "file")
        _write_row(contents, 0, header)
        titles = {_CONTENTS}
        room = MAX_CELLS
        for row, sheet in enumerate(sheets, start=1):
            with opened(sheet.file) as file, pq.ParquetFile(file) as table:
                rows, columns = _size(table)
                reason = _unfit(rows + 1, columns, room)
                title = reason or _title(sheet.name, titles)
                about = (sheet.name, sheet.kind, sheet.shape, sheet.dtype, title, sheet.file)
                _write_row(contents, row, about)
                if reason:
                    left_out.append(f"{sheet.name} ({reason})")
                    continue
                titles.add(title.casefold())
                room -= (rows + 1) * columns
                _write_table(workbook.add_worksheet(title), table)
    return data.getvalue(), left_out


def _size(table: pq.ParquetFile) -> tuple[int, int]:
    """Return the numbers of rows and of flattened columns of a table."""
    widths = [
        math.prod(field.type.shape) if isinstance(field.type, pa.FixedShapeTensorType) else 1
        for field in table.schema_arrow
    ]
    return table.metadata.num_rows, sum(widths)


def _unfit(rows: int, columns: int, room: int) -> str:
    """Return the reason why a table does not fit; empty if it fits."""
    if rows > MAX_ROWS:
        return f"no sheet: {rows:,} rows, Excel takes {MAX_ROWS:,}"
    if columns > MAX_COLUMNS:
        return f"no sheet: {columns:,} columns, Excel takes {MAX_COLUMNS:,}"
    if rows * columns > room:
        return f"no sheet: more than {MAX_CELLS:,} cells in all"
    return ""


def _title(name: str, taken: Collection[str]) -> str:
    """Return a valid sheet title that is unique regardless of case."""
    plain = _FORBIDDEN.sub(".", name).strip("'") or "table"
    if plain.casefold() == "history":  # a name reserved by Excel
        plain += "."
    title, number = plain[:MAX_TITLE], 2
    while title.casefold() in taken:
        end = f"~{number}"
        title = plain[: MAX_TITLE - len(end)] + end
        number += 1
    return title


def _write_table(worksheet: Any, table: pq.ParquetFile) -> None:
    worksheet.freeze_panes(1, 1)
    row = 0
    for number in range(table.num_row_groups):
        group = flattened(table.read_row_group(number))
        if not row:
            _write_row(worksheet, 0, group.column_names)
        for cells in zip(*map(_cells, group.columns), strict=True):
            row += 1
            _write_row(worksheet, row, cells)
    if not table.num_row_groups:
        _write_row(worksheet, 0, table.schema_arrow.names)


def _write_row(worksheet: Any, row: int, cells: Iterable[Any]) -> None:
    for column, cell in enumerate(cells):
        _WRITERS[type(cell)](worksheet)(row, column, cell)


_WRITERS: dict[type, Callable[[Any], Callable[..., Any]]] = {
    str: lambda worksheet: worksheet.write_string,
    bool: lambda worksheet: worksheet.write_boolean,
    int: lambda worksheet: worksheet.write_number,
    float: lambda worksheet: worksheet.write_number,
}


def _cells(column: pa.ChunkedArray) -> Iterator[str | bool | int | float]:
    """Yield the cells of a column."""
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy()
        # The shortest digits of the narrow type: 0.1 rather than 0.10000000149011612.
        plain = values.astype(str).astype("float64") if values.itemsize < 8 else values
        for value in np.atleast_1d(plain).tolist():
            yield value if math.isfinite(value) else str(value)
    elif pa.types.is_integer(kind):
        for value in column.to_pylist():
            yield value if abs(value) <= _EXACT_INTEGERS else str(value)
    else:
        for value in column.to_pylist():
            yield value if isinstance(value, bool) else str(value)[:MAX_TEXT]
