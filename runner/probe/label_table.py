"""Tables of labels and ids, joined to files by name."""

from __future__ import annotations

import csv
import io
import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from runner.caller_warnings import warn_caller
from runner.errors import InputError, first_line, some, suggest
from runner.given_files import GivenFile
from runner.parquet_layout import pages, read_layout
from runner.probe.arrow_values import is_one_value, text_lengths
from runner.probe.compressed import check_unpacked
from runner.probe.sample_ids import numbers_or_text
from runner.regular_files import BINARY_START, binary_kind

_MOST_ROWS = 10_000_000
_CELL_BYTES = 64  # memory for a cell, without the text in it
_MOST_BYTES = 1_000  # maximum length of a name, a label or an id
# The ways in which a table may name files; the first that matches any file is used.
_NAMES: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: PurePosixPath(name).stem,
)


def joined_labels(
    file: GivenFile,
    names: Sequence[str],
    file_column: str | None,
    label_column: str | None,
    id_column: str | None,
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return the ids and labels that a table gives to files.

    Parameters
    ----------
    file
        The table: Parquet, or CSV with a header.
    names
        Paths of the files below their folder, with ``/``. The table may hold these paths, file
        names, or file names without extension.
    file_column, label_column, id_column
        Names of the columns; ``None``: those of the configuration's documentation.

    Returns
    -------
    ids, labels
        One value per file; ``None`` if the table has no such column.

    Raises
    ------
    InputError
        If a file has no row or several rows, or the table cannot be read.
    """
    table = _opened(file)
    twice = [name for name, count in Counter(table.names).items() if count > 1]
    if twice:
        raise InputError.of("probe.labels", f"{file} has several columns called '{twice[0]}'")
    files = _column(table, file_column, "file", "probe.file_column") or table.names[0]
    label = _column(table, label_column, "label", "probe.label_column")
    sample = _column(table, id_column, "id", "probe.id_column")
    if label is None and sample is None:
        raise InputError.of(
            "probe.labels",
            f"expected a column of labels or ids in {file}, found {some(table.names)}",
            "name it in probe.label_column or probe.id_column",
        )
    rows = _joined(file, [*map(_plain, table.cells(files))], [*map(_plain, names)], names)

    def said(column: str | None) -> list[Any] | None:
        if column is None:
            return None
        cells = table.cells(column, rows)
        if "" in cells:
            name = names[cells.index("")]
            raise InputError.of(
                "probe.labels", f"{file} has no '{column}' for {name}", "fill it in"
            )
        return numbers_or_text(cells)

    return said(sample), said(label)


def _joined(
    file: GivenFile, given: Sequence[str], plain: Sequence[str], names: Sequence[str]
) -> list[int]:
    """Return the number of the table's row for each file."""
    shortened = next((short for short in _NAMES if {*map(short, plain)} & {*given}), _NAMES[0])
    wanted = [shortened(name) for name in plain]
    twice = [name for name, count in Counter(given).items() if count > 1 and name in {*wanted}]
    if twice:
        raise InputError.of("probe.labels", f"{file} has several rows of {some(twice)}")
    alike = [name for name, count in Counter(wanted).items() if count > 1]
    if alike:
        raise InputError.of(
            "probe.labels",
            f"several pictures are called {some(alike)}",
            "write their paths in the table, such as " + next(n for n in plain if alike[0] in n),
        )
    rows = {name: row for row, name in enumerate(given)}
    missing = [name for name, key in zip(names, wanted, strict=True) if key not in rows]
    if missing:
        raise InputError.of(
            "probe.labels",
            f"{file} has no row of {_pictures(len(missing))}: {some(missing)}",
            "add what is missing, or move these pictures away",
        )
    spare = [name for name in given if name not in {*wanted}]
    if spare:
        warn_caller(f"{file} names {_pictures(len(spare))} not found in the folder: {some(spare)}")
    return [rows[key] for key in wanted]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _plain(name: str) -> str:
    """Return a normalized file name: composed letters (NFC), and slashes."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


class _Table:
    """A table with cells as text, from CSV, in memory."""

    def __init__(self, names: list[str], rows: list[list[str]]) -> None:
        self.names = names
        self._rows = rows

    def cells(self, name: str, rows: Sequence[int] | None = None) -> list[str]:
        """Return the cells of a column, of all rows or of the given rows."""
        column = self.names.index(name)
        wanted = self._rows if rows is None else [self._rows[row] for row in rows]
        return [cells[column] for cells in wanted]


class _ParquetTable(_Table):
    """A Parquet table, whose columns are read on access."""

    def __init__(self, file: GivenFile) -> None:
        self._data = file.content()
        self._layout = read_layout(self._data)
        rows = max(self._layout.rows, sum(self._layout.groups))
        if rows > _MOST_ROWS:
            found = f"{rows:,} rows"
            raise InputError.of("probe.labels", f"{file} has {found}, at most {_MOST_ROWS:,}")
        self._source = file
        self._check_size(rows * _CELL_BYTES)
        source = pa.BufferReader(pa.py_buffer(self._data))
        texts = [field.name for field in pa.parquet.read_schema(source) if is_one_value(field.type)]
        self._file = pa.parquet.ParquetFile(source, read_dictionary=texts)
        super().__init__(self._file.schema_arrow.names, [])

    def _check_size(self, unpacked: int) -> None:
        advice = "save it as CSV"
        check_unpacked(self._source, unpacked, advice, place="probe.labels", text=True)

    def cells(self, name: str, rows: Sequence[int] | None = None) -> list[str]:
        kind = self._file.schema_arrow.field(name).type
        if not is_one_value(kind):
            message = f"{self._source}: column '{name}' holds {kind}, not one text or number a row"
            raise InputError.of("probe.labels", message)
        own = [one for one in self._layout.chunks if self._layout.leaves[one.leaf].name == name]
        self._check_size(sum(page.unpacked for one in own for page in pages(self._data, one)))
        column = self._file.read([name]).column(name)
        size = len(column) * _CELL_BYTES
        for chunk in column.chunks:  # before dictionaries are expanded
            lengths = text_lengths(chunk)
            if lengths is not None:
                size += pc.sum(lengths).as_py() or 0
                longest = pc.max(lengths).as_py() or 0
                if longest > _MOST_BYTES:
                    raise InputError.of(
                        "probe.labels",
                        f"{self._source}, column '{name}': a text has {longest:,} bytes, at most "
                        f"{_MOST_BYTES:,} are allowed",
                    )
        self._check_size(size)
        wanted = column if rows is None else column.take(rows)
        return ["" if cell is None else str(cell) for cell in wanted.to_pylist()]


def _opened(file: GivenFile) -> _Table:
    kind = binary_kind(file.start(BINARY_START))
    if kind is None:
        return _read_csv(file)
    if "Parquet" not in kind:
        raise InputError.of("probe.labels", f"{file} is not a table: {file.what_it_is()}")
    try:
        return _ParquetTable(file)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError.of(
            "probe.labels", f"{file} cannot be read: {first_line(error)}"
        ) from error


def _column(table: _Table, given: str | None, usual: str, place: str) -> str | None:
    if given is None:
        return usual if usual in table.names else None
    if given not in table.names:
        advice = suggest(given, table.names) or f"columns are {some(table.names)}"
        raise InputError.of(place, f"the table of labels has no column '{given}'", advice)
    return given


def _read_csv(file: GivenFile) -> _Table:
    try:
        with io.TextIOWrapper(file.open(), "utf-8-sig", newline="") as lines:
            head = lines.readline()
            lines.seek(0)
            delimiter = max(",;\t", key=head.count)
            reader = csv.reader(lines, delimiter=delimiter)
            found = ((reader.line_num, cells) for cells in reader if cells)
            rows = list(itertools.islice(found, _MOST_ROWS + 2))  # one holds the names
    except (UnicodeError, csv.Error) as error:
        raise InputError.of("probe.labels", f"{file} cannot be read: {error}") from error
    if len(rows) < 2:
        raise InputError.of("probe.labels", f"{file} has no rows below its columns' names")
    if len(rows) > _MOST_ROWS + 1:
        message = f"{file} has more than {_MOST_ROWS:,} rows"
        raise InputError.of("probe.labels", message)
    (_, names), *rows = rows
    for line, cells in rows:
        if len(cells) != len(names):
            raise InputError.of(f"{file}:{line}", f"{len(cells)} fields, expected {len(names)}")
    return _Table(names, [cells for _, cells in rows])
