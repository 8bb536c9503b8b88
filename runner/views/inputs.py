"""The view of the inputs that the model was shown."""

from __future__ import annotations

from runner.report.shown_run import ShownRun
from runner.report.view import Part, View, text_beside


def _of_run(run: ShownRun) -> Part | None:
    if not run.has_values:
        return None
    return Part({"inputs": run.inputs, "no_inputs": run.no_inputs})


INPUTS = View(
    text_beside(__file__, ".html.jinja"),
    of_run=_of_run,
    script=text_beside(__file__, ".js"),
    questions={
        "Input": "What was the model shown? Pixels are drawn as a picture.",
    },
    order=10,
)
