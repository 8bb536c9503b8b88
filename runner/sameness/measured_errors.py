"""The errors that were measured when a run was made again, as its comparison uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.file_names import LAYER_ERRORS
from runner.record.layer_record import TensorRecord
from runner.runs.published_run import Run
from runner.sameness.error_table import ErrorTable, read_errors
from runner.sameness.layer_errors import epsilon

_TIMES = 10
"""Another order of operations rounds by other amounts, up to this multiple of the floor."""

_MOST = 10_000
"""Roundings in one value, at most: the file of a run may claim more, and let anything pass."""


def measured_between(a: Run, b: Run) -> ErrorTable | None:
    """Return the errors of the layers of a run that is another one made again, if they are known.

    Raises
    ------
    DamagedError
        If their file is damaged.
    """
    if LAYER_ERRORS not in b.record.files:
        return None
    table = read_errors(b.file(LAYER_ERRORS))
    return table if table.run == a.id else None


def judged(
    table: ErrorTable,
    a: TensorRecord,
    b: TensorRecord,
    found: Mapping[str, Any],
    tolerance: float | None,
) -> dict[str, Any]:
    """Return what is measured of a layer, as fields of `runner.sameness.difference`.

    Parameters
    ----------
    table
        The errors of the layers.
    a, b
        A tensor of the first run, and that of the new one.
    found
        Its distance between the two, as fields.
    tolerance
        The tolerance of its dtype; ``None`` if the user gave another.

    Returns
    -------
    dict[str, Any]
        The own error is left out if it is that of another tensor of the new run.
    """
    row = table.layers.get(a.name) if a.kind == "activation" else None
    if row is None:
        return {}
    floor, own_floor = row.floors_in(b.dtype)
    own = row.own if row.name in (None, b.name) else None
    least = tolerance or 0.0
    limit = floor if own_floor is None else own_floor
    adds = own is not None and own > max(_TIMES * (limit or 0.0), least)
    within = bool(found["within"])
    if floor is not None and floor <= _MOST * epsilon(b.dtype) and tolerance is not None:
        within = within or (not adds and bool(found["max_relative"] <= _TIMES * floor))
    return {
        "floor": floor,
        "own_error": own,
        "own_floor": own_floor,
        "adds": adds,
        "begins": row.begins if adds else None,
        "unrounded": None if own is None else row.unrounded,
        "within": within,
    }
