"""The view of the runs of a sweep: what tells them apart, and the key statistics of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from runner.record.record import Headline
from runner.report.shown_sweep import ShownSweep
from runner.report.view import Part, View, text_beside


def _of_sweep(sweep: ShownSweep) -> Part:
    counts = [field.name for field in dataclasses.fields(Headline)]
    return Part({"table": _table(sweep), "counts": counts})


def _table(sweep: ShownSweep) -> dict[str, list[Any]]:
    """Return the columns and rows of the table of runs; the names of the runs come first."""
    runs = sweep.runs
    frame = pd.DataFrame(list(runs.rows()), dtype=object)  # integers stay so beside what is missing
    frame = frame.where(frame.notna(), None)
    called = [sweep.names[run.id] for run in runs]
    named_by = [
        key
        for key in ("run", *runs.differing)
        if key in frame and [str(one) for one in frame[key][: len(called)]] == called
    ]
    if "run" not in named_by:
        frame = frame.drop(columns=named_by)  # the values are the names
        names = called + [None] * len(runs.unreadable)
        frame.insert(0, sweep.about, pd.Series(names, dtype=object), allow_duplicates=True)
    return {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}


RUNS = View(
    text_beside(__file__, ".html.jinja"),
    of_sweep=_of_sweep,
    questions={
        "Runs": (
            "What tells them apart (names, paths or keys, in the first column), and in which "
            "statistics do they differ?"
        ),
    },
    order=15,
)
