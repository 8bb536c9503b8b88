"""The view of the values of each layer, by sample and unit."""

from __future__ import annotations

from runner.report.network import shape_of
from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values:
        return None
    rows = {(row["kind"], row["name"]): row for row in run.summary.to_dict("records")}
    dead = [int(rows[tensor.kind, tensor.name]["dead_units"]) for tensor in run.tensors]
    return Part(
        {
            "tensors": list(zip(run.tensors, run.tensor_views, dead, strict=True)),
            "left_out": len(run.own) - len(run.tensors),
            "all_open": run.all_open,
            "shape_of": shape_of,
        }
    )


LAYERS = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    script=text_beside(__file__, ".js"),
    order=50,
)
