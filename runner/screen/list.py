"""The list of runs as text, one row per run."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.errors import one_line
from runner.record.listing import Listing
from runner.record.record import RunRecord

_COLUMNS: dict[str, Callable[[RunRecord], object]] = {
    "id": lambda record: record.run_id,
    "name": lambda record: record.name,
    "ended": lambda record: f"{record.ended.astimezone():%Y-%m-%d %H:%M:%S}",
    "status": lambda record: record.status,
    "model": lambda record: record.model and record.model.model_class,
    "seed": lambda record: record.seed,
    "overrides": lambda record: " ".join(record.overrides),
}


def listed(listing: Listing, limit: int, width: int | None) -> str:
    """Return the newest runs first, then the unreadable ones, at most `limit` of each.

    Parameters
    ----------
    listing
        The runs, the newest last.
    limit
        Largest number of rows.
    width
        Number of columns; by default those of the terminal.
    """
    newest = [record for _, record in reversed(listing.runs)][:limit]
    rows = [[cell(record) for cell in _COLUMNS.values()] for record in newest]
    for one in listing.unreadable[:limit]:
        told = {"status": "UNREADABLE", "overrides": one.why}
        rows.append([told.get(title) for title in _COLUMNS])
    if not rows:
        return ""
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*(Text("" if cell is None else one_line(str(cell))) for cell in row))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
