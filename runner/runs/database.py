"""SQL over the tables of several runs, through DuckDB."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from runner.errors import InputError, first_line
from runner.runs.published_run import Run
from runner.table_formats import FORMATS
from runner.tables.reading import check_stored, read_stored

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_IN_MEMORY = 256 << 20  # bytes of files that are still read whole

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class StoredTable:
    """One tensor's table in one run, which has the recorded columns.

    Attributes
    ----------
    run
        Id of the run.
    paths
        The table's files, if DuckDB reads them as the query needs them.
    table
        The table otherwise.
    """

    run: str
    paths: tuple[Path, ...]
    table: pa.Table | None

    @classmethod
    def of(cls, run: Run, name: str, *, whole: bool) -> StoredTable:
        """Return the table of a tensor in a run.

        Parameters
        ----------
        run, name
            The run, and the name of the tensor.
        whole
            Whether to read the table, or only to check its columns and rows if DuckDB can read it.

        Raises
        ------
        DamagedError
            If the table's file is missing or damaged, or has other columns or rows than recorded.
        """
        tensor, probe, format = run.tensor(name), run.probe_record, run.record.format
        stored = run.stored_table(name)
        expected = (tensor, format, probe.sample_type, probe.rows, probe.sample_ids_hash)
        if not whole and FORMATS[format].is_queried:
            check_stored(stored, *expected)
            paths = tuple(path for file in stored.files if (path := file.path()))
            if len(paths) == len(stored.files) and all(_can_be_named(str(path)) for path in paths):
                return cls(run.id, paths, None)
        return cls(run.id, (), read_stored(stored, *expected))


def are_few(runs: Sequence[Run], name: str) -> bool:
    """Return whether the tables of a tensor are read whole; DuckDB takes twice as long for many."""
    return sum(run.tensor(name).bytes for run in runs) <= _IN_MEMORY


def views_in(query: str, tensors: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each tensor whose table a query may name, and the name of that table in SQL.

    SQL ignores the case of letters, and ``runs`` is reserved: ``_`` is appended to a name that
    is already in use.
    """
    query = query.casefold()
    taken = {"runs"}
    tried: dict[str, int] = {}  # by name: underscores that others of that name have got
    for name in dict.fromkeys(tensors):
        folded = name.casefold()
        count = tried.get(folded, 0)
        while folded + "_" * count in taken:
            count += 1
        tried[folded] = count
        view = name + "_" * count
        taken.add(view.casefold())
        if view.casefold() in query or _quoted(view).casefold() in query:
            yield name, view


def select(
    query: str, runs: pd.DataFrame, tables: Mapping[str, Sequence[StoredTable] | InputError]
) -> pd.DataFrame:
    """Return the result of a query.

    Parameters
    ----------
    query
        SQL over the table ``runs`` and the tables of tensors.
    runs
        Table of the runs, a row per run.
    tables
        Tables of each tensor in all runs, by its name in `views_in`. They are
        concatenated, with a first column ``run``; columns that a run lacks are NULL. Large
        Parquet files are read as the query needs them, others are read whole. In the place of
        tables that cannot be read together, the error to raise if the query uses them.

    Raises
    ------
    InputError
        If DuckDB is missing or refuses the query.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InputError.missing("sql", "needs DuckDB", "[sql]") from error
    # No downloads, and no Python variables as tables; only the files named below are read.
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
        "pandas_analyze_sample": max(1, len(runs)),  # of the rows, whose types may differ
    }
    with duckdb.connect(config=settings) as connection:
        connection.register("runs", _without_mixed_bools(runs))
        own = "given"
        while any(view.casefold().startswith(own) for view in tables):
            own += "_"
        try:
            for number, (view, stored) in enumerate(tables.items()):
                if not isinstance(stored, InputError):
                    connection.execute(_view(connection, view, f"{own}{number}", stored))
            frame: pd.DataFrame = connection.sql(query).df()
        except duckdb.Error as error:
            message = str(error).strip().splitlines()[0]
            for view, why in tables.items():
                if isinstance(why, InputError) and f" {view} ".casefold() in message.casefold():
                    raise why from error
            raise InputError.of("sql", message) from error
    return frame


def _without_mixed_bools(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a table with texts in columns of truth values and others, which DuckDB refuses."""
    kinds = {name: {*map(type, runs[name].dropna())} for name in runs if runs[name].dtype == object}
    mixed = [name for name, found in kinds.items() if bool in found and len(found) > 1]
    return runs.assign(**{str(name): runs[name].map(str, na_action="ignore") for name in mixed})


def _view(
    connection: DuckDBPyConnection, view: str, given: str, stored: Sequence[StoredTable]
) -> str:
    """Return the statement that creates a view of a tensor's tables in all runs.

    Parameters
    ----------
    connection
        The database, to which `given` is added.
    view, given
        Names of the view, and of the table that it refers to.
    stored
        The tables.
    """
    read = [one for one in stored if one.table is not None]
    named = {str(path): one.run for one in stored for path in one.paths}
    parts = []
    if named:  # DuckDB takes a path as a pattern
        about = {"path": list(named), "run": list(named.values())}
        connection.register(f"{given}_files", pa.table(about))
        listed = ", ".join(_text(_WILDCARD.sub(r"[\g<0>]", path)) for path in named)
        parts.append(
            f"select f.run, t.* exclude (filename) from read_parquet([{listed}], "
            f"filename=true, hive_partitioning=false, union_by_name=true) t "
            f"join {given}_files f on f.path = t.filename"
        )
    if read:
        connection.register(given, _with_lists(_together(view, read)))
        parts.append(f"select * from {given}")
    return f"create view {_quoted(view)} as {' union all by name '.join(parts)}"


def _quoted(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _can_be_named(path: str) -> bool:
    """Return whether DuckDB accepts a path: not with both a backslash and a wildcard."""
    return os.name == "nt" or not ("\\" in path and _WILDCARD.search(path))


def _with_lists(table: pa.Table) -> pa.Table:
    """Return a table with lists in place of tensors, which older versions of DuckDB refuse."""
    for place, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            lists = [chunk.storage for chunk in table.column(place).chunks]
            column = pa.chunked_array(lists, field.type.storage_type)
            table = table.set_column(place, field.name, column)
    return table


def _together(view: str, stored: Sequence[StoredTable]) -> pa.Table:
    """Return tables one below the other, with a first column ``run``."""
    tables = [
        one.table.add_column(0, "run", pa.array([one.run] * len(one.table), pa.string()))
        for one in stored
        if one.table is not None
    ]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        message = f"the tables of '{view}' differ in the types of their columns"
        raise InputError.of("sql", f"{message}: {first_line(error)}") from error
