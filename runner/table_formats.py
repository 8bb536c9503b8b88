"""The formats that tables can be written in, and what each of them can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TableFormat:
    """One format of tables.

    Attributes
    ----------
    name
        What the configuration calls it.
    suffix
        The end of a file's name.
    stored_as
        The format of the files, which the record names and readers go by.
    is_text
        Whether it has text alone: no types, and a column for every number.
    number_bytes
        What a number takes on average in a text; ``None``: as many bytes as in memory.
    begins_with
        Bytes at the beginning of each file, before the table.
    has_workbook
        Whether the run also gets a workbook with a sheet for each table.
    is_queried
        Whether DuckDB reads the files itself.
    """

    name: str
    suffix: str
    stored_as: str
    is_text: bool = False
    number_bytes: int | None = None
    begins_with: bytes = b""
    has_workbook: bool = False
    is_queried: bool = False


_PARQUET = TableFormat("parquet", ".parquet", "parquet", is_queried=True)
# 12 bytes were measured on float32 in NumPy's shortest digits.
_CSV = TableFormat("csv", ".csv", "csv", is_text=True, number_bytes=12)

WORKBOOK = "tables.xlsx"
"""What the workbook of a run is called."""

FORMATS: dict[str, TableFormat] = {
    known.name: known
    for known in (
        _PARQUET,
        _CSV,
        replace(_CSV, name="csv_bom", begins_with=b"\xef\xbb\xbf"),
        TableFormat("arrow", ".arrow", "arrow"),
        replace(_PARQUET, name="xlsx", has_workbook=True),
    )
}
"""Every format by its name."""

STORED: dict[str, TableFormat] = {
    name: known for name, known in FORMATS.items() if known.stored_as == name
}
"""The formats that files are in; the others are written as one of these."""
