"""The file formats of tables, and their properties."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TableFormat:
    """One format of tables.

    Attributes
    ----------
    name
        Name in the configuration.
    suffix
        Suffix of the file name.
    stored_as
        Format of the files, given in the record and used by readers.
    is_text
        Whether the format is plain text: without types, and with one column per number.
    number_bytes
        Average size of a number as text; ``None``: as many bytes as in memory.
    begins_with
        Bytes at the beginning of each file, before the table.
    has_workbook
        Whether the run also gets a workbook with one sheet per table.
    is_queried
        Whether DuckDB reads the files directly.
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
# 12 bytes: measured on float32, printed by NumPy with the fewest exact digits.
_CSV = TableFormat("csv", ".csv", "csv", is_text=True, number_bytes=12)

WORKBOOK = "tables.xlsx"
"""File name of a run's workbook."""

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
"""All formats by name."""

STORED: dict[str, TableFormat] = {
    name: known for name, known in FORMATS.items() if known.stored_as == name
}
"""The formats of files; all other formats are stored as one of these."""
