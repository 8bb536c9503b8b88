"""The view of the statistics of all tensors of a run."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isnan
from typing import Any

from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside
from runner.tables.statistic import Statistic
from runner.tables.summary import all_statistics
from runner.tensors import PER_SAMPLE

_OF_SHOWN = {
    "constant": "units that have one other value everywhere",
    "saturated": (
        "units with 95 % of their values within 1 % of a bound of their sigmoid or tanh; a dash "
        "where the activation has no bounds or is not declared"
    ),
}
"""What is counted besides the statistics, over the samples that the histograms use."""


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values:
        return None
    states = {(view["kind"], view["name"]): view["state"] for view in run.tensor_views}
    statistics = {name: each for name, each in all_statistics().items() if name in run.summary}
    rows = run.summary.to_dict("records")
    outputs = [
        _row(run, row, statistics, states.get((row["kind"], row["name"]), {}))
        for row in rows
        if row["kind"] in PER_SAMPLE
    ]
    weights = [_row(run, row, statistics, None) for row in rows if row["kind"] not in PER_SAMPLE]
    definitions = {name: each.definition for name, each in statistics.items()}
    return Part(
        {
            "definitions": definitions,
            "of_shown": _OF_SHOWN,
            "outputs": outputs,
            "weights": weights,
        }
    )


def _row(
    run: ShownRun,
    row: Mapping[Hashable, Any],
    statistics: Mapping[str, Statistic[Any]],
    state: Mapping[str, Sequence[int] | None] | None,
) -> dict[str, Any]:
    """Return a row of the table; `state` has the counted units, ``None`` for a weight."""
    cells = [_cell(each, row[name], row["units"]) for name, each in statistics.items()]
    for units in [] if state is None else map(state.get, _OF_SHOWN):
        cells.append(None if units is None else (len(units), f"{len(units):,}", ""))
    about = {key: row[key] for key in ("name", "kind", "class", "shape", "dtype")}
    return {**about, "anchor": run.anchors.get((row["kind"], row["name"])), "cells": cells}


def _cell(statistic: Statistic[Any], value: Any, units: int) -> tuple[Any, str, str] | None:
    """Return what a value is sorted by, its text, and its digits; ``None`` if there is none."""
    if statistic.is_count and isnan(value):
        return None
    digits = str(value) if statistic.of == "number" else ""
    return statistic.comparable(value, units), statistic.text(value, units), digits


STATISTICS = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    script=text_beside(__file__, ".js"),
    questions={
        "Statistics": (
            "Which layers have dead, constant or saturated units, NaN or infinite values? "
            "Sortable by each statistic."
        ),
    },
    order=40,
)
