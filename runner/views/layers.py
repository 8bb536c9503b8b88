"""The view of the values of each layer, by sample and unit."""

from __future__ import annotations

from runner.report.network import shape_of
from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values or not run.tensors:
        return None
    rows = {(row["kind"], row["name"]): row for row in run.summary.to_dict("records")}
    dead = [int(rows[tensor.kind, tensor.name]["dead_units"]) for tensor in run.tensors]
    return Part(
        {
            "tensors": list(zip(run.tensors, run.tensor_views, dead, strict=True)),
            "left_out": len(run.all_tensors) - len(run.tensors),
            "all_open": run.all_open,
            "shape_of": shape_of,
        }
    )


LAYERS = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    script=text_beside(__file__, ".js"),
    questions={
        "Values by sample and unit": "Which units respond to which samples?",
        "How the values are distributed": (
            "How many are 0, what is their range, and where does this sample lie?"
        ),
        "The chosen sample's values": "Where in the picture does each unit respond?",
    },
    order=50,
)
