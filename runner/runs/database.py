"""SQL over the tables of several runs, through DuckDB."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from runner.errors import InputError
from runner.runs.published_run import Run
from runner.table_formats import FORMATS
from runner.tables.formats import read_file

_IN_MEMORY = 256 << 20  # bytes of files that are still read whole

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class StoredTable:
    """One tensor's table in one run.

    Attributes
    ----------
    run
        Id of the run.
    path
        The table's file.
    format
        A key of `runner.table_formats.FORMATS`.
    """

    run: str
    path: Path
    format: str

    @classmethod
    def of(cls, run: Run, name: str) -> StoredTable:
        """Return the table of a tensor in a run.

        Raises
        ------
        DamagedError
            If the table's file is missing or damaged.
        """
        return cls(run.id, run.file_of(name), run.record.format)


def view_names(tensors: Iterable[str]) -> dict[str, str]:
    """Return the name of each tensor's table in SQL.

    SQL ignores the case of letters, and ``runs`` is reserved: ``_`` is appended to a name that
    is already in use.
    """
    taken = {"runs"}
    views = {}
    for name in tensors:
        view = name
        while view.casefold() in taken:
            view += "_"
        taken.add(view.casefold())
        views[name] = view
    return views


def is_in_query(view: str, query: str) -> bool:
    """Return whether a query may name a table; ``False`` means that it does not."""
    folded = query.casefold()
    return view.casefold() in folded or _quoted(view).casefold() in folded


def select(
    query: str, runs: pd.DataFrame, tables: Mapping[str, Sequence[StoredTable]]
) -> pd.DataFrame:
    """Return the result of a query.

    Parameters
    ----------
    query
        SQL over the table ``runs`` and the tables of tensors.
    runs
        Table of the runs, a row per run.
    tables
        Tables of each tensor in all runs, by the tensor's name in `view_names`. They are
        concatenated, with a first column ``run``; columns that a run lacks are NULL. Large
        Parquet files are read as the query needs them, others are read whole.

    Raises
    ------
    InputError
        If DuckDB is missing or refuses the query.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InputError.of(
            "sql", "needs DuckDB", 'type: pip install "activation-runner[sql]"'
        ) from error
    # No downloads, and no Python variables as tables; only the files named below are read.
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    with duckdb.connect(config=settings) as connection:
        connection.register("runs", runs)
        own = "given"
        while any(view.casefold().startswith(own) for view in tables):
            own += "_"
        for number, (view, stored) in enumerate(tables.items()):
            given = f"{own}{number}"
            if _is_queried(stored):
                paths, ids = [str(t.path) for t in stored], [t.run for t in stored]
                connection.register(given, pa.table({"path": paths, "run": ids}))
                listed = ", ".join(_text(_named(table.path)) for table in stored)
                found = (
                    f"f.run, t.* exclude (filename) from read_parquet([{listed}], "
                    f"filename=true, hive_partitioning=false, union_by_name=true) t "
                    f"join {given} f on f.path = t.filename"
                )
            else:
                connection.register(given, _together(stored))
                found = f"* from {given}"
            connection.execute(f"create view {_quoted(view)} as select {found}")
        try:
            frame: pd.DataFrame = connection.sql(query).df()
        except duckdb.Error as error:
            message = str(error).strip().splitlines()[0]
            raise InputError.of("sql", message) from error
    return frame


def _is_queried(stored: Sequence[StoredTable]) -> bool:
    """Return whether DuckDB reads the files itself; many small files take it twice as long."""
    if not all(FORMATS[t.format].is_queried and _can_be_named(t.path) for t in stored):
        return False
    return sum(table.path.stat().st_size for table in stored) > _IN_MEMORY


def _quoted(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _can_be_named(path: Path) -> bool:
    """Return whether DuckDB accepts a path: not with both a backslash and a wildcard."""
    return os.name == "nt" or not ("\\" in str(path) and _WILDCARD.search(str(path)))


def _named(path: Path) -> str:
    """Return a path with wildcards escaped, since DuckDB takes every path as a pattern."""
    return _WILDCARD.sub(r"[\g<0>]", str(path))


def _together(stored: Sequence[StoredTable]) -> pa.Table:
    tables = []
    for one in stored:
        table = read_file(one.path, one.format)
        run = pa.array([one.run] * len(table), pa.string())
        tables.append(table.add_column(0, "run", run))
    return pa.concat_tables(tables, promote_options="default")
