"""The list of runs as text, one row per run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.errors import one_line
from runner.runs.published_run import Run
from runner.runs.runs import Runs
from runner.stores.store import Unreadable

_COLUMNS = ("id", "name", "ended", "status", "model", "seed", "overrides")


def listed(runs: Runs, limit: int, width: int | None) -> str:
    """Return the newest runs first, then the unreadable ones, at most `limit` of each.

    Parameters
    ----------
    runs
        Runs, the newest last.
    limit
        Largest number of rows.
    width
        Number of columns; by default those of the terminal.
    """
    rows = [_cells(run) for run in list(runs)[::-1][:limit]]
    rows += [_told(one) for one in runs.unreadable[:limit]]
    if not rows:
        return ""
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, map(one_line, row)))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _cells(run: Run) -> list[str]:
    record = run.record
    return [
        record.run_id,
        record.name or "",
        f"{record.ended.astimezone():%Y-%m-%d %H:%M:%S}",
        record.status,
        record.model.model_class if record.model is not None else "",
        "" if record.seed is None else str(record.seed),
        " ".join(record.overrides),
    ]


def _told(unreadable: Unreadable) -> list[str]:
    return ["", "", "", "UNREADABLE", "", "", unreadable.why]
