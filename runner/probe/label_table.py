"""A table of labels and ids, joined to files by their names."""

from __future__ import annotations

import csv
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from runner.config.probe_config import ImagesConfig
from runner.errors import InputError, first_line, some, suggest
from runner.probe.sample_ids import numbers_or_text
from runner.regular_files import binary_kind, regular_file, what_it_is

# What a table may name a file by; the first that fits any of the files counts.
_NAMES: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: PurePosixPath(name).name,
    lambda name: PurePosixPath(name).stem,
)


def joined_labels(
    config: ImagesConfig, path: Path, names: Sequence[str]
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return what a table says of files.

    Parameters
    ----------
    config
        Which of its columns hold what.
    path
        The table: Parquet, or CSV with a header.
    names
        The files' paths below their folder, with ``/``. The table may name them so, by
        their last part, or by that without its ending.

    Returns
    -------
    ids, labels
        One for each file; ``None`` where the table has no such column.

    Raises
    ------
    InputError
        If a file has no row or several, or the table cannot be read.
    """
    columns = _read(regular_file(path, "probe.labels"))
    files = _column(columns, config.file_column, "file", "probe.file_column") or next(iter(columns))
    label = _column(columns, config.label_column, "label", "probe.label_column")
    sample = _column(columns, config.id_column, "id", "probe.id_column")
    if label is None and sample is None:
        there = ", ".join(columns)
        raise InputError.of(
            "probe.labels",
            f"expected a column of labels or ids in {path}, found {there}",
            "name it in probe.label_column or probe.id_column",
        )
    rows = _joined(path, [_plain(name) for name in columns[files]], list(map(_plain, names)), names)
    return (
        None if sample is None else numbers_or_text([columns[sample][row] for row in rows]),
        None if label is None else numbers_or_text([columns[label][row] for row in rows]),
    )


def _joined(
    path: Path, given: Sequence[str], plain: Sequence[str], names: Sequence[str]
) -> list[int]:
    """Return the row of each file."""
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
            f"{path} has {len(spare)} rows of pictures that are not there: {some(spare)}",
            UserWarning,
            stacklevel=2,
        )
    return [rows[key] for key in wanted]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _plain(name: str) -> str:
    """Return a file's name as all systems would: composed letters, and slashes."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./")


def _column(columns: dict[str, list[str]], given: str | None, usual: str, place: str) -> str | None:
    if given is None:
        return usual if usual in columns else None
    if given not in columns:
        advice = suggest(given, columns) or f"columns are {some(list(columns))}"
        raise InputError.of(place, f"the table of labels has no column '{given}'", advice)
    return given


def _read(path: Path) -> dict[str, list[str]]:
    """Return all cells of a table as text, by column."""
    kind = binary_kind(path)
    if kind is None:
        return _read_csv(path)
    if "Parquet" not in kind:
        raise InputError.of("probe.labels", f"{path} is no table: {what_it_is(path)}")
    try:
        table = pa.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError.of(
            "probe.labels", f"{path} cannot be read: {first_line(error)}"
        ) from error
    return {
        name: ["" if cell is None else str(cell) for cell in table.column(name).to_pylist()]
        for name in table.column_names
    }


def _read_csv(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except (UnicodeError, csv.Error) as error:
        raise InputError.of("probe.labels", f"{path} cannot be read: {error}") from error
    if len(rows) < 2:
        raise InputError.of("probe.labels", f"{path} has no rows below its columns' names")
    (_, names), *rows = rows
    for line, cells in rows:
        if len(cells) != len(names):
            raise InputError.of(f"{path}:{line}", f"{len(cells)} fields, expected {len(names)}")
    columns = zip(*(cells for _, cells in rows), strict=True)
    return dict(zip(names, map(list, columns), strict=True))
