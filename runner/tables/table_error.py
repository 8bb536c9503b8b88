"""What is wrong with a table's file, without the name of the file, which the caller adds.

Runner writes tables that take a few times their size in memory. Other files can take a thousand
times their size, by compression or by repeated values, which shows only while they are read.
"""

from __future__ import annotations


class TableError(Exception):
    """A table's file does not hold what is expected."""


def check_rows(expected: int, found: int) -> None:
    """Check the number of rows of a table, raise TableError if it is not the expected one."""
    if found != expected:
        raise TableError(f"expected {expected:,} rows, found {found:,}")


def not_as_written(found: str) -> TableError:
    """Return the error for a table that holds something that Runner does not write."""
    return TableError(f"expected a table as Runner writes it, uncompressed, found {found}")
