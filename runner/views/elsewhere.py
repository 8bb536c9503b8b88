"""The view of a run that was made again elsewhere: the error of each layer, and what it adds."""

from __future__ import annotations

from runner.file_names import LAYER_ERRORS
from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside
from runner.sameness.error_table import ErrorRow, read_errors


def _of_run(run: ShownRun) -> Part | None:
    if LAYER_ERRORS not in run.record.files:
        return None
    table = read_errors(run.run.file(LAYER_ERRORS))
    dtypes = {one.name: one.dtype for one in run.record.tensors if one.kind == "activation"}

    def floor(name: str, row: ErrorRow) -> float | None:
        return row.floors_in(dtypes.get(row.name or name, row.dtype))[0]

    rows = [
        (name, *(_text(error) for error in (row.error, floor(name, row), row.own)))
        for name, row in table.layers.items()
        if row.error is not None
    ]
    about = {"first": table.run, "floor_by": table.floor_by, "own_by": table.own_by}
    return Part({"rows": rows, **about}) if rows else None


def _text(error: float | None) -> str:
    return "" if error is None else f"{error:.2e}"


ELSEWHERE = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    questions={
        "Made again": (
            "How far is each layer from the run that this one is made again from, how much of that "
            "does rounding cause, and which layer adds the error itself?"
        ),
    },
    order=35,
)
