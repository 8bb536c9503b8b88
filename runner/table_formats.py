"""All file formats of tables by name: those of `runner.formats`, and of other packages."""

from __future__ import annotations

from runner.registry import Registry
from runner.tables.table_format import TableFormat

FORMATS: Registry[TableFormat] = Registry(
    "runner.formats", "format", lambda value: isinstance(value, TableFormat)
)
"""All formats, by the names that ``format=`` takes."""


def own_stored() -> dict[str, TableFormat]:
    """Return Runner's own formats of files; its others are stored as one of these."""
    own = {name: FORMATS[name] for name in FORMATS.own}
    stored = [name for name in own if not own[name].stored_as]
    return {name: own[name] for name in sorted(stored, key=lambda name: own[name].order)}


def is_stored(name: str) -> bool:
    """Return whether there is a format of this name, and files of it."""
    return name in FORMATS and not FORMATS[name].stored_as
