"""Probes from Parquet tables, one sample per row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import InputError, first_line
from runner.parquet_layout import read_layout
from runner.probe.arrow_values import why_not_numbers
from runner.probe.columns import MAX_COLUMNS, ColumnRoles, TableProbe, TableSource
from runner.probe.compressed import check_unpacked
from runner.probe.parquet_pages import check_pages
from runner.probe.probe import Probe
from runner.readable_files import content_of
from runner.regular_files import regular_file, what_it_is
from runner.tensors import InputSpec

_BLOCK_BYTES = 2**20
# Buffer for reading ahead: in all columns together, and the bounds per column.
_AHEAD_BYTES, _LEAST_AHEAD, _MOST_AHEAD = 2**25, 2**12, 2**16
# Assumed size of a text, when the number of rows per block is chosen.
_TEXT_BYTES = 128


class ParquetConfig(TableSource):
    """A Parquet table with one sample per row; columns as in a `csv` probe."""

    order = 50
    examples: ClassVar = {
        "path": "probe=parquet probe.path=flowers.parquet",
        **TableSource.examples,
    }

    source: Literal["parquet"]

    def open(self, _expected: Sequence[InputSpec]) -> Probe:
        """Return the probe of the table, read page by page."""
        return _parquet_probe(self)


def _parquet_probe(config: ParquetConfig) -> Probe:
    path = regular_file(config.path, "probe.path")
    with _read_from(path):
        with path.open("rb") as file:
            data = content_of(file)
        layout = read_layout(data)
        with _opened(path) as file:
            schema = file.schema_arrow
        _check_names(schema.names)
        index, ids = _pandas_index(schema, layout.rows)
        roles = ColumnRoles(config, schema.names, f"parquet {config.path}", index, index)
        for name in roles.numbers:
            wrong = why_not_numbers(schema.field(name).type)
            if wrong is not None:
                message = f"{path}: column '{name}' holds {wrong}, not numbers"
                raise InputError.of("probe.path", message, roles.advice)
        check_pages(path, data, layout, roles.numbers, roles.texts, config.max_bytes)
        values: dict[str, int] = {}
        declared = 0
        for chunk in layout.chunks:
            leaf = layout.leaves[chunk.leaf]
            values[leaf.name] = values.get(leaf.name, 0) + chunk.values
            declared += chunk.values * leaf.bits // 8
        check_unpacked(path, declared, "save it as .npy and use probe=npy")

    def row_bytes(name: str) -> int:
        if why_not_numbers(schema.field(name).type) is not None:
            return _TEXT_BYTES
        return 8 * -(-values.get(name, 0) // max(1, layout.rows))

    def tables(include: Sequence[str]) -> Iterator[pa.Table]:
        with _read_from(path):
            texts = [name for name in include if name in roles.texts]
            rows = max(1, _BLOCK_BYTES // max(1, sum(map(row_bytes, include))))
            ahead = max(_LEAST_AHEAD, min(_MOST_AHEAD, _AHEAD_BYTES // len(include)))
            with _opened(path, buffer_size=ahead, read_dictionary=texts) as file:
                for batch in file.iter_batches(rows, columns=list(include), use_threads=False):
                    yield pa.table(batch)

    table = TableProbe(
        roles, schema, tables, allow_nan=config.allow_nan, max_bytes=config.max_bytes
    )
    return table.probe(layout.rows, ids)


@contextlib.contextmanager
def _read_from(path: Path) -> Iterator[None]:
    """Turn errors of Arrow into an InputError that describes the file."""
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = what_it_is(path)
        if "Parquet" not in kind:
            raise InputError.of("probe.path", f"{path} is not a Parquet file: {kind}") from error
        raise InputError.of("probe.path", f"{path} is damaged: {first_line(error)}") from error


def _opened(path: Path, **options: Any) -> pq.ParquetFile:
    # With pre_buffer, Arrow would read whole row groups ahead, and keep them.
    return pq.ParquetFile(path, pre_buffer=False, **options)


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
