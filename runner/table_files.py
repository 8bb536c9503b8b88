"""Probes in tables: CSV and Parquet, one sample a row."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from runner.array_files import found
from runner.errors import InputError, suggest
from runner.memory_sources import categories, identifiers
from runner.probe import Batch, Probe
from runner.probe_config import CsvConfig, ParquetConfig
from runner.tensors import InputSpec

_NUMBER = re.compile(
    r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)\s*", re.I
)
_BLOCK_BYTES = 4 * 2**20


def read_csv(config: CsvConfig) -> Probe:
    """Return a text table, read in blocks of a few megabytes."""
    path = found(config.path, "probe.path")
    names = _header(path, config)
    columns = _Columns(config, names, f"csv {config.path}")
    types = {name: pa.string() if name in columns.texts else pa.float64() for name in names}

    def tables(include: Sequence[str]) -> Iterator[pa.Table]:
        convert = pa.csv.ConvertOptions(
            column_types=types,
            include_columns=list(include),
            null_values=[],
            strings_can_be_null=False,
        )
        try:
            reader = pa.csv.open_csv(
                path,
                read_options=pa.csv.ReadOptions(
                    block_size=_BLOCK_BYTES,
                    column_names=names,
                    skip_rows=1 if config.header else 0,
                    encoding=config.encoding,
                    use_threads=False,
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=config.delimiter, newlines_in_values=True
                ),
                convert_options=convert,
            )
            for batch in reader:
                yield pa.table(batch)
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise _diagnosed(path, config, names, columns.numbers, error) from error

    return columns.probe(tables)


def read_parquet(config: ParquetConfig) -> Probe:
    """Return a Parquet table, read by row groups."""
    path = found(config.path, "probe.path")
    try:
        file = pa.parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError.of("probe.path", f"{path} is no Parquet file: {error}") from error
    columns = _Columns(config, file.schema_arrow.names, f"parquet {config.path}")
    for name in columns.numbers:
        kind = file.schema_arrow.field(name).type
        if not (
            pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        ):
            raise InputError.of(
                "probe.path",
                f"{path}: column '{name}' holds {kind}, not numbers",
                "name the inputs in probe.input_columns",
            )

    def tables(include: Sequence[str]) -> Iterator[pa.Table]:
        with pa.parquet.ParquetFile(path) as opened:
            for batch in opened.iter_batches(columns=list(include)):
                yield pa.table(batch)

    return columns.probe(tables)


class _Columns:
    """Which columns of a table are ids, labels, targets and inputs."""

    def __init__(
        self, config: CsvConfig | ParquetConfig, names: Sequence[str], source: str
    ) -> None:
        self._source = source
        self._names = names
        self.id = self._named(config.id_column, "id", "probe.id_column")
        self.label = self._named(config.label_column, "label", "probe.label_column")
        self.targets = [self._known(name, "probe.target_columns") for name in config.target_columns]
        special = {self.id, self.label, *self.targets}
        if config.input_columns is None:
            self.inputs = [name for name in names if name not in special]
        else:
            self.inputs = [
                self._known(name, "probe.input_columns") for name in config.input_columns
            ]
        if not self.inputs:
            raise InputError.of("probe.path", f"{source} has no column of inputs")

    @property
    def texts(self) -> set[str]:
        """Columns that are read as text."""
        return {name for name in (self.id, self.label) if name is not None}

    @property
    def numbers(self) -> list[str]:
        """Columns that must be numbers."""
        return [*self.inputs, *self.targets]

    def _named(self, given: str | None, usual: str, place: str) -> str | None:
        if given is not None:
            return self._known(given, place)
        return usual if usual in self._names else None

    def _known(self, name: str, place: str) -> str:
        if name not in self._names:
            advice = suggest(name, self._names) or f"columns are {', '.join(self._names[:12])}"
            raise InputError.of(place, f"{self._source} has no column '{name}'", advice)
        return name

    def probe(self, tables: Any) -> Probe:
        """Return the table as a probe.

        Ids and labels are read first: whether all are whole numbers, and whether an id is
        there twice, only the last row can tell. They fit in memory where the rest need not.
        """
        texts = [name for name in (self.id, self.label) if name is not None]
        first = texts or [self.inputs[0]]
        found: dict[str, list[Any]] = {name: [] for name in first}
        rows = 0
        for table in tables(first):
            rows += table.num_rows
            for name in texts:
                found[name] += table.column(name).to_pylist()
        ids = np.arange(rows)
        if self.id is not None:
            ids = identifiers(_numbers_or_text(found[self.id]), self._source)
        labels = None
        if self.label is not None:
            labels = categories(_numbers_or_text(found[self.label]), self._source)

        def blocks() -> Iterator[Batch]:
            start = 0
            for table in tables(self.numbers):
                end = start + table.num_rows
                yield Batch(
                    ids[start:end],
                    _matrix(table, self.inputs),
                    None if labels is None else labels[start:end],
                    _matrix(table, self.targets) if self.targets else None,
                )
                start = end

        return Probe(
            self._source,
            (InputSpec("input", (len(self.inputs),), "float64"),),
            blocks,
            rows,
            "string" if ids.dtype == object else "int64",
            labels is not None,
            bool(self.targets),
            tuple(self.inputs),
        )


def _matrix(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    columns = [table.column(name).to_numpy() for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0))


def _numbers_or_text(values: list[Any]) -> list[Any]:
    """Return whole numbers as such if all are written as one would write them."""
    if all(
        isinstance(value, str) and re.fullmatch(r"0|-?[1-9]\d{0,17}", value) for value in values
    ):
        return [int(value) for value in values]
    return values


def _header(path: Path, config: CsvConfig) -> list[str]:
    """Return the names of a text table's columns."""
    place = str(path)
    try:
        codecs.lookup(config.encoding)
    except LookupError as error:
        raise InputError.of("probe.encoding", f"unknown encoding '{config.encoding}'") from error
    first = next(_rows(path, config), None)
    if first is None:
        raise InputError.of("probe", f"{place} has 0 rows", "give at least one sample")
    _, cells = first
    if len(cells) == 1 and (other := re.search(r"[;\t|]", cells[0])):
        shown = {"\t": "\\t"}.get(other[0], other[0])
        raise InputError.of(
            f"{place}:1", "one column found", f"set 'probe.delimiter=\"{shown}\"' to split it"
        )
    if not config.header:
        return [f"c{column}" for column in range(len(cells))]
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        raise InputError.of(
            f"{place}:1", "expected the columns' names, found numbers", "set probe.header=false"
        )
    for column, name in enumerate(cells):
        if not name:
            raise InputError.of(f"{place}:1", f"column {column} has no name")
        if cells.index(name) != column:
            raise InputError.of(f"{place}:1", f"two columns are named '{name}'")
    return cells


def _rows(path: Path, config: CsvConfig) -> Iterator[tuple[int, list[str]]]:
    """Yield every row with the line it begins on."""
    encoding = (
        "utf-8-sig"
        if config.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
        else (config.encoding)
    )
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=config.delimiter)
        line = 1
        try:
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise InputError.of(
                str(path),
                f"not {config.encoding} at byte {error.start}",
                "set probe.encoding, such as cp949 or latin-1",
            ) from error
        except csv.Error as error:
            raise InputError.of(f"{path}:{line}", str(error)) from error


def _diagnosed(
    path: Path, config: CsvConfig, names: Sequence[str], numbers: Sequence[str], error: Exception
) -> InputError:
    """Find the row that the fast reader stumbled over."""
    rows = _rows(path, config)
    if config.header:
        next(rows)
    try:
        for line, cells in rows:
            if len(cells) != len(names):
                return InputError.of(
                    f"{path}:{line}", f"found {len(cells)} fields, expected {len(names)}"
                )
            for name in numbers:
                text = cells[names.index(name)]
                if not _NUMBER.fullmatch(text):
                    advice = (
                        "write decimals with a point"
                        if re.fullmatch(r"[\d.]+,\d+", text)
                        else ("give it a number, or name the inputs in probe.input_columns")
                    )
                    return InputError.of(
                        f"{path}:{line}",
                        f"column '{name}': expected a number, found '{text}'",
                        advice,
                    )
    except InputError as found_error:
        return found_error
    return InputError.of(str(path), f"cannot be read: {error}")
