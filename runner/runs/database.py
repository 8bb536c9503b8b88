"""SQL over the tables of several runs, through DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from runner.errors import InputError
from runner.table_formats import FORMATS
from runner.tables.formats import read_file


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


def select(
    query: str, runs: pd.DataFrame, tables: Mapping[str, Sequence[StoredTable]]
) -> pd.DataFrame:
    """Return what a query finds.

    Parameters
    ----------
    query
        SQL, over the table ``runs`` and those named by tensors.
    runs
        A row per run.
    tables
        For each tensor, its table in every run, to be one below the other with a first
        column ``run``. Columns that a run does not have are NULL. Parquet files are read
        as the query needs them; other formats are read whole.

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
    # Nothing is fetched and nothing else is read than the files named below.
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with duckdb.connect(config=settings) as connection:
        connection.register("runs", runs)
        for name, stored in tables.items():
            view = f'create view "{name.replace(chr(34), chr(34) * 2)}" as select'
            parquet = all(FORMATS[table.format].is_queried for table in stored)
            if not parquet:
                whole = f"table {name}"
                connection.register(whole, _together(stored))
                connection.execute(f'{view} * from "{whole.replace(chr(34), chr(34) * 2)}"')
                continue
            files = pa.table(
                {"path": [str(t.path) for t in stored], "run": [t.run for t in stored]}
            )
            connection.register(f"files {name}", files)
            listed = ", ".join("'" + str(t.path).replace("'", "''") + "'" for t in stored)
            source = f'"files {name.replace(chr(34), chr(34) * 2)}"'
            connection.execute(
                f"{view} f.run, t.* exclude (filename) from read_parquet([{listed}], "
                f"filename=true, hive_partitioning=false, union_by_name=true) t "
                f"join {source} f on f.path = t.filename"
            )
        try:
            frame: pd.DataFrame = connection.sql(query).df()
        except duckdb.Error as error:
            message = str(error).strip().splitlines()[0]
            raise InputError.of("sql", message) from error
    return frame


def _together(stored: Sequence[StoredTable]) -> pa.Table:
    tables = []
    for one in stored:
        table = read_file(one.path, one.format)
        run = pa.array([one.run] * len(table), pa.string())
        tables.append(table.add_column(0, "run", run))
    return pa.concat_tables(tables, promote_options="default")
