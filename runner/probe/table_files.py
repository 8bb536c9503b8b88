"""Probes in tables: CSV and Parquet, one sample a row."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from runner.config.probe_config import CsvConfig, ParquetConfig
from runner.errors import InputError, first_line, suggest
from runner.probe.probe import Batch, Probe
from runner.probe.sample_ids import categories, identifiers, numbers_or_text
from runner.regular_files import binary_kind, regular_file, what_it_is
from runner.tensors import InputSpec

_NUMBER = re.compile(
    r"[ \t]*[+-]?(\d+\.?\d*(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|nan|inf(inity)?)[ \t]*", re.I | re.A
)
_BLOCK_BYTES = 2**20
# What a number takes in a text at most; a row must fit in a block.
_NUMBER_BYTES = 32


def read_csv(config: CsvConfig) -> Probe:
    """Return a text table, read in blocks of a megabyte, of which Arrow holds some ahead."""
    path = regular_file(config.path, "probe.path")
    names, above = _header(path, config)

    def locate(row: int) -> str:
        rows = (line for line, _, _ in _rows(path, config) if line > above)
        return f"{path}:{next(islice(rows, row, None))}"

    columns = _Columns(config, names, f"csv {config.path}", locate)
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
                    block_size=max(_BLOCK_BYTES, _NUMBER_BYTES * len(names)),
                    column_names=names,
                    skip_rows=above,
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
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise _diagnosed(path, config, names, above, columns.numbers, error) from error

    return columns.probe(tables)


def read_parquet(config: ParquetConfig) -> Probe:
    """Return a Parquet table, read by row groups."""
    path = regular_file(config.path, "probe.path")
    try:
        file = pa.parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        kind = what_it_is(path)
        wrong = "is damaged" if "Parquet" in kind else f"is no Parquet file: {kind}"
        raise InputError.of("probe.path", f"{path} {wrong}") from error
    _check_names(file.schema_arrow.names, "probe.path")
    columns = _Columns(config, file.schema_arrow.names, f"parquet {config.path}")
    for name in columns.numbers:
        kind = file.schema_arrow.field(name).type
        if not (
            pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
        ):
            raise InputError.of(
                "probe.path",
                f"{path}: column '{name}' holds {kind}, not numbers",
                _advice(config),
            )

    def tables(include: Sequence[str]) -> Iterator[pa.Table]:
        try:
            with pa.parquet.ParquetFile(path) as opened:
                rows = max(1, _BLOCK_BYTES // (8 * len(include)))
                for batch in opened.iter_batches(rows, columns=list(include)):
                    yield pa.table(batch)
        except (pa.ArrowException, OSError) as error:
            raise InputError.of(str(path), f"cannot be read: {first_line(error)}") from error

    empty = file.schema_arrow.empty_table()
    return columns.probe(tables, _matrix(empty, columns.inputs).dtype.name)


class _Columns:
    """Which columns of a table are ids, labels, targets and inputs."""

    def __init__(
        self,
        config: CsvConfig | ParquetConfig,
        names: Sequence[str],
        source: str,
        locate: Callable[[int], str] | None = None,
    ) -> None:
        self._source = source
        self._locate = locate
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

    def probe(
        self, tables: Callable[[Sequence[str]], Iterator[pa.Table]], dtype: str = "float64"
    ) -> Probe:
        """Return the table as a probe.

        Ids and labels are read first: whether all are whole numbers, and whether an id is
        there twice, only the last row can tell. They fit in memory where the rest need not.
        """
        texts = [name for name in (self.id, self.label) if name is not None]
        first = texts or [self.inputs[0]]
        found: dict[str, list[Any]] = {name: [] for name in first}
        rows = 0
        for table in tables(first):
            for name in texts:
                self._refuse_null(table, name, rows)
                found[name] += table.column(name).to_pylist()
            rows += table.num_rows
        if self._locate is not None:  # a text tells numbers by their look alone
            found = {name: numbers_or_text(values) for name, values in found.items()}
        ids = np.arange(rows, dtype="int64")
        if self.id is not None:
            ids = identifiers(found[self.id], self._source, self._locate)
        labels = None if self.label is None else categories(found[self.label], self._source)

        def blocks() -> Iterator[Batch]:
            start = 0
            for table in tables(self.numbers):
                for name in self.numbers:
                    self._refuse_null(table, name, start)
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
            (InputSpec("input", (len(self.inputs),), dtype),),
            blocks,
            rows,
            "string" if ids.dtype == object else "int64",
            labels is not None,
            bool(self.targets),
            tuple(self.inputs),
            self._locate,
        )

    def _refuse_null(self, table: pa.Table, name: str, start: int) -> None:
        if table.column(name).null_count:
            row = start + table.column(name).is_null().to_pylist().index(True)
            message = f"{self._source}: counted from 0, row {row}, column '{name}'"
            raise InputError.of("probe", f"{message}: found an empty cell")


def _matrix(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    columns = [table.column(name) for name in names]
    numbers = [
        column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
        for column in columns
    ]
    return np.stack([column.to_numpy() for column in numbers], axis=1)


def _header(path: Path, config: CsvConfig) -> tuple[list[str], int]:
    """Return the names of a text table's columns, and how many lines stand above its rows."""
    place = str(path)
    try:
        "".encode(config.encoding)  # codecs.lookup also knows encodings that are not of text
    except LookupError as error:
        raise InputError.of("probe.encoding", f"unknown encoding '{config.encoding}'") from error
    if config.delimiter in '"\r\n' or not config.delimiter.isascii():
        raise InputError.of("probe.delimiter", f"cannot be {config.delimiter!r}")
    kind = binary_kind(path)
    if kind is not None:
        raise InputError.of("probe.path", f"{path} is no text: it is {kind}")
    first = next(_rows(path, config), None)
    if first is None:
        raise InputError.of("probe", f"{place} has 0 rows", "give at least one sample")
    line, end, cells = first
    place = f"{path}:{line}"
    if len(cells) == 1 and (other := re.search(r"[;\t|]", cells[0])):
        typed = f"'probe.delimiter=\"{other[0]}\"'"
        if other[0] == "\t":  # Hydra reads no escapes, so the shell must
            typed = "$'probe.delimiter=\"\\t\"'"
        raise InputError.of(place, "one column found", f"set {typed} to split it")
    if not config.header:
        return [f"c{column}" for column in range(len(cells))], 0
    if all(_NUMBER.fullmatch(cell) for cell in cells):
        raise InputError.of(
            place, "expected the columns' names, found numbers", "set probe.header=false"
        )
    _check_names(cells, place)
    return cells, end


def _check_names(names: Sequence[str], place: str) -> None:
    for column, name in enumerate(names):
        if not name:
            raise InputError.of(place, f"column {column} has no name")
        if "\0" in name:
            raise InputError.of(place, f"column {column} has a NUL in its name, {name!r}")
        if names.index(name) != column:
            raise InputError.of(place, f"two columns are named '{name}'")


def _rows(path: Path, config: CsvConfig) -> Iterator[tuple[int, int, list[str]]]:
    """Yield every row with the lines it begins and ends on."""
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
                    yield line, reader.line_num, cells
                line = reader.line_num + 1
        except UnicodeError as error:
            raise InputError.of(
                str(path),
                f"not {config.encoding} at byte {_undecodable(path, encoding)}",
                "set probe.encoding, such as cp949 or latin-1",
            ) from error
        except csv.Error as error:
            raise InputError.of(f"{path}:{line}", str(error)) from error


def _undecodable(path: Path, encoding: str) -> int:
    """Return the byte that cannot be decoded: an error in a stream counts from its last block."""
    decoder = codecs.getincrementaldecoder(encoding)()
    end = 0
    with path.open("rb") as file:
        try:
            while block := file.read(2**16):
                end += len(block)
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError):
                return end - len(error.object) + error.start
            return 0  # no byte-order mark where the encoding needs one
    return end


def _diagnosed(
    path: Path,
    config: CsvConfig,
    names: Sequence[str],
    above: int,
    numbers: Sequence[str],
    error: Exception,
) -> InputError:
    """Find the row that the fast reader stumbled over."""
    try:
        for line, _, cells in _rows(path, config):
            if line <= above:
                continue
            if len(cells) != len(names):
                fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
                return InputError.of(f"{path}:{line}", f"{fields}, expected {len(names)}")
            for name in numbers:
                text = cells[names.index(name)]
                if not _NUMBER.fullmatch(text):
                    wrong = f"expected a number, found {text!r}" if text else "found an empty cell"
                    advice = f"give it a number, or {_advice(config)}"
                    if re.fullmatch(r"\s*[+-]?[\d.]+,\d+\s*", text):
                        advice = "write decimals with a point"
                    return InputError.of(f"{path}:{line}", f"column '{name}': {wrong}", advice)
    except InputError as found_error:
        return found_error
    return InputError.of(str(path), f"cannot be read: {first_line(error)}")


def _advice(config: CsvConfig | ParquetConfig) -> str:
    """Return what to do about a column that holds no numbers."""
    if config.input_columns is None:
        return "name the inputs in probe.input_columns"
    return "show text from probe=npz or probe=function"
