"""Probes from Parquet tables, one sample per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa

from runner.given_files import given_file
from runner.probe.columns import TableSource
from runner.probe.parquet_table import ParquetTable
from runner.probe.probe import Probe
from runner.probe.stored_tables import stored_probe
from runner.tensors import InputSpec


class ParquetConfig(TableSource):
    """A Parquet table with one sample per row; columns as in a `csv` probe."""

    order = 50
    examples: ClassVar[dict[str, str]] = {
        "path": "probe=parquet probe.path=flowers.parquet",
        **TableSource.examples,
    }

    source: Literal["parquet"]

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the table, read page by page."""
        table = ParquetTable(given_file(self.path, "probe.path"))
        index, ids = _pandas_index(table.schema, table.rows)
        return stored_probe(table, self, f"parquet {self.path}", index, ids)


def _pandas_index(schema: pa.Schema, rows: int) -> tuple[list[str], range | None]:
    """Return the columns that hold a DataFrame's index, and the ids of a range index."""
    described = _pandas_metadata(schema)
    columns = [name for name in schema.names if name.startswith("__index_level_")]
    for level in described:
        if isinstance(level, str) and level in schema.names and level not in columns:
            columns.append(level)
        elif isinstance(level, dict) and level.get("kind") == "range":
            counted = [level.get(key) for key in ("start", "stop", "step")]
            whole = [number for number in counted if type(number) is int]
            if len(whole) == len(counted) and whole[2]:
                # A copy with fewer rows may have kept the metadata of all rows.
                span = range(*whole)
                if max(map(abs, whole)) < 2**62 and len(span) == rows:
                    return columns, span
    return columns, None


def _pandas_metadata(schema: pa.Schema) -> list[Any]:
    try:
        described = schema.pandas_metadata
    except (ValueError, RecursionError):  # not as pandas writes it
        return []
    levels = described.get("index_columns") if isinstance(described, dict) else None
    return levels if isinstance(levels, list) else []
