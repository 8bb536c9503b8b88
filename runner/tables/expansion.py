"""Errors of tables that would expand in memory: by compression, or by repeated values.

Runner writes tables that take a few times their size in memory. Other files can take a thousand
times their size, which shows only while they are read.
"""

from __future__ import annotations

from pathlib import Path

from runner.errors import DamagedError


def check_rows(path: Path, expected: int, found: int) -> None:
    """Check the number of rows of a table, raise DamagedError if it is not the expected one."""
    if found != expected:
        raise DamagedError.of(str(path), f"expected {expected:,} rows, found {found:,}")


def not_as_written(path: Path, found: str) -> DamagedError:
    """Return the error for a table that holds something that Runner does not write."""
    return DamagedError.of(
        str(path), f"expected a table as Runner writes it, uncompressed, found {found}"
    )
