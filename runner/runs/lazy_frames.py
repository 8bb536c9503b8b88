"""Tables of one tensor in several runs as one lazy table of Polars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.errors import InputError
from runner.runs.database import StoredTable

if TYPE_CHECKING:
    import polars


def lazy_frame_of(tables: Sequence[StoredTable]) -> polars.LazyFrame:
    """Return tables one below the other, with a first column ``run``.

    Parameters
    ----------
    tables
        The tables; Parquet files are read as a query needs them. Columns that a run lacks are
        null.

    Raises
    ------
    InputError
        If Polars is missing.
    """
    try:
        import polars
    except ModuleNotFoundError as error:
        raise InputError.missing("to_polars", "needs Polars", "[polars]") from error
    frames = []
    for one in tables:
        if one.table is not None:
            read = polars.from_arrow(one.table).lazy()  # type: ignore[union-attr]
        else:
            paths = list(one.paths)
            read = polars.scan_parquet(paths, glob=False, hive_partitioning=False)
        frames.append(read.select(polars.lit(one.run).alias("run"), polars.all()))
    return polars.concat(frames, how="diagonal_relaxed")
