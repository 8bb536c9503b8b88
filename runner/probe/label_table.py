"""Tables of labels and ids, joined to files by name."""

from __future__ import annotations

import csv
import itertools
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from runner.errors import InputError, first_line, some, suggest
from runner.probe.sample_ids import numbers_or_text
from runner.regular_files import binary_kind, what_it_is, written_file

_MOST_ROWS = 10_000_000
_MOST_BYTES = 1_000  # maximum length of a name, a label or an id
# The ways in which a table may name files; the first that matches any file is used.
_NAMES: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: PurePosixPath(name).stem,
)


def joined_labels(
    path: Path,
    names: Sequence[str],
    file_column: str | None,
    label_column: str | None,
    id_column: str | None,
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return the ids and labels that a table gives to files.

    Parameters
    ----------
    path
        Path of the table: Parquet, or CSV with a header.
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
    table = _opened(written_file(path, "probe.labels"))
    twice = [name for name, count in Counter(table.names).items() if count > 1]
    if twice:
        raise InputError.of("probe.labels", f"{path} has several columns called '{twice[0]}'")
    files = _column(table, file_column, "file", "probe.file_column") or table.names[0]
    label = _column(table, label_column, "label", "probe.label_column")
    sample = _column(table, id_column, "id", "probe.id_column")
    if label is None and sample is None:
        raise InputError.of(
            "probe.labels",
            f"expected a column of labels or ids in {path}, found {some(table.names)}",
            "name it in probe.label_column or probe.id_column",
        )
    rows = _joined(path, [*map(_plain, table.cells(files))], [*map(_plain, names)], names)

    def said(column: str | None) -> list[Any] | None:
        if column is None:
            return None
        cells = table.cells(column, rows)
        if "" in cells:
            name = names[cells.index("")]
            raise InputError.of(
                "probe.labels", f"{path} has no '{column}' for {name}", "fill it in"
            )
        return numbers_or_text(cells)

    return said(sample), said(label)


def _joined(
    path: Path, given: Sequence[str], plain: Sequence[str], names: Sequence[str]
) -> list[int]:
    """Return the number of the table's row for each file."""
    shortened = next((short for short in _NAMES if {*map(short, plain)} & {*given}), _NAMES[0])
    wanted = [shortened(name) for name in plain]
    twice = [name for name, count in Counter(given).items() if count > 1 and name in {*wanted}]
    if twice:
        raise InputError.of("probe.labels", f"{path} has several rows of {some(twice)}")
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
            f"{path} has no row of {_pictures(len(missing))}: {some(missing)}",
            "add what is missing, or move these pictures away",
        )
    spare = [name for name in given if name not in {*wanted}]
    if spare:
        warnings.warn(
            f"{path} names {_pictures(len(spare))} not found in the folder: {some(spare)}",
            UserWarning,
            stacklevel=2,
        )
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

    def __init__(self, file: pa.parquet.ParquetFile, path: Path) -> None:
        super().__init__(file.schema_arrow.names, [])
        self._file = file
        self._path = path
        if file.metadata.num_rows > _MOST_ROWS:
            found = f"{file.metadata.num_rows:,} rows"
            raise InputError.of("probe.labels", f"{path} has {found}, at most {_MOST_ROWS:,}")

    def cells(self, name: str, rows: Sequence[int] | None = None) -> list[str]:
        column = self._file.read([name]).column(name)
        for chunk in column.chunks:  # before dictionaries are expanded
            texts = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
            if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
                longest = pc.max(pc.binary_length(texts)).as_py() or 0
                if longest > _MOST_BYTES:
                    raise InputError.of(
                        "probe.labels",
                        f"{self._path}, column '{name}': a text has {longest:,} bytes, at most "
                        f"{_MOST_BYTES:,} are allowed",
                    )
        wanted = column if rows is None else column.take(rows)
        return ["" if cell is None else str(cell) for cell in wanted.to_pylist()]


def _opened(path: Path) -> _Table:
    kind = binary_kind(path)
    if kind is None:
        return _read_csv(path)
    if "Parquet" not in kind:
        raise InputError.of("probe.labels", f"{path} is not a table: {what_it_is(path)}")
    try:
        names = pa.parquet.read_schema(path).names
        return _ParquetTable(pa.parquet.ParquetFile(path, read_dictionary=names), path)
    except (pa.ArrowException, OSError) as error:
        raise InputError.of(
            "probe.labels", f"{path} cannot be read: {first_line(error)}"
        ) from error


def _column(table: _Table, given: str | None, usual: str, place: str) -> str | None:
    if given is None:
        return usual if usual in table.names else None
    if given not in table.names:
        advice = suggest(given, table.names) or f"columns are {some(table.names)}"
        raise InputError.of(place, f"the table of labels has no column '{given}'", advice)
    return given


def _read_csv(path: Path) -> _Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            reader = csv.reader(file, delimiter=delimiter)
            found = ((reader.line_num, cells) for cells in reader if cells)
            rows = list(itertools.islice(found, _MOST_ROWS + 2))  # one holds the names
    except (UnicodeError, csv.Error) as error:
        raise InputError.of("probe.labels", f"{path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise InputError.of("probe.labels", f"{path} has no rows below its columns' names")
    if len(rows) > _MOST_ROWS + 1:
        message = f"{path} has more than {_MOST_ROWS:,} rows"
        raise InputError.of("probe.labels", message)
    (_, names), *rows = rows
    for line, cells in rows:
        if len(cells) != len(names):
            raise InputError.of(f"{path}:{line}", f"{len(cells)} fields, expected {len(names)}")
    return _Table(names, [cells for _, cells in rows])
